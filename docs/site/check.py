"""Check a built site: ``python docs/site/check.py _site``.

Every link of a page to another page, file or heading leads somewhere, and no page loads anything
from the network, so that the site works from a folder.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """Names of the places of a page, its links, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value is not None}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if "src" in given:
            self.loads.append(given["src"])
        if tag == "link" and given.get("rel") in ("stylesheet", "preload", "icon"):
            self.loads.append(given["href"])


def _pages(site: Path) -> list[Path]:
    return [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]


def problems(site: Path) -> list[str]:
    """One line for each link that leads nowhere and each address that a page loads."""
    pages = {path: Page(path.read_text()) for path in _pages(site)}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site)
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loads and parts.scheme != "data":
                    found.append(f"{name}: loads {link}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                found.append(f"{name}: {link} does not exist")
                continue
            ids = pages[target].ids if link in page.links and target in pages else None
            if ids is not None and parts.fragment and unquote(parts.fragment) not in ids:
                found.append(f"{name}: {link} has no such place")
    return found


def main(folder: str) -> None:
    """Print what is wrong, and end with an error if anything is."""
    site = Path(folder).resolve()
    if not (site / "index.html").exists():
        sys.exit(f"{folder} has no index.html")
    found = problems(site)
    print("\n".join(found) or f"{folder}: every link leads somewhere")
    sys.exit(bool(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
