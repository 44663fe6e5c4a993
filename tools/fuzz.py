"""Fuzz every parser for a while: `python tools/fuzz.py [--seconds N] [TARGET ...]`.

Each file in tools/fuzz_targets is a target: a function `fuzz(octets)` that must not raise, and SEEDS to begin with. Adding
one is adding such a file. Targets run one after the other, each in a process of its own under atheris (coverage-guided);
what they find interesting is kept in fuzz-corpus/TARGET for the next run, a failing input in fuzz-corpus/TARGET.failure-*.
Exits 1 if one failed, and prints how to run that input again.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TARGETS = ROOT / "tools" / "fuzz_targets"
CORPUS = ROOT / "fuzz-corpus"
_SLOWEST_SECONDS = 10  # an input that takes longer is a failure: no parser may be made to work without end
_LONGEST = 16_384
_PAUSES = 3  # so often a target is begun again because the machine stood still
_PROGRESS = re.compile(r"#[0-9]+\s|INFO: Instrumenting")


def main() -> int:
    """Run the targets named, or all; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("targets", nargs="*", help="names of files in tools/fuzz_targets; all without")
    parser.add_argument("--seconds", type=int, default=20, help="time for each target (20)")
    parser.add_argument("--input", type=Path, help="run one target on this file only")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    known = sorted(path.stem for path in TARGETS.glob("*.py"))
    unknown = set(options.targets) - set(known)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if options.inside and options.input:
        _load(options.targets[0]).fuzz(options.input.read_bytes())
        print(time.process_time())
        return 0
    if options.inside:
        return _fuzz(options.targets[0], options.seconds)
    if options.input:
        _load(options.targets[0]).fuzz(options.input.read_bytes())
        print(f"{options.targets[0]}: nothing raised")
        return 0
    failed = [name for name in options.targets or known if not _run(name, options.seconds)]
    print(f"failed: {', '.join(failed)}" if failed else "every target held")
    return 1 if failed else 0


def _run(name: str, seconds: int) -> bool:
    """Fuzz one target in its own process; print one line, or everything if it failed."""
    for _ in range(_PAUSES):
        before = set(CORPUS.glob(f"{name}.failure-*"))
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        ended = _inside(name, "--seconds", str(seconds), timeout=seconds * 3 + 120)
        found = set(CORPUS.glob(f"{name}.failure-*")) - before
        if ended.returncode == 0 or not all(_was_the_machine(name, path) for path in found) or not found:
            break
        for path in found:
            path.unlink()
        print(f"{name}: the machine stood still, again")
    last = [line for line in ended.stderr.splitlines() if re.match(r"#[0-9]+\s", line)]
    print(f"{name}: {'held' if ended.returncode == 0 else 'FAILED'}; {last[-1] if last else ''}", flush=True)
    if ended.returncode:
        print("\n".join(line for line in (ended.stdout + ended.stderr).splitlines() if not _PROGRESS.match(line)))
        for path in CORPUS.glob(f"{name}.failure-*"):
            print(f"again: python tools/fuzz.py {name} --input {path.relative_to(ROOT)}")
    return ended.returncode == 0


def _inside(name: str, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, __file__, "--inside", *arguments, name]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout, check=False)


def _was_the_machine(name: str, path: Path) -> bool:
    """Tell whether an input was called slow only because others had the processor: by the clock of this process alone."""
    if "timeout-" not in path.name:
        return False
    ended = _inside(name, "--input", str(path), timeout=600)
    return ended.returncode == 0 and float(ended.stdout.split()[-1]) < _SLOWEST_SECONDS / 2


def _fuzz(name: str, seconds: int) -> int:
    """Fuzz one target in this process; atheris ends it."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["letterlock"]):
        target = _load(name)
    folder = CORPUS / name
    for number, seed in enumerate(getattr(target, "SEEDS", ())):
        (folder / f"seed-{number}").write_bytes(seed)
    arguments = [
        name,
        str(folder),
        f"-max_total_time={seconds}",
        f"-timeout={_SLOWEST_SECONDS}",
        f"-max_len={_LONGEST}",
        f"-artifact_prefix={CORPUS / name}.failure-",
        "-print_final_stats=0",
    ]
    atheris.Setup(arguments, target.fuzz)
    atheris.Fuzz()
    return 0


def _load(name: str) -> Any:
    specification = importlib.util.spec_from_file_location(f"fuzz_{name}", TARGETS / f"{name}.py")
    if specification is None or specification.loader is None:
        raise SystemExit(f"no such target: {name}")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main())
