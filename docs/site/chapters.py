"""The user guide, one page on a code host, as a page a chapter."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = "guide"
_NOTE = "Names in the code that are not made here are those of the chapters before.\n\n"


def _anchor(head: str) -> str:
    return re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-")


class Chapters:
    """The chapters of a page: its sections of the second level.

    Parameters
    ----------
    path : Path
        The page.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.intro, *sections = re.split(r"^(?=## )", path.read_text(), flags=re.M)
        self.chapter_of: dict[str, str] = {}
        self.sections: dict[str, str] = {}
        for section in sections:
            heads = [_anchor(head) for head in re.findall(r"^##+ (.+)$", section, re.M)]
            self.chapter_of |= dict.fromkeys(heads, heads[0])
            self.sections[heads[0]] = section

    def pages(self) -> dict[str, str]:
        """The text of each chapter, by the name of its file."""
        pages = {}
        for number, (name, section) in enumerate(self.sections.items()):
            text = re.sub(r"^#(#+ )", r"\1", section, flags=re.M)  # a level up
            head, _, body = text.partition("\n\n")
            note = _NOTE if number and "```python" in body else ""
            text = f"{head}\n\n{note}{body}"
            text = re.sub(r"\]\((?!https?:|#)([^)]+)\)", r"](../\1)", text)
            pages[f"{name}.md"] = re.sub(r"\]\(#([\w-]+)\)", lambda m: f"]({self._to(m[1])})", text)
        return pages

    def contents(self) -> str:
        """The page in place of the one with all chapters: what they are, and where."""
        link = lambda match: f"]({FOLDER}/{self._to(match[1])})"  # noqa: E731
        names = "\n".join(f"{FOLDER}/{name}" for name in self.sections)
        text = re.sub(r"\]\(#([\w-]+)\)", link, self.intro)
        text = text.replace("on this page runs from top to bottom", "runs from chapter to chapter")
        return f"{text}\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"

    def relinked(self, text: str) -> str:
        """The text of another page, whose links to a heading lead to its chapter."""
        old = rf"\]\(([\w./]*?){re.escape(self.name)}#([\w-]+)\)"
        return re.sub(old, lambda m: f"]({m[1]}{FOLDER}/{self._to(m[2])})", text)

    def write(self, folder: Path) -> None:
        """Write the chapters that have changed, and remove those that are gone."""
        folder.mkdir(exist_ok=True)
        pages = self.pages()
        for path in folder.glob("*.md"):
            if path.name not in pages:
                path.unlink()
        for name, text in pages.items():
            path = folder / name
            if not path.exists() or path.read_text() != text:
                path.write_text(text)

    def _to(self, anchor: str) -> str:
        chapter = self.chapter_of[anchor]
        return f"{chapter}.md" if anchor == chapter else f"{chapter}.md#{anchor}"
