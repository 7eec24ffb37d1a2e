"""What is decoded of a slice's text, beside the text before, is what decoding it whole gives: whatever is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from waypost.model import Instance
from waypost_adapters.kubernetes import source_slices
from waypost_adapters.kubernetes.source_endpoints import Endpoint, instance_of, ports_of
from waypost_adapters.kubernetes.source_slices import Frame, Slice
from waypost_adapters.kubernetes.source_text import Text, Texts

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError)


class Plain(Frame, frozen=True, rename="camel"):
    """A slice with its endpoints, of which those count that are named last."""

    endpoints: list[msgspec.Raw] | None = None


def whole(raw: bytes) -> tuple[list[Instance], str] | None:
    """What a text means, by the shortest way; None if it is no slice."""
    try:
        made = msgspec.json.decode(raw, type=Plain)
        rows = [msgspec.json.decode(each, type=Endpoint) for each in made.endpoints or ()]
    except NOT_JSON:
        return None
    found = ports_of(made.ports or ())
    return [instance_of(row, found, made.address_type) for row in rows], made.metadata.resource_version


def ports(*rows: dict[str, Any]) -> str:
    return f'"ports":{json.dumps(rows, separators=(",", ":"))}'


HOSTILE = [
    '"endpoints":[',
    ',"endpoints":[',
    '},{"addresses":["6.6.6.6"]',
    '{"addresses":',
    "}],",
    "]}",
    "\\",
    '\\"',
    "\u00e4\u20ac\U0001f600",
    "\x00\n",
    "[{",
]
STRINGS = st.text(max_size=6) | st.sampled_from(HOSTILE)
ADDRESSES = st.integers(0, 9).map("10.0.0.{}".format)


@st.composite
def endpoints(draw: st.DrawFn) -> str:
    """One endpoint's JSON: mostly as the API server writes it, else with what may mislead who looks at the text."""
    row: dict[str, Any] = {"addresses": [draw(ADDRESSES)], "conditions": {"ready": draw(st.booleans())}}
    if draw(st.booleans()):
        row["targetRef"] = {"kind": "Pod", "name": draw(st.sampled_from("abcdef") | STRINGS)}
    more = draw(st.integers(0, 29))
    if more == 0:
        row["zone"] = draw(STRINGS)
    elif more == 1:
        row["hints"] = {"forZones": [{"addresses": ["6.6.6.6"]}, {"addresses": [draw(STRINGS)]}]}
    elif more == 2:
        row = dict(reversed(row.items()))
    elif more == 3:
        return draw(
            st.sampled_from(["{}", "null", '{"addresses":"1"}', '{"addresses":["10.0.0.1"],"addresses":[]}', "[]"])
        )
    text = json.dumps(row, separators=(",", ":"), ensure_ascii=draw(st.booleans()))
    return f" {text} " if more == 4 else text


LISTS = st.lists(endpoints(), max_size=8)
HEADS = st.sampled_from(
    [
        *['{"kind":"EndpointSlice","metadata":%s,"addressType":"IPv4","endpoints":['] * 12,
        '{"metadata":%s,"endpoints":[',
        '{"metadata":%s,"addressType":"FQDN","endpoints":[',
        '{"metadata":%s,"ports":[{"port":1}],"endpoints":[',
        '{"metadata":%s, "endpoints":[',
        '{"metadata":%s,"endpoints" :[',
        '{"x":{"y":1,"endpoints":[{"addresses":["6.6.6.6"]}]},"metadata":%s,"endpoints":[',
        '{"x":{"y":1,"endpoints":[],"z":{}},"metadata":%s,"addressType":"IPv4","endpoints":[',
        '{"metadata":%s,"x":",\\"endpoints\\":[","endpoints":[',
        '{"metadata":%s,"x\\",\\"endpoints":[',
        '{"metadata":%s,"endpoints":[],"endpoints":[',
        '{"endpoints":[',
    ]
)
TAILS = st.sampled_from(
    [
        *[f"],{ports({'name': 'http', 'port': 80})}}}"] * 12,
        f"],{ports({'name': 'http', 'port': 81})}}}",
        f"] ,{ports()}}}",
        "]}",
        ' ], "ports":null}',
        '],"addressType":"FQDN"}',
        '],"endpoints":[]}',
        '],"endpoints":null,"ports":[]}',
        '],"endpoints":[{"addresses":["10.0.0.1"],"conditions":{"ready":true}}]}',
        '],"metadata":{"name":"b","resourceVersion":"0"}}',
        '],"x":{"endpoints":[{"addresses":["6.6.6.6"]}]}}',
        "]",
        "]}}",
        "",
    ]
)


