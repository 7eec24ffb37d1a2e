"""Each status says whether the request may have acted, and what a person should do."""

from __future__ import annotations

import grpc
import pytest

from waypost.adapter import AdapterError, PermanentError
from waypost.kit.etcd.faults import Compacted, Denied, Refused, StaleToken, TooLarge, Uncertain, Unreached, fault

STATUS = grpc.StatusCode


@pytest.mark.parametrize(
    ("code", "details", "kind", "says"),
    [
        (STATUS.UNAVAILABLE, "failed to connect to all addresses; last error: refused", Unreached, "refused"),
        (STATUS.UNAVAILABLE, "etcdserver: no leader", Unreached, "no leader"),
        (STATUS.UNAVAILABLE, "Socket closed", Uncertain, "Socket closed"),
        (STATUS.UNAVAILABLE, "etcdserver: request timed out", Uncertain, "request timed out"),
        (STATUS.UNAVAILABLE, "etcdserver: leader changed", Uncertain, "leader changed"),
        (STATUS.UNAVAILABLE, None, Uncertain, "no details"),
        (STATUS.DEADLINE_EXCEEDED, "Deadline Exceeded", Uncertain, "no answer in time"),
        (STATUS.INTERNAL, "RST_STREAM", Uncertain, "RST_STREAM"),
        (STATUS.CANCELLED, "", Uncertain, "no details"),
        (STATUS.UNAUTHENTICATED, "etcdserver: invalid auth token", StaleToken, "invalid auth token"),
        (STATUS.INVALID_ARGUMENT, "etcdserver: revision of auth store is old", StaleToken, "old"),
        (STATUS.PERMISSION_DENIED, "etcdserver: permission denied", Denied, "grant the user's role"),
        (STATUS.INVALID_ARGUMENT, "etcdserver: user name is empty", Denied, "add the credentials"),
        (
            STATUS.INVALID_ARGUMENT,
            "etcdserver: authentication failed, invalid user ID or password",
            Denied,
            "are not accepted",
        ),
        (STATUS.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted", Compacted, "compacted"),
        (STATUS.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", Refused, "alarm disarmed"),
        (STATUS.RESOURCE_EXHAUSTED, "etcdserver: too many requests", Refused, "too many"),
        (STATUS.INVALID_ARGUMENT, "etcdserver: request is too large", TooLarge, "too large"),
        (STATUS.INVALID_ARGUMENT, "etcdserver: key is not provided", PermanentError, "key"),
        (STATUS.FAILED_PRECONDITION, "etcdserver: rpc not supported for learner", Unreached, "learner"),
        (STATUS.UNIMPLEMENTED, "unknown service", PermanentError, "API of version 3"),
    ],
)
def test_a_status_becomes_the_error_that_fits(
    code: grpc.StatusCode, details: str | None, kind: type[AdapterError], says: str
) -> None:
    error = fault(code, details, "https://etcd-1:2379")
    assert type(error) is kind
    assert "etcd https://etcd-1:2379" in str(error)
    assert says in str(error)


@pytest.mark.parametrize(
    ("details", "answer"),
    [
        ("CLIENT: Received message larger than max (9 vs. 8)", True),
        ("Received message larger than max (9 vs. 8)", True),
        ("grpc: received message larger than max (9 vs. 8)", False),
    ],
)
def test_an_answer_too_large_for_us_is_told_from_a_request_too_large_for_etcd(details: str, answer: bool) -> None:
    error = fault(STATUS.RESOURCE_EXHAUSTED, details, "http://a:2379")
    assert isinstance(error, TooLarge)
    assert error.answer is answer


def test_what_the_other_side_says_is_cut_and_made_printable() -> None:
    said = str(fault(STATUS.UNKNOWN, "a\x1b[31mb\n\n c" + "x" * 5000, "http://a:2379"))
    assert said.startswith("etcd http://a:2379: a?[31mb cxx")
    assert len(said) < 400
