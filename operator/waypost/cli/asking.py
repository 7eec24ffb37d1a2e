"""Asks a running server. No proxy, no redirect, bounded in time and size; the token goes only to whom it belongs."""

from __future__ import annotations

import argparse
import http.client
import ipaddress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, quote, urlencode, urlsplit

import msgspec

from waypost.adapter import PermanentError
from waypost.cli import state
from waypost.cli.exits import CommandError
from waypost.server.token import TOKEN_FILE, read_token

__all__ = ["SECONDS", "Server", "find", "told"]

T = TypeVar("T")

SECONDS = 30.0
MOST_BYTES = 64 * 1024 * 1024
DEFAULT_URL = "http://127.0.0.1:7470"


class _Error(msgspec.Struct):
    error: str = ""


class Server:
    """A server's address, and where its token is."""

    def __init__(self, url: str, token_file: Path | None) -> None:
        """Raise CommandError for what is no URL."""
        self.url = url
        self._token_file = token_file
        self._parts = urlsplit(url if "://" in url else f"http://{url}")
        try:
            right = self._parts.scheme in {"http", "https"} and self._parts.hostname and self._parts.port != 0
        except ValueError:
            right = False
        if not right or self._parts.username is not None:
            raise CommandError(f"`{url}` is no address of a server; expected one as {DEFAULT_URL}")

    def get(self, path: str, type: type[T], *, wait: float = 0.0, **query: Any) -> T:
        """Ask; `wait` is how much longer the answer may take."""
        given = {key: value for key, value in query.items() if value not in {None, ""}}
        if wait:
            given["wait"] = wait
        raw = self._ask("GET", f"{path}?{urlencode(given)}" if given else path, None, wait)
        return self._decoded(raw, type)

    def act(self, path: str, name: str, body: Any, type: type[T]) -> T:
        """Ask for something to be done."""
        raw = self._ask("POST", f"{path}/{quote(name, safe='')}", msgspec.json.encode(body), 0.0)
        return self._decoded(raw, type)

    def _decoded(self, raw: bytes, type: type[T]) -> T:
        try:
            return msgspec.json.decode(raw, type=type)
        except msgspec.MsgspecError as error:
            raise CommandError(
                f"{self.url} gave an answer that is not Waypost's, or of another version: {error}"
            ) from None

    def _ask(self, method: str, path: str, body: bytes | None, wait: float) -> bytes:
        headers = {"Accept": "application/json"}
        if self._token_file is not None and (method == "POST" or self._token_file.exists()):
            headers["Authorization"] = f"Bearer {self._token()}"
        if body is not None:
            headers["Content-Type"] = "application/json"
            if self._token_file is None:
                raise CommandError(
                    "no server of this user was found here, and this verb needs a server's token: start one with"
                    " `waypost run -f PATH`, or give --state-dir DIR of the server, or --server URL and --token-file"
                    " FILE (the token is admin.token in its state folder)"
                )
        connection = _connection(self._parts, SECONDS + wait)
        try:
            connection.request(method, (self._parts.path.rstrip("/") or "") + path, body, headers)
            response = connection.getresponse()
            raw = response.read(MOST_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            raise CommandError(_unreachable(self.url, error)) from None
        finally:
            connection.close()
        if len(raw) > MOST_BYTES:
            raise CommandError(f"{self.url} answered more than {MOST_BYTES:,} bytes; ask for less")
        if response.status >= 400:
            raise CommandError(f"{self.url} refused: {told(raw) or f'status {response.status}'}")
        return raw

    def _token(self) -> str:
        assert self._token_file is not None
        host = self._parts.hostname or ""
        if self._parts.scheme == "http" and not _is_loopback(host):
            raise CommandError(
                f"the token would cross the network in clear text: use https, or forward a local port to {host}"
            )
        try:
            return read_token(self._token_file)
        except PermanentError as error:
            raise CommandError(str(error)) from None


def find(options: argparse.Namespace) -> Server:
    """Return the server that the options mean. Raises CommandError where there is none, or several."""
    if (found := getattr(options, "found", None)) is not None:  # `kubectl waypost`
        server: Server = found(options)
        return server
    folder: Path | None = options.state_dir
    if folder is None and options.files:
        folder = state.default_state_dir(options.files)
    if options.server is not None:
        return Server(
            options.server, options.token_file or (folder / TOKEN_FILE if folder else _token_of(options.server))
        )
    if folder is None:
        folder = _only_one()
    if folder is None:
        return Server(DEFAULT_URL, options.token_file)
    try:
        url = (folder / state.ADDRESS_FILE).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        url = ""
    if not url or not state.is_locked(folder):
        raise CommandError(
            f"no server runs on the state folder {folder}; start one with `waypost run -f PATH`"
            " (and the same --state-dir, if it was given), or name another with --server URL"
        )
    return Server(_on_loopback(url), options.token_file or folder / TOKEN_FILE)


def _on_loopback(url: str) -> str:
    """Return where a server that listens on all addresses is asked on its own machine, as in a pod."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def _only_one() -> Path | None:
    folders = state.running()
    if len(folders) > 1:
        named = "; ".join(f"--state-dir {folder}" for folder in folders)
        raise CommandError(
            f"{len(folders)} servers run here: say which one, by -f PATH, --server URL or one of {named}"
        )
    return folders[0] if folders else None


def _token_of(url: str) -> Path | None:
    """Return the token of the server with this very address, if it is one of ours on this machine."""
    for folder in state.running():
        if (folder / state.ADDRESS_FILE).read_text(encoding="ascii", errors="replace").strip() == url.rstrip("/"):
            return folder / TOKEN_FILE
    return None


def _connection(parts: SplitResult, seconds: float) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "https":
        return http.client.HTTPSConnection(host, parts.port, timeout=seconds)
    return http.client.HTTPConnection(host, parts.port, timeout=seconds)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _unreachable(url: str, error: Exception) -> str:
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return (
        f"no server answers at {url} ({why}); start one with `waypost run -f PATH`,"
        " or say where it is: --server URL, or --state-dir DIR"
    )


def told(raw: bytes) -> str:
    """Return what a server's refusal says, "" where it is none of Waypost's."""
    try:
        return msgspec.json.decode(raw, type=_Error).error
    except msgspec.MsgspecError:
        return ""
