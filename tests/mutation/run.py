"""Put each fault of ``faults.py`` into a copy of the package, and say which the tests notice.

``python tests/mutation/run.py [WORD ...]`` runs the faults whose name has one of the words, all
without words. It ends with 1 if one survives.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from faults import FAULTS, Fault

ROOT = Path(__file__).parents[2]


def survives(fault: Fault) -> bool:
    """Whether all tests of a fault pass with it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        skip = shutil.ignore_patterns("__pycache__")
        for part in ("mts_fusion", "tests"):
            shutil.copytree(ROOT / part, copy / part, ignore=skip)
        shutil.copy(ROOT / "pyproject.toml", copy)
        target = copy / "mts_fusion" / fault.file
        target.write_text(target.read_text().replace(fault.old, fault.new, 1))
        tests = [f"tests/{name}" for name in fault.tests.split()]
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
        environment = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, check=False)
    return done.returncode == 0


def main(words: list[str]) -> int:
    """Run the faults, print a line each, and return the number that survive, at most 1."""
    chosen = [f for f in FAULTS if not words or any(word in f.name for word in words)]
    survivors = []
    for fault in chosen:
        alive = survives(fault)
        print(f"{'SURVIVES' if alive else 'noticed '}  {fault.name}", flush=True)
        survivors += [fault.name] * alive
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} faults are noticed.")
    return int(bool(survivors))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
