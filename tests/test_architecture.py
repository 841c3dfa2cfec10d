"""The rules of docs/architecture.md, read from the source."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "mts_fusion"
LAYERS = {
    "persistence": 0,
    "runs": 0,
    "panel": 1,
    "nn": 2,
    "datasets": 2,
    "transforms": 2,
    "metrics": 2,
    "training": 3,
    "inspection": 3,
    "estimators": 4,
    "interop": 5,
    "benchmarks": 6,
}
# Which packages of nn a package of nn may import; each names earlier ones only.
NN_IMPORTS = {
    "layers": set(),
    "ridge": set(),
    "features": {"layers"},
    "experts": {"layers"},
    "embedding": {"layers"},
    "diffusion": {"layers"},
    "gaussian_process": set(),
    "strategies": {"layers"},
    "attention": {"layers", "experts"},
    "encoders": {"layers", "embedding", "attention"},
    "networks": {
        "features",
        "layers",
        "experts",
        "embedding",
        "diffusion",
        "strategies",
        "attention",
        "encoders",
    },
}
FILES = sorted(ROOT.rglob("*.py"))
# A file has at most 400 lines, and a function 60, signature and docstring aside. These have more.
MAX_FILE, MAX_FUNCTION = 400, 60
LONG_FILES = {}
LONG_FUNCTIONS = {}

# Runs of six equal lines of code in two places. Docstrings, imports and signatures are left out (an
# interface is said by every class that has it), and so are lines that only hand a name on, such as
# `self.x = x` and `x=self.x,`, of which scikit-learn's constructors consist.
N_EQUAL = 6
REPEATED: dict[tuple[str, ...], str] = {}
# Parameters of constructors in nn that the package never gives another value than the default.
ONLY_DEFAULT = {
    "LowRankFusion.rank": "from strategy_params of the caller",
    "MAGFusion.beta": "from strategy_params of the caller",
    "MulTFusion.n_layers": "from strategy_params of the caller",
    "ShaSpecFusion.alignment_weight": "from strategy_params of the caller",
    "ShaSpecFusion.domain_weight": "from strategy_params of the caller",
}


@cache
def _tree(path: Path) -> ast.Module:
    """The source of a file; a file is parsed once, not once a rule."""
    return ast.parse(path.read_text())


@cache
def _modules(path: Path) -> list[tuple[str, bool]]:
    """Every module a file imports, absolute, and whether at import time."""
    tree = _tree(path)
    package = list(path.relative_to(ROOT.parent).with_suffix("").parts[:-1])
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            names = [".".join([*base, *((node.module or "").split("."))]).rstrip(".")]
            if node.level and not node.module:
                names = [".".join([*base, alias.name]) for alias in node.names]
        else:
            continue
        found += [(name, id(node) not in inside) for name in names]
    return found


def _package(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def _imports_of(package: str) -> list[tuple[Path, str, bool]]:
    return [
        (path, name, at_import)
        for path in FILES
        if _package(path) == package
        for name, at_import in _modules(path)
    ]


@pytest.mark.parametrize("package", LAYERS)
def test_imports_go_down(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, name, _ in _imports_of(package)
        if name.startswith("mts_fusion.")
        and name.split(".")[1] != package
        and LAYERS[name.split(".")[1]] >= LAYERS[package]
    ]
    assert not wrong


def test_every_package_has_a_layer() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == set(LAYERS)


# Inside functions: a panel saves itself, and Panel.open gives a kind of Panel.
FOLDERS = {"mts_fusion.panel._out": {"mts_fusion.panel._save", "mts_fusion.panel._stored"}}


def test_no_circles_between_files() -> None:
    graph: dict[str, set[str]] = {}
    for path in FILES:
        module = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
        graph[module.removesuffix(".__init__")] = {
            name
            for name, at_import in _modules(path)
            if name.startswith("mts_fusion.") and (at_import or name not in FOLDERS.get(module, ()))
        }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join([*trail, module])
        if module in done or module not in graph:
            return
        for other in graph[module]:
            visit(other, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())


SORTING = "nn/features/_sorting.py"  # numpy sorts, for torch takes twenty times as long


def test_nn_imports_torch_the_standard_library_and_the_schema_only() -> None:
    allowed = {*sys.stdlib_module_names, "torch"}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, name, _ in _imports_of("nn")
        if name.split(".")[0] not in allowed
        and (name, str(path.relative_to(ROOT))) != ("numpy", SORTING)
        and not name.startswith("mts_fusion.nn")
        and name != "mts_fusion.panel._schema"
    ]
    assert not wrong


def _imports_between_packages_of_nn() -> list[tuple[Path, str, str]]:
    """File, its package of nn, and the module of another package of nn (or nn) that it imports."""
    return [
        (path, path.parent.name, name)
        for path, name, _ in _imports_of("nn")
        if path.parent != ROOT / "nn"
        and name.startswith("mts_fusion.nn")
        and name.split(".")[2:3] != [path.parent.name]
    ]


def test_packages_of_nn_import_what_their_table_allows() -> None:
    packages = {path.parent.name for path in (ROOT / "nn").glob("*/__init__.py")}
    assert packages == set(NN_IMPORTS)
    earlier: set[str] = set()
    for package, allowed in NN_IMPORTS.items():
        assert allowed <= earlier, package  # so there is no circle
        earlier.add(package)
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, package, name in _imports_between_packages_of_nn()
        if name.removeprefix("mts_fusion.nn").strip(".").split(".")[0] not in NN_IMPORTS[package]
    ]
    assert not wrong


def test_packages_of_nn_take_only_what_another_one_makes_public() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, _, name in _imports_between_packages_of_nn()
        if any(part.startswith("_") for part in name.split("."))
    ]
    assert not wrong


def test_packages_of_nn_export_only_what_they_define() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} exports names of {name}"
        for path, _, name in _imports_between_packages_of_nn()
        if path.name == "__init__.py"
    ]
    for path in (ROOT / "nn").glob("*/_[!_]*.py"):
        tree = _tree(path)
        imported = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        public = next(
            (
                set(ast.literal_eval(node.value))
                for node in tree.body
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
            ),
            set(),
        )
        wrong += [f"{path.relative_to(ROOT)} exports {name}" for name in public & imported]
    assert not wrong


def test_tests_of_nn_stand_in_folders_of_its_packages() -> None:
    folders = {path.name for path in (ROOT.parent / "tests" / "nn").iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} == set(NN_IMPORTS)


def test_numpy_becomes_torch_in_one_file_and_torch_numpy_in_two_others() -> None:
    """``from_numpy`` and ``.numpy()`` are the bridges; a task sees both sides and converts none.

    Files of fitted objects hold arrays, so `persistence` converts in both directions.
    """
    stored = "persistence/_arrays.py"
    features, rows = "training/_features.py", "training/_pattern_rows.py"
    on_tensors = [
        "_entry_table",
        "_gaussian_examples",
        "_gaussian_process",
        "_pattern_forms",
        "_pattern_head",
        "_pattern_model",
        "_patterns",
    ]
    bridges = {
        "from_numpy": {"training/_batch.py", stored},
        "numpy": {"training/_net.py", features, rows, stored},
    }
    both = {
        "training/_batch.py",
        "training/_net.py",
        "training/_task.py",
        features,
        rows,
        stored,
        "persistence/_encode.py",  # see both sides, as a task does
        "persistence/_decode.py",
        *(f"training/{name}.py" for name in on_tensors),
        SORTING,
    }
    wrong = []
    for path in FILES:
        name = str(path.relative_to(ROOT))
        if _package(path) == "benchmarks":
            continue
        roots = {module.split(".")[0] for module, _ in _modules(path)}
        if {"numpy", "torch"} <= roots and name not in both:
            wrong.append(f"{name} imports both")
        for node in ast.walk(_tree(path)):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if called and name not in (SORTING, *bridges.get(node.func.attr, (name,))):
                wrong.append(f"{name} calls {node.func.attr}")
    assert not wrong


@pytest.mark.parametrize(
    ("library", "files"),
    [
        ("pandas", ["panel/_frames.py"]),
        ("matplotlib", ["inspection/_display*.py", "benchmarks/*.py"]),
        ("pooch", ["datasets/_cache.py"]),
        ("onnxscript", ["interop/_export.py"]),
        ("safetensors", ["persistence/_file.py"]),
        ("skops", ["persistence/_foreign.py"]),
        ("urllib", ["datasets/_cache.py"]),
        ("requests", []),
    ],
)
def test_heavy_libraries_are_imported_in_their_files_inside_functions(
    library: str, files: list[str]
) -> None:
    allowed = {path for pattern in files for path in ROOT.glob(pattern)}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}" + (" at import" if at_import else "")
        for path in FILES
        for name, at_import in _modules(path)
        if name.split(".")[0] == library and (path not in allowed or at_import)
    ]
    assert not wrong


def test_only_the_package_of_sktime_imports_sktime() -> None:
    importing = {
        path.parent.relative_to(ROOT)
        for path in FILES
        if any(name.split(".")[0] == "sktime" for name, _ in _modules(path))
    }
    assert importing == {Path("interop/sktime")}


def test_files_are_private_and_packages_say_what_is_public() -> None:
    for path in FILES:
        assert path.name.startswith("_"), path
        if path.name == "__init__.py" and path.parent != ROOT:
            assert "__all__" in path.read_text(), path


def _functions(node: ast.AST, prefix: str) -> list[tuple[str, int]]:
    """Names of the functions in a file, and the lines of each without signature and docstring."""
    found = []
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found += _functions(child, prefix)
            continue
        if not isinstance(child, ast.ClassDef):
            body = child.body[1:] if ast.get_docstring(child) else child.body
            n_lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            found.append((prefix + child.name, n_lines))
        found += _functions(child, f"{prefix}{child.name}.")
    return found


def test_files_are_short_unless_a_reason_is_given() -> None:
    long = {
        str(path.relative_to(ROOT))
        for path in FILES
        if len(path.read_text().splitlines()) > MAX_FILE
    }
    assert long == set(LONG_FILES)
    assert all(LONG_FILES.values())


def test_functions_are_short_unless_a_reason_is_given() -> None:
    long = {
        name
        for path in FILES
        for name, n_lines in _functions(_tree(path), f"{path.relative_to(ROOT)}: ")
        if n_lines > MAX_FUNCTION
    }
    assert long == set(LONG_FUNCTIONS)
    assert all(LONG_FUNCTIONS.values())


def _code_lines(path: Path) -> list[tuple[int, str]]:
    """Numbers and text of the lines that say what is computed, white space and comments aside."""
    text = path.read_text()
    skipped: set[int] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef):
            skipped |= set(range(node.lineno, node.body[0].lineno))
        string = isinstance(getattr(node, "value", None), (ast.Constant, ast.JoinedStr))
        alone = isinstance(node, ast.Expr) and string
        named = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith("__")
        if alone or named or isinstance(node, (ast.Import, ast.ImportFrom)):
            skipped |= set(range(node.lineno, node.end_lineno + 1))
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        code = " ".join(re.sub(r"(^|\s+)#.*$", "", line).split())
        hands_on = re.fullmatch(r"self\.(\w+) = \1|(\w+)=(self\.)?\2,?|\w+,?", code)
        if number not in skipped and re.search(r"\w", code) and not hands_on:
            lines.append((number, code))
    return lines


def _equal_runs(files: list[Path]) -> list[tuple[str, str]]:
    """Places of two equal runs of code lines, as file:line."""
    starts: dict[tuple[str, ...], list[str]] = {}
    runs = []
    for path in files:
        lines = _code_lines(path)
        for i in range(len(lines) - N_EQUAL + 1):
            run = tuple(code for _, code in lines[i : i + N_EQUAL])
            place = f"{path.relative_to(ROOT)}:{lines[i][0]}"
            runs += [(other, place) for other in starts.setdefault(run, [])]
            starts[run].append(place)
    return runs


def test_no_six_lines_stand_twice_unless_a_reason_is_given() -> None:
    pairs = {
        tuple(place.split(":")[0] for place in run): " = ".join(run) for run in _equal_runs(FILES)
    }
    assert {pair: where for pair, where in pairs.items() if pair not in REPEATED} == {}
    assert set(REPEATED) <= set(pairs)  # no reason outlives what it explains
    assert all(REPEATED.values())


def _constructors(path: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Positional parameters, and parameters with a default, of the constructors of a file."""
    constructors = {}
    for node in ast.walk(_tree(path)):
        for function in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(function, ast.FunctionDef) and function.name == "__init__":
                a = function.args
                positional = [x.arg for x in a.args]
                defaults = [None] * (len(a.args) - len(a.defaults)) + a.defaults + a.kw_defaults
                pairs = zip(a.args + a.kwonlyargs, defaults, strict=True)
                with_default = {x.arg: ast.unparse(d) for x, d in pairs if d is not None}
                constructors[node.name] = (positional[1:], with_default)
    return constructors


