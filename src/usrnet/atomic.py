"""Files that appear whole or not at all."""

import os
import secrets
from pathlib import Path


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` under another name in the same folder, then give it the name ``path``.

    Whatever stops this, a full disk or a kill, an older file of that name stays as it was. Raises ``OSError``.
    """
    part = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