@st.composite
def histories(draw: st.DrawFn) -> list[bytes]:
    """Texts of one slice, one after the other: mostly a little is edited, now and then anything."""
    rows = draw(LISTS)
    head, tail, comma = draw(HEADS), draw(TAILS), ","
    texts = []
    for version in range(draw(st.integers(2, 6))):
        match draw(st.integers(0, 11)):
            case 0:
                rows = draw(LISTS)
            case 1:
                rows = draw(st.permutations(rows))
            case 2:
                head = draw(HEADS)
            case 3:
                tail = draw(TAILS)
            case 4:
                comma = draw(st.sampled_from([",", ", ", ",,", ""]))
            case _:
                at = draw(st.integers(0, len(rows)))
                length = draw(st.integers(0, 2))
                rows = [*rows[:at], *draw(st.lists(endpoints(), max_size=2)), *rows[at + length :]]
        meta = {"name": "a", "namespace": "n", "annotations": {"z": draw(STRINGS)}, "resourceVersion": str(version)}
        text = head.replace("%s", json.dumps(meta, separators=(",", ":"))) + comma.join(rows) + tail
        raw = text.encode("utf-8", "surrogatepass")
        if draw(st.integers(0, 9)) == 0:  # broken on its way
            at = draw(st.integers(0, len(raw)))
            raw = raw[:at] + draw(st.sampled_from([b"", b"\xff", b'"', b"}", b"]", b"[", b"\\"])) + raw[at + 1 :]
        texts.append(raw)
    return texts


def as_written(*rows: str, version: int = 1, before: str = '"addressType":"IPv4",', behind: str = "") -> bytes:
    meta = f'"metadata":{{"name":"a","resourceVersion":"{version}"}}'
    return f'{{{meta},{before}"endpoints":[{",".join(rows)}],"ports":[]{behind}}}'.encode()


ONE, TWO, TEN = (f'{{"addresses":["10.0.0.{last}"]}}' for last in (1, 2, 10))


@given(texts=histories(), framed=st.booleans(), forgetful=st.booleans())
@example(texts=[as_written(ONE, TWO), as_written(ONE, TEN)], framed=True, forgetful=False)
@example(texts=[as_written(ONE, TWO, TEN), as_written(ONE, TEN), as_written(TEN)], framed=False, forgetful=False)
@example(texts=[as_written(ONE, ONE), as_written(ONE, ONE, ONE), as_written(ONE)], framed=False, forgetful=False)
@example(texts=[as_written(ONE, TWO), as_written(ONE, ""), as_written(ONE)], framed=False, forgetful=False)
@example(texts=[as_written(ONE, TWO), as_written(ONE, ONE), as_written(ONE, TWO)], framed=False, forgetful=False)
@example(
    texts=[as_written(ONE, TWO, TEN), as_written(TEN, ONE, TEN), as_written(TEN, TWO), as_written(TEN, TWO, ONE)],
    framed=False,
    forgetful=False,
)
@example(
    texts=[as_written(ONE), as_written(ONE, before='"addressType":"FQDN",'), as_written(ONE, before='"x\\"')],
    framed=False,
    forgetful=False,
)
@example(texts=[as_written(ONE), as_written(ONE, before='"x\\",\\')], framed=False, forgetful=False)
@example(texts=[as_written(ONE), as_written(ONE, before='"ports":[{"port":1}],')], framed=False, forgetful=False)
@example(texts=[as_written(ONE, behind=f',"endpoints":[{TWO}]')], framed=False, forgetful=False)
@example(
    texts=[as_written(ONE, version=each, behind=',"metadata":{"name":"a","resourceVersion":"1"}') for each in (1, 2)],
    framed=False,
    forgetful=False,
)
@settings(max_examples=500)
def test_of_any_texts_one_after_the_other_each_means_what_it_means_alone(
    texts: Sequence[bytes], framed: bool, forgetful: bool
) -> None:
    before: Slice | None = None
    held: list[Instance] = []
    for raw in texts:
        expected = whole(raw)
        try:
            now = Slice.of(memoryview(raw)) if framed else Slice(raw)
            went, came = now.settle(before)
        except NOT_JSON:
            assert expected is None or raw.count(b'"metadata":{') > 1  # twice: it may be refused
            continue  # what it was keeps its place
        assert expected is not None
        assert (now.instances, now.metadata.resource_version) == expected
        assert not now.single or len({each.id for each in now.instances}) == len(now.instances)
        stays = [each for each in held if not any(each is other for other in went)]
        assert sorted(map(repr, [*stays, *came])) == sorted(map(repr, now.instances))
        before, held = now, list(now.instances)
        if forgetful:
            now.forget()