def test_no_parameter_of_nn_has_only_its_default() -> None:
    """What only tests would give another value is a constant."""
    calls: dict[str, list[ast.Call]] = {}
    options: set[str] = set()
    for path in FILES:
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.Dict) and _package(path) == "nn":  # options
                options |= {key.value for key in node.keys if isinstance(key, ast.Constant)}
            if isinstance(node, ast.Call):
                calls.setdefault(ast.unparse(node.func).split(".")[-1], []).append(node)
    only_default = set()
    for path in (path for path in FILES if _package(path) == "nn"):
        for name, (positional, defaults) in _constructors(path).items():
            given = options.copy()
            for call in calls.get(name, ()):
                given |= set(positional[: len(call.args)])
                given |= {
                    x.arg for x in call.keywords if ast.unparse(x.value) != defaults.get(str(x.arg))
                }
            only_default |= {f"{name}.{parameter}" for parameter in defaults.keys() - given}
    assert only_default == set(ONLY_DEFAULT)
    assert all(ONLY_DEFAULT.values())


def test_the_network_of_all_strategies_asks_for_no_name_and_no_type() -> None:
    """`FusionNet` builds what the registries hold, and knows none of it."""
    tree = _tree(ROOT / "nn" / "networks" / "_fusion.py")
    network = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "FusionNet")
    wrong = [
        ast.unparse(node)
        for node in ast.walk(network)
        if (isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"))
        or (
            isinstance(node, ast.Compare)
            and any(
                isinstance(x, ast.Constant) and isinstance(x.value, str) for x in node.comparators
            )
        )
    ]
    assert not wrong


def test_classes_that_all_methods_share_do_not_ask_for_types() -> None:
    shared = ["_base.py", "_predictor.py", "_mixins.py", "_context.py"]
    wrong = [
        f"{name} calls {node.func.id}"
        for name in shared
        for node in ast.walk(_tree(ROOT / "estimators" / name))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("isinstance", "is_classifier", "is_regressor")
    ]
    assert not wrong


def test_networks_import_where_scikit_learn_is_absent() -> None:
    code = (
        "import sys\n"
        "for name in ('sklearn', 'skorch', 'pandas', 'sktime'): sys.modules[name] = None\n"
        "import mts_fusion.nn"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_import_is_light_and_silent(tmp_path: Path) -> None:
    code = "import sys, mts_fusion; assert not {'torch', 'sklearn', 'pandas'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={"HOME": str(tmp_path), "PATH": "", "PYTHONPATH": str(ROOT.parent)},
    )
    assert done.stdout == done.stderr == ""
    assert not list(tmp_path.iterdir())
