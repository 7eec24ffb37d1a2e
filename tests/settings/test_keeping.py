"""What cannot be read is not gone; what is gone goes late; what is equal stays the same object."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from tests.settings.test_manifests import ALL, DECLARED, REGISTRATION, SINK, SOURCE, STATIC
from waypost.settings import Settings, TypesOf
from waypost.settings.folder import DOUBT_SECONDS, QUIET_SECONDS, ManifestSet

START = 1_700_000_000.0


class Disk:
    """A folder and the set that reads it, on a clock of the test's own."""

    def __init__(self, folder: Path, types: TypesOf, *paths: Path) -> None:
        self.folder = folder
        self.set = ManifestSet(paths or [folder], types)
        self.now = 100.0

    def write(self, name: str, text: str | bytes, *, age: float = 0.0) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        written = START + self.now - age
        os.utime(path, (written, written))

    def read(self, after: float = 0.0) -> Settings:
        self.now += after
        return self.set.read(self.now, START + self.now)


@pytest.fixture
def disk(tmp_path: Path, types: TypesOf) -> Disk:
    return Disk(tmp_path / "manifests", types)


def started(disk: Disk, **files: str) -> Settings:
    for name, text in files.items():
        disk.write(f"{name}.yaml", text, age=60)
    settings = disk.read()
    assert settings.complete, settings.problems
    return settings


def test_a_manifest_cut_at_any_byte_loses_nothing_and_never_counts_as_whole(disk: Disk) -> None:
    first = started(disk, m=ALL)
    whole = ALL.encode()
    for cut in range(len(whole)):
        disk.write("m.yaml", whole[:cut])
        settings = disk.read()
        assert not settings.complete, cut
        assert settings.registrations == first.registrations
        assert all(settings.registrations[key] is item for key, item in first.registrations.items())
        assert settings.sinks == first.sinks
        assert settings.sources == first.sources
    disk.write("m.yaml", whole)
    assert disk.read(QUIET_SECONDS) == first


def test_a_longer_manifest_cut_at_any_byte_is_not_taken_while_it_is_written(disk: Disk) -> None:
    first = started(disk, m=SINK + "---\n" + REGISTRATION)
    whole = (SINK + "---\n" + REGISTRATION.replace("name: web}", "name: other}") + "---\n" + DECLARED).encode()
    for cut in range(len(whole)):
        disk.write("m.yaml", whole[:cut])
        assert disk.read(0.05).registrations == first.registrations, cut


def test_a_file_half_written_at_the_start_is_not_taken(tmp_path: Path, types: TypesOf) -> None:
    whole = ALL.encode()
    for cut in range(0, len(whole), 7):
        disk = Disk(tmp_path, types)
        disk.write("m.yaml", whole[:cut])
        assert not disk.read().complete


def test_an_edit_is_taken_when_the_file_has_been_still(disk: Disk) -> None:
    started(disk, m=REGISTRATION)
    disk.write("m.yaml", REGISTRATION + "  drainSeconds: 30\n")
    assert disk.read().registrations["shop/web"].spec.drain_seconds == 10
    assert disk.set.wake == pytest.approx(disk.now + QUIET_SECONDS)
    assert disk.read(QUIET_SECONDS).registrations["shop/web"].spec.drain_seconds == 30


def test_a_last_line_without_an_end_waits_longer(disk: Disk) -> None:
    started(disk, m=REGISTRATION)
    disk.write("m.yaml", REGISTRATION + "  drainSeconds: 30")
    settings = disk.read(DOUBT_SECONDS - 0.1)
    assert not settings.complete
    assert "may be half-written" in settings.problems[0].message
    disk.read()
    assert disk.set.wake is not None
    assert disk.read(DOUBT_SECONDS).registrations["shop/web"].spec.drain_seconds == 30


@pytest.mark.parametrize("broken", [b"", b"a: [", b"\xff\n", b"# nothing\n", b"kind: ServiceRegistration\n"])
def test_an_unreadable_file_keeps_its_last_good_form_and_the_others_go_on(broken: bytes, disk: Disk) -> None:
    first = started(disk, a=REGISTRATION, b=SINK)
    disk.write("a.yaml", broken)
    disk.write("b.yaml", SINK + "  mode: Paused\n")
    for _ in range(5):
        disk.read(3)
    settings = disk.read()
    assert not settings.complete
    assert settings.registrations["shop/web"] is first.registrations["shop/web"]
    assert settings.sinks["consul-prod"].spec.mode == "Paused"


