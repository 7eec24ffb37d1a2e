"""The admin server: probes, metrics, and what people ask and decide, over HTTP. It knows the engine, no adapter."""

from waypost.server.app import DEFAULT_LISTEN, Admin, admin
from waypost.server.gate import Reads
from waypost.server.token import TOKEN_FILE, make_token, read_token

__all__ = ["DEFAULT_LISTEN", "TOKEN_FILE", "Admin", "Reads", "admin", "make_token", "read_token"]
