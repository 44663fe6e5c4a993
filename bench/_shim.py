"""A slow disk for every server alike: a shim, compiled here, that adds milliseconds to each call that waits for the disk."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCE = Path(__file__).parent / "shim.c"


def shim(folder: Path, slow_sync_milliseconds: int = 0) -> dict[str, str]:
    """Compile the shim into `folder` (needs gcc) and return the environment variables that put it under a program."""
    library = folder / "shim.so"
    if not library.exists():
        command = ["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True)
        library.chmod(0o755)
    return {"LD_PRELOAD": str(library), "SLOW_SYNC_MILLISECONDS": str(slow_sync_milliseconds)}
