"""The pages of docs/ are true: code runs, files exist, and no public name is left out."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import sklearn

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PACKAGES = (
    "persistence",
    "panel",
    "datasets",
    "transforms",
    "estimators",
    "inspection",
    "interop",
    "interop.sktime",
    "metrics",
    "nn",
    "nn.attention",
    "nn.diffusion",
    "nn.embedding",
    "nn.encoders",
    "nn.experts",
    "nn.features",
    "nn.gaussian_process",
    "nn.layers",
    "nn.networks",
    "nn.strategies",
    "training",
)


def _code(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.S | re.M)


def _names_in_api(package: str) -> set[str]:
    """The names in the first column of the table of a package."""
    sections = re.split(r"^## ", (DOCS / "api.md").read_text(), flags=re.M)
    section = next(s for s in sections if s.startswith(f"`mts_fusion.{package}`\n"))
    rows = re.findall(r"^\| (`.*?) \|", section, re.M)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_the_user_guide_runs_from_top_to_bottom() -> None:
    names: dict[str, object] = {}
    blocks = _code("user_guide.md")
    assert len(blocks) >= 10
    for block in blocks:
        exec(compile(block, "docs/user_guide.md", "exec"), names)


def test_the_page_of_saving_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in _code("saving.md"):
        exec(compile(block, "docs/saving.md", "exec"), names)
    assert {path.name for path in tmp_path.iterdir()} == {"model.mts", "pipeline.mts"}


@pytest.mark.slow
@pytest.mark.parametrize("page", ["routing.md", "tuning.md", "deployment.md"])
def test_a_chapter_runs_from_top_to_bottom(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    names: dict[str, object] = {}
    blocks = _code(page)
    assert len(blocks) > 1
    with sklearn.config_context(enable_metadata_routing=False):
        for block in blocks:
            exec(compile(block, f"docs/{page}", "exec"), names)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tool", ["mapie", "optuna", "shap", "mlflow"])
def test_a_section_about_another_tool_runs(
    tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(tool)
    monkeypatch.chdir(tmp_path)
    first, *sections = re.split(r"^## ", (DOCS / "tools.md").read_text(), flags=re.M)
    (section,) = [text for text in sections if f"import {tool}" in text or f"from {tool}" in text]
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```", first + section, re.S | re.M):
        exec(compile(block, "docs/tools.md", "exec"), names)
    assert "assert" in section


@pytest.mark.parametrize("page", ["maestro.md", "trace.md"])
def test_the_page_of_a_paper_runs_and_its_differences_are_noted_in_the_code(page: str) -> None:
    names: dict[str, object] = {}
    for block in _code(page):
        exec(compile(block, f"docs/{page}", "exec"), names)
    table = (DOCS / page).read_text().split("## What differs from the paper")[1]
    files = set(re.findall(r"`(\w+/(?:\w+/)?_\w+\.py)`", table))
    assert len(files) > 8
    for file in files:
        assert "NOTE[DIFF]" in (ROOT / "mts_fusion" / file).read_text(), file


@pytest.mark.parametrize("package", PACKAGES)
def test_the_api_page_names_what_a_package_exports(package: str) -> None:
    public = set(importlib.import_module(f"mts_fusion.{package}").__all__)
    assert _names_in_api(package) == public


def test_the_architecture_page_names_files_that_exist() -> None:
    text = (DOCS / "architecture.md").read_text()
    named = set(re.findall(r"`((?!mts_fusion)(?:\w+/)+_(?!x\.)\w+\.py)`", text))
    assert len(named) > 20
    assert [file for file in named if not (ROOT / "mts_fusion" / file).exists()] == []


def test_the_architecture_page_has_a_row_for_each_package() -> None:
    text = (DOCS / "architecture.md").read_text()
    rows = set(re.findall(r"^\| (?:\d \| )?`(\w+)` \|", text, re.M))
    package = ROOT / "mts_fusion"
    folders = {path.parent for path in package.glob("*/__init__.py")}
    folders |= {path.parent for path in package.glob("nn/*/__init__.py")}
    assert {folder.name for folder in folders} - rows == set()


def test_the_architecture_page_names_functions_of_its_files() -> None:
    """Each row of the tables of steps: a file and what it defines."""
    text = (DOCS / "architecture.md").read_text()
    rows = re.findall(r"^\| `((?:\w+/)+_\w+\.py)`[^|]* \| `(\w+)`", text, re.M)
    assert len(rows) > 12
    for file, name in rows:
        source = (ROOT / "mts_fusion" / file).read_text()
        assert re.search(rf"(def|class) {name}\b", source), (file, name)


def test_the_page_of_inputs_names_tests_that_exist() -> None:
    text = (DOCS / "inputs.md").read_text()
    tests = {path: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    defined = {name for source in tests.values() for name in re.findall(r"def (test_\w+)", source)}
    files = {path.name for path in tests}
    named = set(re.findall(r"\btest_\w+\b(?!\.py)", text))
    assert len(named) > 80
    assert named <= defined
    assert set(re.findall(r"\btest_\w+\.py", text)) <= files


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))], ids=lambda page: page.name
)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        assert there.exists(), target
        assert not anchor or anchor in _anchors(there), target


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))], ids=lambda page: page.name
)
def test_a_table_ends_before_the_text_that_follows(page: Path) -> None:
    """Without an empty line between them Markdown reads the text as rows of the table."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
    assert re.findall(r"^\|.*\n(?!\||\n|<!--).+", text, re.M) == []


DECISIONS = sorted((DOCS / "decisions").glob("*.md"))


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem[:4])
def test_a_decision_has_its_number_a_status_and_a_line_in_the_index(page: Path) -> None:
    text = page.read_text()
    number, title = re.findall(r"\A# (\d+)\. (.+)\n\n\*\*Status\.\*\* (?:Acc|Super|A rec)", text)[0]
    assert int(number) == int(page.stem[:4])
    assert f"{number}. [{title}](decisions/{page.name})" in (DOCS / "index.md").read_text()
