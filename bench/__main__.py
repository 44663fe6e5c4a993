"""Run the benchmarks named, or all of them: `python -m bench [NAME ...]`.

Each module in this folder has a `main()` that measures ours and a peer in one run and prints medians and ratios.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys

import bench


def main(names: list[str]) -> None:
    """Run `main()` of each module named."""
    everything = sorted(module.name for module in pkgutil.iter_modules(bench.__path__) if module.name[0] != "_")
    for name in names or everything:
        print(f"\n== {name}", flush=True)
        importlib.import_module(f"bench.{name}").main()


if __name__ == "__main__":
    main(sys.argv[1:])
