"""The README's code runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

BLOCKS = re.findall(
    r"^```python\n(.*?)^```", (Path(__file__).parents[1] / "README.md").read_text(), re.S | re.M
)


def test_readme_has_code() -> None:
    assert len(BLOCKS) >= 2


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_code_of_the_readme_runs(block: str) -> None:
    exec(compile(block, "README.md", "exec"), {})
