"""Good manifests are read as they are meant; of a bad one every fault is told: file, line, field and what is allowed."""

# ruff: noqa: E501, ISC004 - a message stands here as a person sees it, in one line where it can

from __future__ import annotations

from pathlib import Path

import pytest

from waypost.model import Address, Port, Service, ServiceKey
from waypost.plugins import Plugins
from waypost.settings import Settings, Types, TypesOf, read_once
from waypost.settings.registration import PortMatch

ROOT = Path(__file__).parents[2]

SOURCE = """\
apiVersion: waypost.dev/v1alpha1
kind: ServiceSource
metadata: {name: mesos-prod}
spec:
  type: mesos
  environment: prod
  config: {masters: ["http://m1:5050"]}
"""
STATIC = """\
apiVersion: waypost.dev/v1alpha1
kind: ServiceSource
metadata: {name: machines}
spec: {type: static, environment: prod}
"""
SINK = """\
apiVersion: waypost.dev/v1alpha1
kind: ServiceSink
metadata: {name: consul-prod}
spec:
  type: consul
  environment: prod
  ownerID: prod-eu
"""
REGISTRATION = """\
apiVersion: waypost.dev/v1alpha1
kind: ServiceRegistration
metadata: {name: web, namespace: shop}
spec:
  sources:
  - name: all
    sourceRef: {name: mesos-prod}
    service: {name: web}
  sinks:
  - name: consul
    sinkRef: {name: consul-prod}
"""
DECLARED = """\
apiVersion: waypost.dev/v1alpha1
kind: ServiceRegistration
metadata: {name: db, namespace: shop}
spec:
  sources:
  - name: vms
    sourceRef: {name: machines}
    instances:
    - {id: vm-1, addresses: [10.0.0.7], ports: [{name: sql, number: 5432}]}
  sinks:
  - {name: consul, sinkRef: {name: consul-prod}}
"""
ALL = f"{SOURCE}---\n{STATIC}---\n{SINK}---\n{REGISTRATION}---\n{DECLARED}"


def read(folder: Path, text: str, types: Types) -> Settings:
    (folder / "m.yaml").write_text(text)
    return read_once([folder], types)


def told(settings: Settings, folder: Path) -> list[str]:
    return [str(problem).removeprefix(f"{folder}/") for problem in settings.problems]


def test_all_kinds_are_read_as_they_are_meant(tmp_path: Path, types: TypesOf) -> None:
    settings = read(tmp_path, ALL, types)
    assert settings.problems == ()
    assert settings.complete
    assert set(settings.sources) == {"mesos-prod", "machines"}
    assert set(settings.sinks) == {"consul-prod"}
    assert set(settings.registrations) == {"shop/web", "shop/db"}
    source, sink = settings.sources["mesos-prod"], settings.sinks["consul-prod"]
    assert source.decoded_config.masters == ("http://m1:5050",)
    assert source.spec.safety.empty_seconds == 300
    assert sink.decoded_config.nodes == 64
    assert sink.accepted == {"prod"}
    web = settings.registrations["shop/web"]
    assert (web.namespace, web.name, web.key, web.generation) == ("shop", "web", "shop/web", None)
    assert web.spec.names == ("{service}",)
    assert web.spec.sinks[0].decoded_options.tags == ()
    assert web.declared == ()


def test_declared_instances_become_a_service_of_the_registration(tmp_path: Path, types: TypesOf) -> None:
    text = DECLARED.replace(
        "    - {id: vm-1, addresses: [10.0.0.7], ports: [{name: sql, number: 5432}]}\n",
        "    - {id: vm-1, addresses: [10.0.0.7, 'FD00::0:1', DB.example.com], ports: [{number: 1}], labels: {a: x, b: y}}\n"
        "    - {id: vm-2, addresses: [10.0.0.8], weight: 3, zone: z1, labels: {a: x, b: z}}\n",
    )
    (service,) = read(tmp_path, f"{ALL.replace(DECLARED, text)}", types).registrations["shop/db"].declared
    assert isinstance(service, Service)
    assert service.key == ServiceKey("machines", "shop", "db")
    assert service.labels == {"a": "x"}
    first, second = service.instances
    assert first.addresses == (Address("10.0.0.7"), Address("fd00::1"), Address("db.example.com", "Hostname"))
    assert first.ports == (Port(1),)
    assert (second.weight, second.zone, second.readiness) == (3, "z1", "ready")


