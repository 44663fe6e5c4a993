"""TLS for a load generator that has none: an stunnel that says STARTTLS for each connection and passes on what follows."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench._postfix import free_port, wait_for

_CONFIGURATION = """
foreground = yes
pid =
debug = err
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[smtp]
client = yes
protocol = smtp
accept = 127.0.0.1:{here}
connect = 127.0.0.1:{there}
verifyChain = no
"""


@contextlib.contextmanager
def under_tls(folder: Path, port: int) -> Iterator[int]:
    """Yield a port: what is said to it in plain text goes to `port` under TLS. Its files lie in `folder`."""
    here = free_port()
    configuration = folder / f"stunnel-{here}.conf"
    configuration.write_text(_CONFIGURATION.format(here=here, there=port))
    with (folder / f"stunnel-{here}.log").open("wb") as said:
        process = subprocess.Popen(["/usr/bin/stunnel4", configuration], stdout=said, stderr=said)
    try:
        wait_for(here)
        yield here
    finally:
        process.terminate()
        process.wait(10)
