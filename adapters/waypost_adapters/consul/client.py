"""Consul's HTTP API, as far as the sink uses it, and what each refusal means.

AdapterError    not done: no leader, too many requests, not reached
├── Unanswered  it may have been done
├── TooLarge    not done: the transaction has more operations or bytes than this server takes
└── PermanentError  the token is unknown, or lacks a permission
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from waypost.adapter import AdapterError, Credentials, PermanentError
from waypost.kit.http import Http, Response, Unanswered
from waypost_adapters.consul.wire import Transaction

__all__ = ["Client", "TooLarge", "denied", "token_header"]

POLICY = "give it the policy of the adapter's README (PERMISSIONS); it is tried again later"
NOT_DONE = ("no cluster leader", "rate limit", "acl not found", "not ready to serve")
_transaction = msgspec.json.Decoder(Transaction)


class TooLarge(AdapterError):
    """The transaction has more operations, or more bytes, than this server takes; nothing was done."""


def token_header(credentials: Credentials) -> Mapping[str, str]:
    """Return the header that carries the token; asked for each request, so that it may rotate."""
    token = credentials.get("token")
    return {"X-Consul-Token": token} if token else {}


class Client:
    """Reads and transactions at one Consul; the datacenter is "" for the agent's own."""

    def __init__(self, http: Http, datacenter: str = "") -> None:
        self._http = http
        self._params = {"dc": datacenter} if datacenter else {}

    async def read(
        self, path: str, *, partial: bool = False, seconds: float | None = None, **params: str
    ) -> Response | None:
        """Return a complete answer; None for 404. `partial`: what the token may not see may be missing.

        Raises AdapterError where the answer is not whole: no leader, refused, or filtered because of the token.
        """
        response = await self._http.request("GET", path, params={**self._params, **params}, seconds=seconds)
        missing = response.status == 404
        if response.status != 200 and not missing:
            raise _refusal(response)
        if response.headers.get("X-Consul-KnownLeader", "true") != "true":
            raise AdapterError(f"{response.place}: Consul has no leader; what it answers is not complete")
        if not partial and response.headers.get("X-Consul-Results-Filtered-By-ACLs", "false") == "true":
            raise PermanentError(f"{response.place}: the token may not read all of {path}; {POLICY}")
        return None if missing else response

    async def put(self, path: str, body: bytes | None = None) -> Response | None:
        """Have something done that may be done twice; None for 404. Raises AdapterError where it may not be done."""
        headers = {"Content-Type": "application/json"}
        response = await self._http.request("PUT", path, params=self._params, body=body, headers=headers)
        if response.status not in {200, 404}:
            raise _refusal(response)
        return None if response.status == 404 else response

    async def transact(self, body: bytes) -> Transaction:
        """Return what a transaction came to; `errors` where it was rolled back."""
        headers = {"Content-Type": "application/json"}
        response = await self._http.request("PUT", "/v1/txn", params=self._params, body=body, headers=headers)
        if response.status in {200, 409}:
            try:
                return response.decode(_transaction)
            except AdapterError as error:
                raise Unanswered(str(error)) from None
        raise _refusal(response)


def denied(what: str) -> bool:
    """Say whether an operation's error means that the token lacks a permission."""
    return "permission denied" in what.lower()


def _refusal(response: Response) -> AdapterError:
    said = "".join(filter(str.isprintable, response.body[:200].decode(errors="replace"))).strip()
    text = f"{response.place}: HTTP {response.status}: {said}"
    if response.status in {401, 403}:
        return PermanentError(f"{response.place}: the token is unknown or lacks a permission: {said}; {POLICY}")
    if response.status == 413:
        return TooLarge(text)
    if response.status >= 500 and response.status != 503 and not any(word in said.lower() for word in NOT_DONE):
        return Unanswered(text)
    return AdapterError(text)
