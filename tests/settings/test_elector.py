"""What is wrong in an elector's file is told with file, line and field, as in manifests."""

from __future__ import annotations

from pathlib import Path

import pytest

from waypost.adapter import PermanentError
from waypost.plugins import Plugins
from waypost.settings.elector import read_elector


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("config: {endpoint: x, election: a}\n", ["elector.yaml:1", "config.endpoint", "did you mean `endpoints`"]),
        ("config:\n  endpoints: [http://a:1]\n  election: a/b\n", ["elector.yaml:3", "config.election"]),
        ("config:\n  endpoints: [http://a:1]\n  election: a\n  ttlSeconds: 1\n", ["elector.yaml:4", "ttlSeconds"]),
        ("config: {endpoints: [http://u:secret@a:1], election: a}\n", ["endpoints[0]", "credentials"]),
        ("spec: {}\n", ["elector.yaml:1", "spec"]),
        ("config: {endpoints: [http://a:1], election: a}\ncredentials: [{name: pass, file: x}]\n", ["credentials[0]"]),
        ("config: {a: 1, a: 2}\n", ["elector.yaml:1"]),
        ("a: 1\n---\nb: 2\n", ["2 documents"]),
        ("", ["0 documents"]),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, told: list[str]) -> None:
    file = tmp_path / "elector.yaml"
    file.write_text(text)
    with pytest.raises(PermanentError) as raised:
        read_elector(file, Plugins().find("electors", "etcd"))
    assert all(each in str(raised.value) for each in told), raised.value
    assert "secret" not in str(raised.value)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "elector.yaml"
    file.write_text("config:\n  endpoint: [x]\n  ttlSeconds: 1\n")
    with pytest.raises(PermanentError) as raised:
        read_elector(file, Plugins().find("electors", "etcd"))
    for told in ("elector.yaml:2: config.endpoint", "elector.yaml:3: config.ttlSeconds", "`election` is required"):
        assert told in str(raised.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="nowhere cannot be read: No such file"):
        read_elector(tmp_path / "nowhere", Plugins().find("electors", "etcd"))


def test_its_credentials_files_are_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "elector.yaml"
    file.write_text(
        "config: {endpoints: ['http://a:1'], election: a}\n"
        "credentials: [{name: username, env: E}, {name: password, file: secrets/p}]\n"
    )
    found = read_elector(file, Plugins().find("electors", "etcd"))
    assert [each.file for each in found.credentials] == [None, str(tmp_path / "secrets/p")]
    assert found.config.election == "a"
    assert found.config.ttl_seconds == 15
