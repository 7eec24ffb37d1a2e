"""URLs of members are taken apart, or refused with the reason."""

from __future__ import annotations

import pytest

from waypost.adapter import PermanentError
from waypost.kit.etcd.endpoint import Endpoint, endpoints


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://etcd-1:2379", Endpoint("http://etcd-1:2379", "dns:///etcd-1:2379", False)),
        ("https://etcd-1.example", Endpoint("https://etcd-1.example:2379", "dns:///etcd-1.example:2379", True)),
        ("https://[fd00::7]:12379/", Endpoint("https://[fd00::7]:12379", "dns:///[fd00::7]:12379", True)),
        ("http://10.0.0.7:1", Endpoint("http://10.0.0.7:1", "dns:///10.0.0.7:1", False)),
    ],
)
def test_a_url_becomes_a_target(url: str, expected: Endpoint) -> None:
    assert endpoints([url]) == (expected,)


@pytest.mark.parametrize(
    ("urls", "says"),
    [
        ([], "no endpoint is given"),
        (["etcd-1:2379"], r"endpoints\[0\] is no URL of an etcd member"),
        (["http://a:2379", "http://"], r"endpoints\[1\] is no URL of an etcd member"),
        (["ftp://a"], "is no URL of an etcd member"),
        (["unix:///run/etcd"], "is no URL of an etcd member"),
        (["http://a:99999"], "is no URL; expected"),
        (["http://a:secret"], "is no URL; expected"),
        (["http://[::1"], "is no URL; expected"),
        (["http://a/v3"], "something after the port"),
        (["http://a?x=1"], "something after the port"),
        (["http://root:secret@a"], "give them as credentials"),
        (["http://a", "https://b"], "one or the other"),
    ],
)
def test_what_is_no_member_is_refused(urls: list[str], says: str) -> None:
    with pytest.raises(PermanentError, match=says) as refused:
        endpoints(urls)
    assert "secret" not in str(refused.value)
