"""Every example runs offline, from anywhere, and saves its figure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("plot_*.py"))


def test_examples_say_what_they_show() -> None:
    assert len(EXAMPLES) >= 4
    for path in EXAMPLES:
        title, line = path.read_text().removeprefix('"""\n').splitlines()[:2]
        assert line == "=" * len(title), path.name


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_and_saves_its_figure(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = tmp_path / "figure.png"
    subprocess.run(
        [sys.executable, path, "--figure", figure],
        check=True,
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "agg"},
        timeout=900,
    )
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["figure.png"]