def test_an_entry_may_name_the_service_that_it_declares(tmp_path: Path, types: TypesOf) -> None:
    text = ALL.replace("    instances:\n", "    service: {name: mail}\n    instances:\n")
    (service,) = read(tmp_path, text, types).registrations["shop/db"].declared
    assert service.key == ServiceKey("machines", "shop", "mail")


def test_a_port_without_match_is_found_by_its_own_name(tmp_path: Path, types: TypesOf) -> None:
    text = ALL.replace("  sinks:\n  - name: consul\n", "  ports: [{name: http}]\n  sinks:\n  - name: consul\n", 1)
    assert read(tmp_path, text, types).registrations["shop/web"].spec.ports[0].match == PortMatch(name="http")


def test_a_reference_to_nothing_is_no_error_of_the_manifest(tmp_path: Path, types: TypesOf) -> None:
    text = REGISTRATION.replace("sinkRef: {name: consul-prod}", "sinkRef: {name: nobody}\n    options: {x: 1}")
    settings = read(tmp_path, text, types)
    assert settings.complete
    assert settings.registrations["shop/web"].spec.sinks[0].decoded_options is None


def test_the_namespace_of_a_file_without_one_is_default(tmp_path: Path, types: TypesOf) -> None:
    settings = read(tmp_path, REGISTRATION.replace(", namespace: shop", ""), types)
    assert list(settings.registrations) == ["default/web"]


def test_a_credentials_file_is_relative_to_its_manifest(tmp_path: Path, types: TypesOf) -> None:
    text = f"{SINK}  credentials: [{{name: token, file: secrets/token}}]\n"
    (credential,) = read(tmp_path, text, types).sinks["consul-prod"].spec.credentials
    assert credential.file == str(tmp_path / "secrets/token")


def test_what_kubernetes_writes_into_an_object_is_no_error(tmp_path: Path, types: TypesOf) -> None:
    text = SINK.replace(
        "{name: consul-prod}", '{name: consul-prod, uid: u, resourceVersion: "7", generation: 3, managedFields: [{}]}'
    )
    settings = read(tmp_path, f"{text}status: {{anything: 1}}\n", types)
    assert settings.sinks["consul-prod"].metadata.generation == 3


def test_no_configuration_is_shown_by_repr(tmp_path: Path, types: TypesOf) -> None:
    text = SOURCE.replace("http://m1:5050", "http://user:hunter2@m1:5050")
    text += "---\n" + SINK.replace("ownerID: prod-eu", "ownerID: prod-eu\n  config: {address: hunter2}")
    text += "---\n" + REGISTRATION + "    options: {tags: [hunter2]}\n"
    settings = read(tmp_path, text, types)
    assert settings.complete
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize("folder", sorted({path.parent.name for path in (ROOT / "examples").glob("*/*.yaml")}))
def test_the_examples_are_without_fault(folder: str) -> None:
    settings = read_once([ROOT / "examples" / folder], Plugins())
    assert settings.problems == ()
    assert settings.registrations