def test_a_bad_edit_keeps_the_last_good_form_of_that_document_only(disk: Disk) -> None:
    first = started(disk, m=ALL)
    disk.write(
        "m.yaml", ALL.replace("ownerID: prod-eu", "ownerID: prod-eu\n  mode: DryRun").replace("name: all", "nam: all")
    )
    settings = disk.read(1)
    assert not settings.complete
    assert settings.registrations["shop/web"] is first.registrations["shop/web"]
    assert settings.registrations["shop/db"] is first.registrations["shop/db"]
    assert settings.sinks["consul-prod"].spec.mode == "DryRun"


def test_a_registration_goes_when_absent_for_two_seconds_from_a_whole_set(disk: Disk) -> None:
    started(disk, a=REGISTRATION, b=DECLARED)
    (disk.folder / "a.yaml").unlink()
    settings = disk.read()
    assert settings.complete
    assert "shop/web" in settings.registrations
    assert disk.set.wake == pytest.approx(disk.now + 2)
    assert "shop/web" in disk.read(1.9).registrations
    assert set(disk.read(0.1).registrations) == {"shop/db"}


def test_a_registration_that_comes_back_in_time_was_never_gone(disk: Disk) -> None:
    first = started(disk, a=REGISTRATION, b=DECLARED)
    (disk.folder / "a.yaml").unlink()
    disk.read()
    disk.read(1.9)
    disk.write("c.yaml", REGISTRATION)
    for _ in range(3):
        disk.read(1)
    assert disk.read().registrations["shop/web"] is first.registrations["shop/web"]


def test_what_has_moved_to_a_file_that_is_still_being_written_does_not_go(disk: Disk) -> None:
    first = started(disk, a=REGISTRATION, b=DECLARED)
    (disk.folder / "a.yaml").unlink()
    disk.read()
    disk.read(1.9)
    disk.write("b.yaml", f"{DECLARED}---\n{REGISTRATION}")
    assert disk.read(0.15).registrations == first.registrations
    assert disk.read(0.1) == first


def test_nothing_goes_while_any_document_cannot_be_read_and_the_two_seconds_begin_anew(disk: Disk) -> None:
    started(disk, a=REGISTRATION, b=DECLARED, c=SINK)
    (disk.folder / "a.yaml").unlink()
    disk.read()
    disk.write("c.yaml", "a: [\n", age=60)
    assert "shop/web" in disk.read(100).registrations
    disk.write("c.yaml", SINK, age=60)
    assert disk.read(1).complete
    assert "shop/web" in disk.read(1.9).registrations
    assert "shop/web" not in disk.read(0.2).registrations


def test_an_emptied_folder_and_a_missing_one_lose_nothing(disk: Disk) -> None:
    first = started(disk, a=REGISTRATION)
    (disk.folder / "a.yaml").unlink()
    assert disk.read(100).registrations == first.registrations
    assert not disk.read().complete
    disk.folder.rmdir()
    assert disk.read(100).registrations == first.registrations
    assert [problem.message for problem in disk.read().problems] == [
        "is not there; nothing is deleted until it can be read"
    ]
    disk.write("a.yaml", REGISTRATION)
    assert disk.read(1) == first


def test_a_named_file_that_vanishes_keeps_what_it_held(tmp_path: Path, types: TypesOf) -> None:
    disk = Disk(tmp_path, types, tmp_path / "a.yaml", tmp_path / "b.yaml")
    first = started(disk, a=REGISTRATION, b=DECLARED)
    (tmp_path / "a.yaml").unlink()
    assert disk.read(100).registrations == first.registrations
    assert not disk.read(100).complete


def test_at_the_start_a_missing_folder_is_an_incomplete_set(tmp_path: Path, types: TypesOf) -> None:
    settings = Disk(tmp_path / "none", types).read()
    assert not settings.complete
    assert settings.registrations == {}


