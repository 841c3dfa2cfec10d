"""The README's code runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.S | re.M)


def test_readme_has_code() -> None:
    assert len(BLOCKS) >= 2


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_code_of_the_readme_runs(block: str) -> None:
    exec(compile(block, "README.md", "exec"), {})


def test_the_figures_below_the_first_example_are_those_it_prints(
    capsys: pytest.CaptureFixture[str],
) -> None:
    exec(compile(BLOCKS[0], "README.md", "exec"), {})
    numbers = [float(word) for word in capsys.readouterr().out.split() if "." in word]
    (score, sure, size), (low, unsure, larger) = numbers[:3], numbers[3:]
    sentence = (
        f"Accuracy falls from {score:.2f} to {low:.2f}, the probability of the predicted class "
        f"with it, from {sure:.2f} to {unsure:.2f}, and the sets grow from {size:.1f} to "
        f"{larger:.1f} classes."
    )
    assert sentence.replace(" 0.", " .") in " ".join(TEXT.split())
