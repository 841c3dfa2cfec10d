"""Settings of the site: ``python -m sphinx -W -c docs/site docs _site``.

The pages are the Markdown files of docs/, as they are. What a page of the site has and a page on a
code host has not (navigation, links to the pages of the API, whole CSV files) is added here while
Sphinx reads them. Chapters of the user guide become pages, in docs/guide/; ``landing.md`` stands in
for ``index.md``, the list of pages on a code host.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.ext.autodoc.mock import mock

import mts_fusion

SITE = Path(__file__).parent
sys.path.insert(0, str(SITE))

from chapters import FOLDER, Chapters  # noqa: E402

GUIDE = Chapters(SITE.parent / "user_guide.md")
GUIDE.write(SITE.parent / FOLDER)

autodoc_mock_imports = ["aeon"]  # which excludes the newest numpy


def _packages() -> list[str]:
    return re.findall(r"^   (mts_fusion\.[\w.]+)$", (SITE / "api.rst").read_text(), re.M)


def _pages() -> dict[str, str]:
    """The page of each public class and function; the deepest package that exports it has it."""
    pages = {}
    for package in _packages():
        with mock(autodoc_mock_imports):
            module = importlib.import_module(package)
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                pages[f"{package}.{name}"] = (thing, f"{package}.{name}")
    deepest = {id(thing): page for thing, page in pages.values()}
    return {name: deepest[id(thing)] for name, (thing, _) in pages.items()}


PAGES = _pages()

project = "mts_fusion"
author = "the mts_fusion developers"
version = release = mts_fusion.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "myst_parser",
    "numpydoc",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["site/landing.md", "site/api.rst", "site/_templates", "auto_examples/*.ipynb"]
templates_path = [str(SITE / "_templates")]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

autosummary_generate = ["site/api.rst"]
autosummary_ignore_module_all = False
autosummary_imported_members = True
autodoc_typehints = "none"  # numpydoc's sections have them
autosummary_context = {"pages": PAGES}
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
toc_object_entries_show_parents = "hide"

html_theme = "pydata_sphinx_theme"
html_title = "mts_fusion"
html_static_path = [str(SITE / "_static")]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "header_links_before_dropdown": 8,
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "show_prev_next": False,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "footer_start": [],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": [], "site/tour": [], "methods": []}


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/(?!serve_|train_)[^/]*$",  # not those that other processes run
    "image_scrapers": ("gallery.scrape",),
    "within_subsection_order": "gallery.QuickstartFirst",
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "plot_gallery": "True",
    "abort_on_example_error": True,
    "remove_config_comments": True,
}


def _read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Add to a page what only the site has."""
    if docname == "index":
        app.env.note_dependency(str(SITE / "landing.md"))
        source[0] = (SITE / "landing.md").read_text()
    elif docname == "api":
        source[0] = _link_names(source[0])
    elif docname == "user_guide":
        source[0] = GUIDE.contents()
    elif docname == "benchmarks/index":
        pages = re.findall(r"^\| \[\w+\]\((\w+)\.md\)", source[0], re.M)
        source[0] += _toctree(pages)
    elif docname.startswith("benchmarks/"):
        source[0] += "".join(map(_whole_file, dict.fromkeys(_files(source[0]))))
    source[0] = GUIDE.relinked(source[0])


def _include(app: Sphinx, path: Path, docname: str, source: list[str]) -> None:
    """As for pages, for a file that one includes."""
    source[0] = GUIDE.relinked(source[0])


def _toctree(pages: list[str]) -> str:
    return "\n```{toctree}\n:hidden:\n\n" + "\n".join(pages) + "\n```\n"


def _link_names(text: str) -> str:
    """The page of public names with a link from each name, and the pages it leads to."""
    parts = re.split(r"^(## `mts_fusion\.[\w.]+`\n)", text, flags=re.M)
    for index in range(1, len(parts), 2):
        package = re.findall(r"`([\w.]+)`", parts[index])[0]

        def link(row: re.Match[str], package: str = package) -> str:
            page = PAGES.get(f"{package}.{row[1]}")
            return f"| [`{row[1]}`](api/{page}.rst)" if page else row[0]

        parts[index + 1] = re.sub(r"^\| `(\w+)`", link, parts[index + 1], flags=re.M)
    return "".join(parts) + _toctree([f"api/{package}" for package in _packages()])


def _files(text: str) -> list[str]:
    """The CSV files of the tables of a page."""
    return re.findall(r"^<!-- table: (\w+\.csv);", text, re.M)


def _whole_file(name: str) -> str:
    table = f":file: {name}\n:header-rows: 1\n:class: figures"
    note = "With other shares, metrics and spreads than above; click a head to sort."
    return f"\n## All of {name}\n\n{note} [The file]({name}).\n\n```{{csv-table}}\n{table}\n```\n"


def _add_tables(app: Sphinx, pagename: str, template: str, context: dict, doctree: object) -> None:
    """Sorting, filtering and the whole width for the tables of the benchmarks."""
    if pagename.startswith("benchmarks/"):
        context["meta"] = {**(context["meta"] or {}), "html_theme.sidebar_secondary.remove": True}
        app.add_css_file("datatables/dataTables.dataTables.min.css")
        app.add_js_file("datatables/dataTables.min.js", loading_method="defer")
        app.add_js_file("tables.js", loading_method="defer")


def _skip(app: Sphinx, kind: str, name: str, thing: object, skip: bool, options: object) -> bool:
    """Leave out what is inherited from another library: its pages have it."""
    module = getattr(getattr(thing, "fget", thing), "__module__", None)
    return skip or not (module or "mts_fusion").startswith("mts_fusion")


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    app.connect("source-read", _read)
    app.connect("include-read", _include)
    app.connect("autodoc-skip-member", _skip)
    app.connect("html-page-context", _add_tables)