# Each case: what is changed in ALL, and all that is told of it.
BAD: dict[str, tuple[str, str, list[str]]] = {
    "a field that does not exist": (
        "  config: {masters:",
        "  confg: {}\n  config: {masters:",
        [
            "m.yaml:7: spec.confg: unknown field `confg`; known: "
            "allowedCIDRs, config, credentials, environment, grants, mode, safety, type"
        ],
    ),
    "a field that is near another": (
        "{type: static, environment: prod}",
        "{type: static, environment: prod, safty: {}}",
        ["m.yaml:12: spec.safty: unknown field `safty`; did you mean `safety`?"],
    ),
    "a field of an adapter that is near another": (
        'masters: ["http://m1:5050"]',
        'masters: ["http://m1:5050"], pollSecond: 3',
        ["m.yaml:7: spec.config.pollSecond: unknown field `pollSecond`; did you mean `pollSeconds`?"],
    ),
    "a required field of an adapter": (
        'masters: ["http://m1:5050"]',
        "pollSeconds: 0",
        [
            "m.yaml:7: spec.config.masters: the field `masters` is required",
            "m.yaml:7: spec.config.pollSeconds: expected a whole number from 1 to 3600",
        ],
    ),
    "a type that does not exist": (
        "type: consul",
        "type: consull",
        ["m.yaml:18: spec.type: unknown sink type `consull`; known: consul, etcd; did you mean `consul`?"],
    ),
    "a word that is not allowed": (
        "  ownerID: prod-eu",
        "  ownerID: prod-eu\n  mode: apply",
        ["m.yaml:21: spec.mode: `apply` is not allowed; allowed: Apply, DryRun, Paused; did you mean `Apply`?"],
    ),
    "a list in place of a mapping, and more": (
        "  ownerID: prod-eu",
        "  ownerID: -x\n  accepts: []\n  safety: {maxRemovalPercent: 101, minRemovals: yes}\n  reservedNames: ['a b']",
        [
            "m.yaml:20: spec.ownerID: expected text of at most 63 characters: letters, digits, `.`, `_` and `-`, "
            "beginning and ending with a letter or digit",
            "m.yaml:21: spec.accepts: expected a mapping, got a list",
            "m.yaml:22: spec.safety.maxRemovalPercent: expected a whole number from 0 to 100",
            "m.yaml:22: spec.safety.minRemovals: expected a whole number from 0 to 1000000, got text",
            "m.yaml:23: spec.reservedNames[0]: expected text of at most 253 characters: text without spaces or control "
            "characters, where `*` stands for any part",
        ],
    ),
    "a number where text is meant": (
        "    service: {name: web}",
        "    service: {name: 42}",
        [
            "m.yaml:29: spec.sources[0].service.name: expected text of 1 to 253 characters, got a whole number; write it in quotes"
        ],
    ),
    "no owner": ("  ownerID: prod-eu\n", "", ["m.yaml:17: spec.ownerID: the field `ownerID` is required"]),
    "another version": (
        "apiVersion: waypost.dev/v1alpha1\nkind: ServiceSink",
        "apiVersion: waypost.dev/v1\nkind: ServiceSink",
        ["m.yaml:14: apiVersion: `waypost.dev/v1` is not read here; expected waypost.dev/v1alpha1"],
    ),
    "another kind": (
        "kind: ServiceSink",
        "kind: ServiceSnk",
        [
            "m.yaml:15: kind: unknown kind `ServiceSnk`; known: ServiceSource, ServiceSink, ServiceRegistration, ServiceMirror, "
            "ServiceHold; did you mean `ServiceSink`?"
        ],
    ),
    "a namespace where there is none": (
        "{name: consul-prod}\nspec",
        "{name: consul-prod, namespace: shop}\nspec",
        ["m.yaml:16: metadata.namespace: a ServiceSink has no namespace; leave the field out"],
    ),
    "a network with host bits": (
        "  ownerID: prod-eu",
        "  ownerID: prod-eu\n  allowedCIDRs: [10.0.0.0/8, 10.1.2.3/16, here]",
        [
            "m.yaml:21: spec.allowedCIDRs[1]: `10.1.2.3/16` has bits beyond its prefix; the network is 10.1.0.0/16",
            "m.yaml:21: spec.allowedCIDRs[2]: `here` is no network; write it like 10.0.0.0/8 or fd00::/8",
        ],
    ),
    "a credential that the type does not know": (
        "  ownerID: prod-eu",
        "  ownerID: prod-eu\n  credentials: [{name: tokn, env: T}]",
        [
            "m.yaml:21: spec.credentials[0].name: the type `consul` has no credential `tokn`; known: token; did you mean `token`?"
        ],
    ),
    "a Secret in a file": (
        "  ownerID: prod-eu",
        "  ownerID: prod-eu\n  credentials: [{name: token, valueFrom: {secretKeyRef: {name: s, key: k}}}]",
        [
            "m.yaml:21: spec.credentials[0].valueFrom: a Secret is read on Kubernetes only; in a file write `file: PATH` or `env: NAME`"
        ],
    ),
    "a credential that is nowhere, and twice": (
        "  ownerID: prod-eu",
        "  ownerID: prod-eu\n  credentials: [{name: token}]",
        ["m.yaml:21: spec.credentials[0]: exactly one of `file: PATH` and `env: NAME` is required"],
    ),
    "nothing chosen": (
        "    service: {name: web}\n",
        "",
        ["m.yaml:27: spec.sources[0]: one of service, selector, instances is required"],
    ),
    "two ways to choose": (
        "    service: {name: web}\n",
        "    service: {name: web}\n    selector: {services: ['w*']}\n",
        ["m.yaml:30: spec.sources[0].selector: only one of service, selector, instances: service is there too"],
    ),
    "a selector of everything": (
        "    service: {name: web}\n",
        "    selector: {}\n",
        [
            "m.yaml:29: spec.sources[0].selector: an empty selector would select every service; "
            "give matchLabels, namespaces or services"
        ],
    ),
    "weights on some": (
        "    service: {name: web}\n",
        "    service: {name: web}\n    weight: 90\n  - {name: b, sourceRef: {name: x}, service: {name: y}}\n",
        ["m.yaml:31: spec.sources[1].weight: a weight is on all entries or on none: `all` has one, `b` has none"],
    ),
    "one name twice": (
        "    sinkRef: {name: consul-prod}\n---",
        "    sinkRef: {name: consul-prod}\n  - {name: consul, sinkRef: {name: other}}\n---",
        ["m.yaml:33: spec.sinks[1].name: `consul` is there twice; item 0 has that name too"],
    ),
    "a placeholder that does not exist, and an absolute name": (
        "  sinks:\n  - name: consul\n",
        '  names: ["{servce}", "web."]\n  metadata: {v: "{instance.ip}"}\n  sinks:\n  - name: consul\n',
        [
            "m.yaml:30: spec.names[0]: unknown placeholder `{servce}`; known: {environment}, {namespace}, {port}, {registration}, "
            "{service}, {source}, {label:K}, {label:K|'default'}",
            "m.yaml:30: spec.names[1]: `web.`: a name is relative to its sink: no `.` or `/` at either end, and no two in a row",
            "m.yaml:31: spec.metadata.v: unknown placeholder `{instance.ip}`; known: {environment}, {instance.id}, "
            "{instance.node}, {instance.zone}, {namespace}, {port}, {registration}, {service}, {source}, {label:K}, "
            "{label:K|'default'}",
        ],
    ),
    "an absolute name of an entry": (
        "    sinkRef: {name: consul-prod}\n---",
        "    sinkRef: {name: consul-prod}\n    names: [/web, ' web', '{instance.id}']\n---",
        [
            "m.yaml:33: spec.sinks[0].names[0]: `/web`: a name is relative to its sink: no `.` or `/` at either end, and no two in a row",
            "m.yaml:33: spec.sinks[0].names[1]: a name must not have control characters, or spaces at either end",
            "m.yaml:33: spec.sinks[0].names[2]: unknown placeholder `{instance.id}`; known: {environment}, {namespace}, "
            "{port}, {registration}, {service}, {source}, {label:K}, {label:K|'default'}",
        ],
    ),
    "ports that do not fit": (
        "  sinks:\n  - name: consul\n",
        "  ports: [{name: http, match: {name: a, index: 0}}]\n  sinks:\n  - name: consul\n    ports: [htp]\n",
        [
            "m.yaml:30: spec.ports[0].match: exactly one of name, index, number is required, 2 given",
            "m.yaml:33: spec.sinks[0].ports[0]: no port of spec.ports is named `htp`; named there: http; did you mean `http`?",
        ],
    ),
    "options that the sink's type refuses": (
        "    sinkRef: {name: consul-prod}\n---",
        "    sinkRef: {name: consul-prod}\n    options: {tags: [1], tag: []}\n---",
        [
            "m.yaml:33: spec.sinks[0].options.tags[0]: expected text, got a whole number; write it in quotes",
            "m.yaml:33: spec.sinks[0].options.tag: unknown field `tag`; known: tags",
        ],
    ),
    "instances where they are found": (
        "    service: {name: web}\n",
        "    instances: [{id: a, addresses: [10.0.0.1]}]\n",
        [
            "m.yaml:29: spec.sources[0].instances: `mesos-prod` is of type `mesos`, which finds its instances itself; "
            "they are declared under a source of a type such as `static`"
        ],
    ),
    "addresses that are none": (
        "addresses: [10.0.0.7]",
        'addresses: [10.0.0.256, "a b", "fe80::1%eth0"]',
        [
            "m.yaml:42: spec.sources[0].instances[0].addresses[0]: `10.0.0.256` is no IPv4 or IPv6 address and no host name",
            "m.yaml:42: spec.sources[0].instances[0].addresses[1]: `a b` is no IPv4 or IPv6 address and no host name",
            "m.yaml:42: spec.sources[0].instances[0].addresses[2]: `fe80::1%eth0`: an address with a zone holds on one machine only",
        ],
    ),
    "two entries that declare one service": (
        "  sinks:\n  - {name: consul,",
        "  - {name: b, sourceRef: {name: machines}, instances: []}\n  sinks:\n  - {name: consul,",
        [
            "m.yaml:43: spec.sources[1].instances: entries `vms` and `b` declare the same service of `machines`; "
            "give each a name of its own: `service: {name: …}`"
        ],
    ),
    "what is not there yet": (
        "  sinks:\n  - name: consul\n",
        "  healthCheck: {httpGet: {path: /}}\n  sinks:\n  - name: consul\n",
        ["m.yaml:30: spec.healthCheck.httpGet: `httpGet` is not supported yet; supported: tcpSocket"],
    ),
    "mirrors in a sink": (
        "  ownerID: prod-eu",
        "  ownerID: prod-eu\n  accepts: {mirrored: [dev]}",
        [
            "m.yaml:21: spec.accepts.mirrored: taking what mirrors show is not supported yet",
        ],
    ),
    "a mirror": (
        "kind: ServiceRegistration\nmetadata: {name: web, namespace: shop}",
        "kind: ServiceMirror\nmetadata: {name: web}",
        [
            "m.yaml:25: spec: ServiceMirror is not supported yet: nothing is mirrored; take the document out of the set for now"
        ],
    ),
    "a check that would overtake itself": (
        "  sinks:\n  - name: consul\n",
        "  healthCheck: {tcpSocket: {}, periodSeconds: 1}\n  sinks:\n  - name: consul\n",
        ["m.yaml:30: spec.healthCheck.timeoutSeconds: 2 is more than periodSeconds, 1: a check would overtake itself"],
    ),
    "a key twice": (
        "  environment: prod\n  ownerID",
        "  environment: prod\n  environment: dev\n  ownerID",
        ["m.yaml:20: the key `environment` is here a second time; the first is at line 19"],
    ),
    "no YAML": (
        "metadata: {name: consul-prod}",
        "metadata: {name: consul-prod",
        ["m.yaml:17: not YAML: while parsing a flow mapping, did not find expected ',' or '}'"],
    ),
    "a document that is no mapping": (
        "kind: ServiceSink",
        "---\n- a\n---\nkind: ServiceSink",
        [
            "m.yaml:14: kind: the field `kind` is required; known: ServiceSource, ServiceSink, ServiceRegistration, ServiceMirror, "
            "ServiceHold",
            "m.yaml:14: metadata: the field `metadata` is required",
            "m.yaml:14: spec: the field `spec` is required",
            "m.yaml:16: expected a mapping with apiVersion, kind, metadata and spec",
            "m.yaml:18: apiVersion: the field `apiVersion` is required; expected waypost.dev/v1alpha1",
        ],
    ),
    "the same object twice": (
        "kind: ServiceSource\nmetadata: {name: machines}\nspec: {type: static",
        "kind: ServiceSource\nmetadata: {name: mesos-prod}\nspec: {type: static",
        ["m.yaml:11: metadata.name: ServiceSource mesos-prod is in m.yaml:1 already; this one is not read"],
    ),
    "a decoded field by its inner name": (
        "    sinkRef: {name: consul-prod}\n---",
        '    sinkRef: {name: consul-prod}\n    "\\x7fdecoded": 1\n---',
        ["m.yaml:33: a key must not have control characters"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_fault_is_told_with_its_place_and_the_rest_goes_on(case: str, tmp_path: Path, types: TypesOf) -> None:
    old, new, expected = BAD[case]
    assert old in ALL
    settings = read(tmp_path, ALL.replace(old, new, 1), types)
    assert [line.replace(f"{tmp_path}/", "") for line in told(settings, tmp_path)] == expected
    assert not settings.complete
    assert len(settings.sources) + len(settings.sinks) + len(settings.registrations) >= 3


def test_an_adapters_own_check_names_its_field(tmp_path: Path, types: TypesOf) -> None:
    text = SINK.replace("type: consul", "type: etcd") + '  config: {endpoints: ["http://u:p@e1"]}\n'
    assert told(read(tmp_path, text, types), tmp_path) == [
        "m.yaml:8: spec.config: a URL must not hold a password; name it under credentials"
    ]


def test_a_missing_path_and_an_empty_folder_are_told(tmp_path: Path, types: TypesOf) -> None:
    (tmp_path / "empty").mkdir()
    settings = read_once([tmp_path / "empty", tmp_path / "none.yaml"], types)
    assert not settings.complete
    assert told(settings, tmp_path) == [
        "empty: holds no *.yaml and no *.yml file; nothing is deleted until it can be read",
        "none.yaml: is not there; nothing is deleted until it can be read",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; nothing is deleted until it can be read"),
        (b"# only a comment\n", "holds no document; nothing is deleted until it can be read"),
        (b"a: \xff\n", "is no UTF-8 text; nothing is deleted until it can be read"),
        (
            b"#" * (4 * 1024 * 1024 + 1),
            "has 4,194,305 bytes; 4,194,304 are the most in one file; nothing is deleted until it can be read",
        ),
    ],
)
def test_a_file_that_says_nothing_is_told(content: bytes, message: str, tmp_path: Path, types: TypesOf) -> None:
    (tmp_path / "m.yaml").write_bytes(content)
    settings = read_once([tmp_path], types)
    assert not settings.complete
    assert [problem.message for problem in settings.problems] == [message]


def test_the_config_is_checked_though_other_fields_are_wrong_too(tmp_path: Path) -> None:
    (tmp_path / "sink.yaml").write_text(SINK + "  config: {adress: x, nodes: many}\n  foo: 1\n")
    told = [str(problem) for problem in read_once([tmp_path], Plugins()).problems]
    assert len(told) == 4, told
    for part in ("spec.foo: unknown field", "spec.config.adress: unknown field", "spec.config.nodes", "config.address"):
        assert any(part in line for line in told), (part, told)


def test_the_type_is_checked_though_other_fields_are_wrong_too(tmp_path: Path) -> None:
    (tmp_path / "sink.yaml").write_text(SINK.replace("type: consul", "type: consull") + "  foo: 1\n")
    told = [str(problem) for problem in read_once([tmp_path], Plugins()).problems]
    assert [line.partition(": ")[0].rpartition("/")[2] for line in told] == ["sink.yaml:5", "sink.yaml:8"], told
    assert "unknown sink type `consull`" in told[0]
