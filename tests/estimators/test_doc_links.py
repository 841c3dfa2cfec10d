"""Links from the HTML of an estimator to its page."""

import re
from pathlib import Path

import pytest
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline

from mts_fusion import estimators, transforms
from mts_fusion.transforms import _doc_link

API = Path(__file__).parents[2] / "docs" / "site" / "api.rst"
CLASSES = [
    (package, name)
    for package in (estimators, transforms)
    for name in package.__all__
    if isinstance(getattr(package, name), type)
]


def _one(package, name):
    cls = getattr(package, name)
    return cls({"a": [0]}) if name == "ModalityGrouper" else cls()


@pytest.mark.parametrize(("package", "name"), CLASSES)
def test_the_page_of_each_public_class_is_linked(package, name, monkeypatch):
    monkeypatch.setenv("MTS_FUSION_DOCS", "file:///site/")
    page = f"file:///site/api/{package.__name__}.{name}.html"

    html = _one(package, name)._repr_html_()

    assert f'href="{page}"' in html
    # Sphinx writes api/PACKAGE.NAME.html for the packages of this list.
    assert re.search(rf"^   {re.escape(package.__name__)}$", API.read_text(), re.M)


def test_a_pipeline_links_each_step_to_its_own_site(monkeypatch):
    monkeypatch.setenv("MTS_FUSION_DOCS", "file:///site")

    html = make_pipeline(transforms.PanelScaler(), estimators.RocketFeatures())._repr_html_()

    assert "file:///site/api/mts_fusion.transforms.PanelScaler.html" in html
    assert "file:///site/api/mts_fusion.estimators.RocketFeatures.html" in html
    assert "sklearn.pipeline.Pipeline.html" in html


def test_without_a_known_site_there_is_no_link(monkeypatch):
    monkeypatch.delenv("MTS_FUSION_DOCS", raising=False)
    monkeypatch.setattr(_doc_link, "_documentation_url", lambda: "")

    assert transforms.PanelScaler()._get_doc_link() == ""
    assert "PanelScaler.html" not in transforms.PanelScaler()._repr_html_()


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        (["Source, https://a.org", "Documentation, https://b.org/docs"], "https://b.org/docs"),
        (["Source, https://a.org"], ""),
        (None, ""),
    ],
)
def test_the_site_is_named_by_the_metadata_of_the_package(urls, expected, monkeypatch):
    class Metadata:
        def get_all(self, key):
            return urls if key == "Project-URL" else None

    monkeypatch.setattr(_doc_link, "metadata", lambda name: Metadata())

    assert _doc_link._documentation_url.__wrapped__() == expected


def test_a_subclass_from_elsewhere_has_no_page_here(monkeypatch):
    monkeypatch.setenv("MTS_FUSION_DOCS", "file:///site")

    class Mine(transforms.PanelScaler):
        pass

    assert issubclass(Mine, BaseEstimator)
    assert Mine()._get_doc_link() == ""
