"""A terminal for programs that will not run without one."""

from __future__ import annotations

import os
import pty
import subprocess
import threading
from pathlib import Path


def run_in_terminal(*command: str | Path, within: float = 60, **environment: str) -> int:
    """Run a full-screen program that types its own keys (a pushed macro); returns its exit code.

    Nothing is ever typed and the line stays open: the end of input that `script` sends where it has no terminal itself
    reached neomutt before its macro, now and then, and both waited for ever.
    """
    keyboard, screen = pty.openpty()
    with subprocess.Popen(
        [str(word) for word in command],
        stdin=screen,
        stdout=screen,
        stderr=screen,
        env={**os.environ, "TERM": "xterm", **environment},
        start_new_session=True,
    ) as program:
        os.close(screen)
        late = threading.Timer(within, program.kill)
        late.start()
        try:
            # The screen has to be read, or the program stops where its window is full; at its end comes EIO.
            while os.read(keyboard, 65_536):
                pass
        except OSError:
            pass
        finally:
            late.cancel()
            os.close(keyboard)
    return program.returncode
