"""What a type checker sees of the package, in the code of a user."""

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import mts_fusion

ROOT = Path(__file__).parents[1]

# The types of other libraries are not what is tested, and reading them takes most of the time.
CONFIG = """
[mypy]
ignore_missing_imports = true
[mypy-mts_fusion.*]
ignore_errors = true
[mypy-joblib.*,numpy.*,pandas.*,scipy.*,sklearn.*,skorch.*,sktime.*,torch.*,tqdm.*]
follow_imports = skip
"""
SCRIPT = """\
import mts_fusion
from mts_fusion import MaestroClassifier, Panel, PanelScaler, PatternRidgeClassifier, segment
X = Panel({"acc": [[[0.0]]]}, rates={"acc": 8.0})
reveal_type(MaestroClassifier(d_model=8).fit(X, [0, 1]))
reveal_type(PatternRidgeClassifier().fit(X, [0]).partial_fit(X, [1]).forget(X))
reveal_type(PanelScaler().fit(X).transform(X))
reveal_type(mts_fusion.nn.Maestro(X.schema, 2))
reveal_type(segment({}, window_seconds=1))
MaestroClassifier(foo=1)
Panel([1.0])
Panel({"acc": 1}, rates=8.0)
Panel({"acc": 1}, vocabularies={"acc": 4})
Panel({"acc": 1}, rate={"acc": 8.0})
from mts_fusion import MaestroClasifier
mts_fusion.nonsense
"""
# Line of the script, and what is said of it.
EXPECTED = {
    4: 'Revealed type is "mts_fusion.estimators._maestro.MaestroClassifier"',
    5: 'Revealed type is "mts_fusion.estimators._pattern_ridge.PatternRidgeClassifier"',
    6: 'Revealed type is "mts_fusion.panel._panel.Panel"',
    7: 'Revealed type is "mts_fusion.nn.networks._maestro.Maestro"',
    8: 'Revealed type is "tuple[Any, ...]"',
    9: 'Unexpected keyword argument "foo" for "MaestroClassifier"',
    10: 'Argument 1 to "Panel" has incompatible type "list[float]"; expected "Mapping[str, Any]"',
    11: 'Argument "rates" to "Panel" has incompatible type "float"',
    12: 'Dict entry 0 has incompatible type "str": "int"; expected "str": "Vocabulary | None"',
    13: 'Unexpected keyword argument "rate" for "Panel"; did you mean "rates"?',
    14: 'Module "mts_fusion" has no attribute "MaestroClasifier"',
    15: 'Module has no attribute "nonsense"',
}


def test_mypy_knows_the_types_of_a_script(tmp_path):
    (tmp_path / "mypy.ini").write_text(CONFIG)
    (tmp_path / "script.py").write_text(SCRIPT)

    done = subprocess.run(
        [sys.executable, "-m", "mypy", "script.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )

    said = dict.fromkeys(EXPECTED, "")
    for line, text in re.findall(r"^script\.py:(\d+): \w+: (.*)$", done.stdout, re.M):
        said[int(line)] = said.get(int(line), "") + text
    assert said.keys() == EXPECTED.keys(), done.stdout + done.stderr
    assert [line for line, text in EXPECTED.items() if text not in said[line]] == [], done.stdout


def test_checkers_are_told_the_names_that_are_imported_when_asked_for():
    tree = ast.parse((ROOT / "mts_fusion" / "__init__.py").read_text())
    block = next(
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    listed = {node.module: [alias.name for alias in node.names] for node in block.body}

    assert all(alias.asname == alias.name for node in block.body for alias in node.names)
    assert sorted(listed.pop(None)) == sorted(mts_fusion._PACKAGES)
    assert {package: sorted(names) for package, names in listed.items()} == {
        package: sorted(names) for package, names in mts_fusion._FIRST_NAMES.items()
    }


@pytest.mark.parametrize("name", mts_fusion.__all__)
def test_every_public_name_is_there(name):
    assert getattr(mts_fusion, name) is not None
    assert name in dir(mts_fusion)


def test_the_wheel_says_that_it_has_types(tmp_path):
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "mts_fusion", tmp_path / "mts_fusion", ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)

    build = "from setuptools import build_meta; build_meta.build_wheel('.')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)

    (wheel,) = tmp_path.glob("*.whl")
    assert "mts_fusion/py.typed" in zipfile.ZipFile(wheel).namelist()
