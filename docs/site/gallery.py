"""Of an example sphinx-gallery shows the figure that it has saved; the quickstart comes first."""

from __future__ import annotations

import shutil
from pathlib import Path

from sphinx_gallery.scrapers import figure_rst


def scrape(block: tuple, block_vars: dict, gallery_conf: dict) -> str:
    """Move figures into the gallery and give the directives that show them."""
    images = []
    for path in sorted(Path.cwd().glob("*.png")):
        image = next(block_vars["image_path_iterator"])
        shutil.move(path, image)
        images.append(image)
    return figure_rst(images, gallery_conf["src_dir"])


class QuickstartFirst:
    """Sort key: the quickstart, then the others by name."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, filename: str) -> tuple[bool, str]:
        return filename != "quickstart.py", filename
