"""Real servers for the tests and the demo; see README.md beside this file.

`missing()` says which are not there and why, `require(name)` raises MissingError for one that is not.
"""

from testbed.cache import cache
from testbed.parts import MissingError, missing, require

__all__ = ["MissingError", "cache", "missing", "require"]