def rows(*ready: bool) -> list[str]:
    return [
        f'{{"addresses":["10.0.0.{at}"],"conditions":{{"ready":{str(each).lower()}}}}}' for at, each in enumerate(ready)
    ]


BEFORE = rows(*[True] * 9)


@pytest.mark.parametrize(
    ("after", "went", "came"),
    [
        (BEFORE, [], []),
        (rows(False, *[True] * 8), [0], [0]),
        (rows(*[True] * 4, False, *[True] * 4), [4], [4]),
        (rows(*[True] * 8, False), [8], [8]),
        (rows(*[True] * 3, False, False, *[True] * 4), [3, 4], [3, 4]),
        (rows(False, *[True] * 7, False), [0, 8], [0, 8]),
        (BEFORE[1:], [0], []),
        (BEFORE[:4] + BEFORE[5:], [4], []),
        (BEFORE[:-1], [8], []),
        ([*BEFORE[:5], '{"addresses":["10.0.0.99"]}', *BEFORE[5:]], [], [99]),
        ([*BEFORE, '{"addresses":["10.0.0.99"]}'], [], [99]),
        ([*BEFORE[:5], '{"addresses":["10.0.0.99"]}', *BEFORE[6:]], [5], [99]),
        ([*BEFORE[:2], BEFORE[3], BEFORE[2], *BEFORE[4:]], [], []),
    ],
)
def test_beside_the_text_before_a_slice_is_never_decoded_whole(
    after: list[str], went: list[int], came: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Slice(as_written(*BEFORE))
    before.settle(None)
    old = {each.id: each for each in before.instances}
    monkeypatch.setattr(source_slices, "_WHOLE", None)
    now = Slice(as_written(*after))
    found = now.settle(before)
    assert [[each.id for each in some] for some in found] == [[f"10.0.0.{at}" for at in some] for some in (went, came)]
    assert [each.id for each in now.instances] == [json.loads(each)["addresses"][0] for each in after]
    assert all(each is old[each.id] for each in now.instances if each.id in old and each not in found[1])
    again = Slice(as_written(*BEFORE))
    again.settle(now)
    assert again.instances == list(old.values())
    assert now._text is not None
    assert again._text is not None
    assert now._text.compared(again._text) is None, "what is known of a text is known of the last one"


def test_of_many_that_are_alike_some_may_go(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Slice(as_written(*[ONE] * 5, *BEFORE))
    before.settle(None)
    monkeypatch.setattr(source_slices, "_WHOLE", None)
    now = Slice(as_written(ONE, *BEFORE))
    went, came = now.settle(before)
    assert ([each.id for each in went], came) == (["10.0.0.1"] * 4, [])


@pytest.mark.parametrize("count", [1, 2, 3, 100, 1000])
def test_only_the_endpoint_that_differs_is_decoded(count: int) -> None:
    text = Slice(as_written(*rows(*[True] * count)))
    text.settle(None)
    for at in {0, count // 2, count - 1}:
        ready = [True] * count
        ready[at] = False
        assert text._text is not None
        newer = Slice(as_written(*rows(*ready)))._text
        assert newer is not None
        change = text._text.compared(newer)
        assert change is not None
        assert (change[0], change[1]) == (at, at + 1)
        assert json.loads(newer.text[change[2] : change[3]])["conditions"] == {"ready": False}


def test_a_text_of_which_nothing_is_known_tells_nothing() -> None:
    text = as_written(*BEFORE)
    made = Text(text, 0, len(text))
    assert made.compared(made) is None


def test_texts_are_kept_within_a_bound_and_the_least_used_goes_first() -> None:
    made = {name: Slice(as_written(*BEFORE)) for name in "abc"}
    size = made["a"].size
    texts = Texts(2 * size + size // 2)
    for name in "ab":
        texts.keep(("n", name), None, made[name])
    now = Slice(as_written(*BEFORE))
    texts.keep(("n", "a"), made["a"], now)
    texts.keep(("n", "c"), None, made["c"])
    assert [made["b"].size, now.size, made["c"].size, texts.bytes] == [0, size, size, 2 * size]
    texts.drop(("n", "a"))
    texts.drop(("n", "b"))
    assert texts.bytes == size


def test_what_was_forgotten_is_decoded_whole_and_known_again() -> None:
    before = Slice(as_written(*BEFORE))
    before.settle(None)
    before.forget()
    now = Slice(as_written(*BEFORE[1:]))
    went, came = now.settle(before)
    assert ([each.id for each in went], came) == (["10.0.0.0"], [])
    assert now.size