def test_the_same_content_written_again_is_no_news(disk: Disk) -> None:
    first = started(disk, m=ALL)
    disk.write("m.yaml", ALL)
    assert disk.read(1) is first
    disk.write("m.yaml", f"# a comment\n{ALL}")
    assert disk.read(1) is first


def test_an_edit_of_one_document_leaves_all_others_the_same_object(disk: Disk) -> None:
    first = started(disk, m=ALL)
    disk.write("m.yaml", ALL.replace("masters:", "pollSeconds: 5, masters:"))
    second = disk.read(1)
    assert second.sources["mesos-prod"] is not first.sources["mesos-prod"]
    assert second.sources["machines"] is first.sources["machines"]
    assert all(second.registrations[key] is item for key, item in first.registrations.items())


def test_a_comment_makes_no_other_object(disk: Disk) -> None:
    first = started(disk, a=SINK, b=SOURCE, c=REGISTRATION, d=STATIC)
    for name, text in (("a", SINK), ("b", SOURCE), ("c", REGISTRATION)):
        disk.write(f"{name}.yaml", f"# a comment\n{text}")
    disk.write("d.yaml", STATIC.replace("prod}", "prod, mode: Frozen}"))
    second = disk.read(1)
    assert second.sources["machines"] is not first.sources["machines"]
    assert second.sources["mesos-prod"] is first.sources["mesos-prod"]
    assert second.sinks["consul-prod"] is first.sinks["consul-prod"]
    assert second.registrations["shop/web"] is first.registrations["shop/web"]


def test_a_line_told_is_the_files_line_also_when_the_document_has_moved(disk: Disk) -> None:
    bad = SINK.replace("type: consul", "type: consul\n  x: 1")
    disk.write("m.yaml", f"{SOURCE}---\n{bad}", age=60)
    (problem,) = disk.read().problems
    disk.write("m.yaml", f"{SOURCE}\n\n---\n{bad}", age=60)
    (moved,) = disk.read(1).problems
    assert moved.line == problem.line + 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "type: consul",
            "type: etcd\n  config: {endpoints: []}",
            "spec.type: is immutable: it was `consul` and cannot become `etcd`",
        ),
        (
            "environment: prod",
            "environment: dev",
            "spec.environment: is immutable: it was `prod` and cannot become `dev`",
        ),
        ("ownerID: prod-eu", "ownerID: me", "spec.ownerID: is immutable: it was `prod-eu` and cannot become `me`"),
    ],
)
def test_an_immutable_field_does_not_change(old: str, new: str, message: str, disk: Disk) -> None:
    first = started(disk, m=SINK)
    disk.write("m.yaml", SINK.replace(old, new))
    settings = disk.read(1)
    assert settings.sinks["consul-prod"] is first.sinks["consul-prod"]
    assert message in str(settings.problems[0])
    assert not settings.complete
    disk.write("m.yaml", SINK)
    assert disk.read(1) == first


def test_of_two_documents_of_one_object_the_one_in_force_stays(disk: Disk) -> None:
    first = started(disk, m=REGISTRATION)
    disk.write("a.yaml", REGISTRATION + "  drainSeconds: 1\n", age=60)
    settings = disk.read()
    assert settings.registrations["shop/web"] is first.registrations["shop/web"]
    (problem,) = settings.problems
    folder = disk.folder
    assert str(problem) == (
        f"{folder}/a.yaml:3: metadata.name: ServiceRegistration shop/web is in {folder}/m.yaml:1 already; "
        "this one is not read"
    )


def test_two_registrations_cannot_declare_one_service(disk: Disk) -> None:
    started(disk, a=STATIC, b=DECLARED)
    other = DECLARED.replace("name: db,", "name: db2,").replace(
        "    instances:", "    service: {name: db}\n    instances:"
    )
    disk.write("c.yaml", other, age=60)
    settings = disk.read()
    assert "shop/db2" not in settings.registrations
    assert settings.problems[0].message == (
        "registration shop/db declares machines/shop/db already; give it another `service: {name: …}`"
    )


