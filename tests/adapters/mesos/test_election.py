"""What ZooKeeper's nodes mean: addresses, the order of masters, and what is told where they make no sense."""

from __future__ import annotations

import pytest
from yarl import URL

from waypost.adapter import AdapterError, PermanentError
from waypost_adapters.mesos.election import Candidate, Ensemble, candidate, ensemble, ranked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("zk://a:2181/mesos", Ensemble(("a:2181",), "/mesos")),
        ("zk://a,b:2182,[::1]:2183/x/mesos/", Ensemble(("a:2181", "b:2182", "[::1]:2183"), "/x/mesos")),
        ("zk://mesos:se:cr@et@a:1,b:2/m", Ensemble(("a:1", "b:2"), "/m", "mesos", "se:cr@et")),
    ],
)
def test_an_ensemble_is_read_as_mesos_writes_it(text: str, expected: Ensemble) -> None:
    assert ensemble(text) == expected
    assert "cr@et" not in expected.told


@pytest.mark.parametrize(
    "text",
    ["zk://a:2181", "zk://a:2181/", "zk:///mesos", "zk://user@a/mesos", "zk://u:hidden@a:x/mesos", "zk://a,/mesos"],
)
def test_what_is_no_ensemble_is_told_without_a_password(text: str) -> None:
    with pytest.raises(PermanentError, match="masters: ") as caught:
        ensemble(text)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([], []),
        (["log_replicas", "info_x", "json.info_0000000001.bak"], []),
        (["json.info_0000000010", "json.info_0000000009"], ["json.info_0000000009", "json.info_0000000010"]),
        (["json.info_2147483647", "json.info_-2147483648"], ["json.info_-2147483648", "json.info_2147483647"]),
        (["json.info_0000000001", "info_0000000002"], ["json.info_0000000001"]),
    ],
)
def test_the_lowest_number_leads(nodes: list[str], expected: list[str]) -> None:
    assert ranked(nodes) == expected


def test_a_leader_that_writes_protobuf_is_told_as_such() -> None:
    with pytest.raises(
        PermanentError, match=r"info_0000000001 holds protobuf.*update Mesos, or list the masters' URLs"
    ):
        ranked(["json.info_0000000002", "info_0000000001"])


@pytest.mark.parametrize(
    ("content", "urls"),
    [
        (b'{"id":"i","hostname":"m1","ip":16777343,"port":5051}', ["https://m1:5051"]),
        (
            b'{"id":"i","hostname":"m1","port":5050,"address":{"hostname":"m1","ip":"10.0.0.1","port":5052}}',
            ["https://m1:5052", "https://10.0.0.1:5052"],
        ),
        (b'{"id":"i","address":{"hostname":"10.0.0.1","ip":"10.0.0.1","port":5050}}', ["https://10.0.0.1:5050"]),
        (b'{"id":"i","address":{"ip":"fd00::1","port":5050}}', ["https://[fd00::1]:5050"]),
    ],
)
def test_a_node_tells_where_its_master_is(content: bytes, urls: list[str]) -> None:
    assert candidate("n", content, "https") == Candidate("i", tuple(map(URL, urls)))


@pytest.mark.parametrize(
    "content",
    [b"", b"\x0a\x24proto", b"[]", b'{"id":"i"}', b'{"id":"i","hostname":"a/b?c","port":1}', b'{"hostname":"a"}'],
)
def test_a_node_that_makes_no_sense_is_told_by_its_path(content: bytes) -> None:
    with pytest.raises(AdapterError, match="the node /mesos/n "):
        candidate("/mesos/n", content, "http")
