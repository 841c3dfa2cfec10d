"""The site: its list of packages, its cards, and the check of its links."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import mts_fusion.estimators

DOCS = Path(__file__).parents[1] / "docs"


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / "site" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def check() -> ModuleType:
    return _module("check")


def test_the_user_guide_becomes_a_page_a_chapter(tmp_path: Path) -> None:
    path = tmp_path / "guide.md"
    path.write_text(
        "# Guide\n\nOn this page: [one](#one), [deep](#a-deep-one).\n\n## One\n\nFirst.\n\n"
        "```python\n# no heading\n```\n\n### A deep one\n\nSee [two](#two), [b](b.md#c).\n\n"
        "## Two\n\nBack to [deep](#a-deep-one), [out](https://example.org).\n\n```python\n```\n"
    )
    chapters = _module("chapters").Chapters(path)
    pages = chapters.pages()
    assert list(pages) == ["one.md", "two.md"]
    assert pages["one.md"].startswith(
        "# One\n\nFirst.\n\n```python\n# no heading\n```\n\n## A deep"
    )
    assert "[two](two.md), [b](../b.md#c)" in pages["one.md"]
    assert "[deep](one.md#a-deep-one), [out](https://example.org)" in pages["two.md"]
    assert "chapters before" in pages["two.md"]
    assert "[one](guide/one.md), [deep](guide/one.md#a-deep-one)" in chapters.contents()
    assert chapters.relinked("[x](../guide.md#two)") == "[x](../guide/two.md)"
    chapters.write(tmp_path / "out")
    (tmp_path / "out" / "gone.md").touch()
    chapters.write(tmp_path / "out")
    assert {page.name for page in (tmp_path / "out").iterdir()} == {"one.md", "two.md"}


def test_the_list_of_chapters_of_the_user_guide_is_whole() -> None:
    text = (DOCS / "user_guide.md").read_text()
    heads = re.findall(r"^## (.+)$", text, re.M)
    assert re.findall(r"^\d+\. \[(.+)\]\(#", text, re.M) == heads


def test_the_site_has_a_page_for_each_package_of_the_page_of_public_names() -> None:
    listed = re.findall(r"^   (mts_fusion[\w.]+)$", (DOCS / "site/api.rst").read_text(), re.M)
    named = re.findall(r"^## `(mts_fusion[\w.]+)`$", (DOCS / "api.md").read_text(), re.M)
    assert len(listed) > 15
    assert listed == named


def test_each_estimator_has_a_card() -> None:
    text = (DOCS / "methods.md").read_text()
    named = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| class.*$", text, re.M))))
    features = {"RocketFeatures"}  # a transformer for the estimators of others
    assert set(mts_fusion.estimators.__all__) - features <= named


def test_what_is_wrong_with_a_site_is_named(check: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text(
        '<h1 id="top">a</h1><a href="sub/b.html#here">b</a><a href="#top"></a>'
        '<a href="https://example.org">outside</a><a href="sub/b.html#there"></a>'
    )
    (tmp_path / "sub" / "b.html").write_text(
        '<p id="here">b</p><a href="../c.html"></a><img src="https://example.org/d.png">'
    )
    assert check.problems(tmp_path) == [
        "index.html: sub/b.html#there has no such place",
        "sub/b.html: ../c.html does not exist",
        "sub/b.html: loads https://example.org/d.png",
    ]


def test_no_page_has_the_name_of_one_that_sphinx_writes_itself() -> None:
    assert {path.stem for path in DOCS.glob("*.md")}.isdisjoint(
        {"search", "genindex", "py-modindex"}
    )


def test_each_page_is_in_the_navigation_of_the_site() -> None:
    lists = ("guide.md", "landing.md", "development.md")
    text = "\n".join((DOCS / "site" / name).read_text() for name in lists)
    listed = set(re.findall(r"^(?:\w+ <)?(?:\.\./)?(\w+)>?$", text, re.M))
    assert {path.stem for path in DOCS.glob("*.md")} - listed == {"index"}
