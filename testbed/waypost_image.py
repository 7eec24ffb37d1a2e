"""What Waypost's own image is built of: the packages of the part `image` and the tree's, by packaging/image.sh."""

import io
import os
import tarfile
from pathlib import Path

from testbed.cache import cache
from testbed.command import run

ROOT = Path(__file__).parents[1]


async def context(directory: Path) -> bytes:
    """A tar for `Docker.build`, made in `directory`, which is made; raises CommandError."""
    made = cache() / "image"
    given = {"WHEELS": str(made / "wheels"), "PYTHON_VERSION": (made / "python").read_text().strip()}
    script = ["sh", str(ROOT / "packaging" / "image.sh"), str(directory)]
    await run(script, env={**os.environ, **given}, timeout=240)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(directory, ".")
    return packed.getvalue()
