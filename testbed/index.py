"""Fetches one file by its name and hash from the Python package index that pip is set up for.

For what pip itself will not install: an egg, or a source archive whose build fails. Needs a Python that has pip.
"""

import base64
import hashlib
import os
import re
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

TRIES = 4


class FetchError(Exception):
    """The file cannot be had, or is another than the pinned one."""


def _setting(name: str) -> str | None:
    """A setting of pip: from its environment variable, else from its configuration files."""
    if value := os.environ.get(f"PIP_{name.upper().replace('-', '_')}"):
        return value
    for section in ("global", "install", "download"):
        asked = [sys.executable, "-m", "pip", "config", "get", f"{section}.{name}"]
        found = subprocess.run(asked, capture_output=True, text=True, check=False)
        if found.returncode == 0 and found.stdout.strip():
            return found.stdout.strip()
    return None


def _index() -> str:
    if url := _setting("index-url"):
        return url
    default = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    asked = subprocess.run([sys.executable, "-c", default], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        msg = f"{sys.executable} has no pip, which knows where the package index is"
        raise FetchError(msg)
    return asked.stdout.strip()


def _read(url: str, tls: ssl.SSLContext) -> bytes:
    """The body of an answer; tries again when the network or the server fails."""
    parts = urllib.parse.urlsplit(url)
    request = urllib.request.Request(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl())
    if parts.username:
        login = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    for left in reversed(range(TRIES)):
        try:
            with urllib.request.urlopen(request, timeout=120, context=tls) as answer:
                body: bytes = answer.read()
                return body
        except OSError as error:
            gone = isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code != 429
            if gone or not left:
                msg = f"{parts.path}: {error}"
                raise FetchError(msg) from error
            time.sleep(3)
    raise AssertionError


def fetch(project: str, file: str, sha256: str) -> bytes:
    """The content of `file` of `project`, checked; raises FetchError."""
    tls = ssl.create_default_context(cafile=_setting("cert"))
    page = _index().rstrip("/") + f"/{project}/"
    links: list[str] = re.findall(r'href="([^"]+)"', _read(page, tls).decode())
    found = [link for link in links if urllib.parse.unquote(link.partition("#")[0]).endswith(f"/{file}")]
    if not found:
        msg = f"{file} is not on the package index"
        raise FetchError(msg)
    absolute = urllib.parse.urljoin(page, found[0].partition("#")[0])
    whole = urllib.parse.urlsplit(page)
    if "@" in whole.netloc and urllib.parse.urlsplit(absolute).netloc == whole.netloc.rpartition("@")[2]:
        absolute = urllib.parse.urlsplit(absolute)._replace(netloc=whole.netloc).geturl()
    content = _read(absolute, tls)
    if hashlib.sha256(content).hexdigest() != sha256:
        msg = f"{file} has another hash than the pinned one"
        raise FetchError(msg)
    return content
