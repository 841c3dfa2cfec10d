"""LinkedReprMixin: links from the HTML of an estimator to its page of the documentation."""

from __future__ import annotations

import os
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata

__all__ = ["LinkedReprMixin"]


class LinkedReprMixin:
    """Abstract: where scikit-learn's HTML representation finds the page of an estimator.

    The site is that of the variable ``MTS_FUSION_DOCS`` of the environment, such as
    ``file:///home/me/mts_fusion/_site``, or else the URL named Documentation in the metadata of the
    installed package. Without either there is no link.
    """

    _doc_link_module = "mts_fusion"

    @property
    def _doc_link_template(self) -> str:
        root = os.environ.get("MTS_FUSION_DOCS") or _documentation_url()
        return f"{root.rstrip('/')}/api/{{page}}.html" if root else ""

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        package, folder = type(self).__module__.split(".")[:2]
        return {"page": f"{package}.{folder}.{type(self).__name__}"}


@cache
def _documentation_url() -> str:
    """The URL named Documentation in the metadata; empty if there is none."""
    try:
        urls = metadata("mts-fusion").get_all("Project-URL") or []
    except PackageNotFoundError:  # the source, not installed
        return ""
    pairs = (url.partition(",") for url in urls)
    return next((url.strip() for name, _, url in pairs if name == "Documentation"), "")