def test_a_declared_service_may_pass_from_one_registration_to_another(disk: Disk) -> None:
    second = DECLARED.replace("name: db,", "name: aa,").replace(
        "    instances:", "    service: {name: db}\n    instances:"
    )
    gave = DECLARED.replace("    instances:", "    service: {name: old}\n    instances:")
    started(disk, a=STATIC, b=DECLARED)
    disk.write("b.yaml", f"{second}---\n{gave}", age=60)
    settings = disk.read()
    assert settings.complete, settings.problems
    names = {key: [service.key.name for service in item.declared] for key, item in settings.registrations.items()}
    assert names == {"shop/aa": ["db"], "shop/db": ["old"]}


def test_a_renamed_registration_may_declare_what_its_former_name_declared(disk: Disk) -> None:
    named = DECLARED.replace("    instances:", "    service: {name: db}\n    instances:")
    started(disk, a=STATIC, b=named)
    disk.write("b.yaml", named.replace("name: db,", "name: database,"), age=60)
    assert disk.read().complete
    assert set(disk.read(2).registrations) == {"shop/database"}


def test_options_are_decoded_when_the_sink_comes(disk: Disk) -> None:
    first = started(disk, a=REGISTRATION + "    options: {tags: [x]}\n", b=STATIC)
    assert first.registrations["shop/web"].spec.sinks[0].decoded_options is None
    disk.write("c.yaml", SINK, age=60)
    assert disk.read().registrations["shop/web"].spec.sinks[0].decoded_options.tags == ("x",)


def test_a_pipe_and_a_folder_within_itself_are_told_and_stop_nothing(disk: Disk) -> None:
    started(disk, a=REGISTRATION)
    os.mkfifo(disk.folder / "pipe.yaml")
    (disk.folder / "self").symlink_to(disk.folder)
    settings = disk.read()
    assert "shop/web" in settings.registrations
    told = {problem.message.partition(";")[0] for problem in settings.problems}
    assert "is no regular file" in told
    assert "is inside itself, or more than 16 folders deep" in told


def test_hidden_files_and_other_suffixes_are_not_read(disk: Disk) -> None:
    first = started(disk, a=REGISTRATION)
    for name in (".a.yaml.swp", ".hidden.yaml", "a.yaml~", "notes.txt", ".git/x.yaml"):
        disk.write(name, "a: [")
    assert disk.read(1) is first


REGISTRATIONS = [REGISTRATION.replace("name: web,", f"name: r{number},") for number in range(4)]
STEPS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["whole", "cut", "broken", "gone", "empty"]),
        st.floats(0, 1.9),
        st.floats(0.01, 0.99),
    ),
    max_size=12,
)


@given(STEPS)
@hypothesis(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_goes_that_was_not_absent_from_a_whole_set(
    tmp_path_factory: pytest.TempPathFactory, types: TypesOf, steps: list[tuple[int, str, float, float]]
) -> None:
    disk = Disk(tmp_path_factory.mktemp("set"), types)
    for number, text in enumerate(REGISTRATIONS):
        disk.write(f"{number}.yaml", text, age=60)
    disk.write("sink.yaml", SINK, age=60)
    disk.read()
    state, gone_since = ["whole"] * 4, [0.0] * 4
    present = set(range(4))
    for number, act, after, share in steps:
        text = REGISTRATIONS[number]
        if act == "gone":
            (disk.folder / f"{number}.yaml").unlink(missing_ok=True)
            gone_since[number] = gone_since[number] if state[number] == "gone" else disk.now
        else:
            cut = text[: int(len(text) * share)]
            disk.write(f"{number}.yaml", {"whole": text, "cut": cut, "broken": "a: [\n", "empty": ""}[act])
        state[number] = act
        settings = disk.read(after)
        before, present = present, {each for each in range(4) if f"shop/r{each}" in settings.registrations}
        for each in before - present:
            assert state[each] == "gone"
            assert disk.now - gone_since[each] >= 2
            assert not {"cut", "broken", "empty"} & set(state)
        if after > QUIET_SECONDS:
            assert not (settings.complete and {"cut", "broken", "empty"} & set(state))
    for number, text in enumerate(REGISTRATIONS):
        disk.write(f"{number}.yaml", text)
    assert len(disk.read(1).registrations) == 4
    assert disk.read().complete
