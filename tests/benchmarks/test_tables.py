import zipfile

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.pipeline import make_pipeline

from mts_fusion.benchmarks import (
    _ablation,
    _dsads,
    _fusion,
    _maestro,
    _maestro_extras,
    _pamap2,
    _protocol,
)
from mts_fusion.benchmarks.__main__ import main
from mts_fusion.benchmarks._cells import run_cells
from mts_fusion.benchmarks._data import load_data
from mts_fusion.benchmarks._pamap2 import SlowestClock
from mts_fusion.benchmarks._protocol import Method
from mts_fusion.benchmarks._tables import TABLES, load, summarise
from mts_fusion.datasets import make_panel_classification
from mts_fusion.inspection import modality_importance
from mts_fusion.nn.encoders import ENCODERS
from mts_fusion.nn.strategies import STRATEGIES
from mts_fusion.panel import Panel
from mts_fusion.transforms import PanelSummarizer


@pytest.fixture
def home(tmp_path):
    """Two activities of three subjects in the publisher's format."""
    return write_dsads(tmp_path, people=(1, 2, 3))


def write_dsads(folder, people):
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(folder / "dsads_tiny.zip", "w") as archive:
        for a in (1, 2):
            for p in people:
                for s in range(1, 7):
                    rows = rng.normal(a, 1, size=(125, 45)).round(2)
                    text = "\n".join(",".join(map(str, row)) for row in rows)
                    archive.writestr(f"data/a{a:02d}/p{p}/s{s:02d}.txt", text)
    return folder


@pytest.fixture
def tiny_methods(monkeypatch):
    def make(seed, quick):
        return make_pipeline(PanelSummarizer(), ExtraTreesClassifier(5, random_state=seed))

    methods = {name: Method(make, copies=True) for name in _dsads._ROWS}
    monkeypatch.setattr(_dsads, "CLASSIFIERS", methods)


def test_every_table_has_a_file():
    for name in TABLES:
        assert load(name).summary


def test_the_dsads_table(home, tiny_methods, capsys, tmp_path):
    out = tmp_path / "results"
    command = ["dsads", "--data-home", str(home), "--out", str(out), "--seeds", "0", "1"]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "| Maestro, SAX" in text
    assert "MAESTRO with SAX, published" in text
    assert "Paired differences" in text
    assert "Required at p = 0.4: 0.84" in text
    assert "SHORTENED" not in text
    assert (out / "dsads.csv").exists()


def test_a_shortened_table_says_so(home, tiny_methods, capsys):
    command = ["dsads", "--data-home", str(home), "--quick", "--in-process"]
    assert main([*command, "--methods", "Maestro"]) == 0
    assert "SHORTENED" in capsys.readouterr().out


def test_a_fusion_table_of_few_epochs_says_so_in_every_row(home, capsys):
    command = ["fusion", "--data-home", str(home), "--in-process", "--epochs", "1"]
    assert main([*command, "--methods", "late, cnn"]) == 0
    text = capsys.readouterr().out
    assert "SHORTENED (--epochs 1)" in text
    assert "| late, cnn, 1 epochs" in text


def test_the_fusion_table_has_every_strategy_and_encoder():
    assert set(_fusion._STRATEGIES) == set(STRATEGIES)
    assert set(_fusion._ENCODERS) == set(ENCODERS)


def test_a_table_of_failures_is_written_too(tmp_path):
    def work(cell):
        raise ValueError("nothing works")

    rows = run_cells([{"method": "a"}], work, table="t", out=tmp_path / "new", isolate=False)

    assert rows == [{"method": "a", "error": "nothing works"}]
    assert "nothing works" in (tmp_path / "new" / "t.csv").read_text()


def test_the_epochs_asked_for_are_those_of_a_quick_fit_too():
    made = _fusion._make("late", "cnn", seed=0, quick=True, epochs=5)
    assert made.max_epochs == 5


def test_the_fusion_table_says_what_was_reached(home, monkeypatch, capsys):
    def make(seed, quick):
        return make_pipeline(PanelSummarizer(), ExtraTreesClassifier(5, random_state=seed))

    names = ["late, hydra", "early, hydra", "ExtraTrees on summaries"]
    monkeypatch.setattr(_fusion, "_methods", lambda: {name: Method(make) for name in names})
    assert main(["fusion", "--data-home", str(home), "--in-process"]) == 0
    text = capsys.readouterr().out
    assert "| early, hydra" in text
    assert "Required: the best strategy" in text
    assert "Required at p = 0.4: ECE 0.05" in text


def test_data_that_are_not_there_are_an_error_without_traceback(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MTS_FUSION_DATA", raising=False)
    assert main(["dsads"]) == 2
    assert "Pass data_home=PATH" in capsys.readouterr().err


def test_summaries_tell_folds_from_seeds():
    rows = [
        {"method": "a", "fold": fold, "seed": seed, "f1": f1}
        for fold, seed, f1 in [("x", 0, 0.8), ("x", 1, 0.9), ("y", 0, 0.6), ("y", 1, 0.6)]
    ]
    entry = summarise(rows, ["method"], "f1")["a",]
    assert entry["mean"] == pytest.approx(0.725)
    assert entry["folds"] == pytest.approx(np.std([0.85, 0.6], ddof=1))
    assert entry["seeds"] == pytest.approx(np.std([0.8, 0.9], ddof=1) / 2)
    assert entry["n"] == 4


def test_the_field_table_and_its_figure(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    command = ["comparison", "--dataset", "basic_motions", "--out", str(tmp_path), "--quick"]
    assert main([*command, "--methods", "ExtraTrees on summaries"]) == 0
    printed = capsys.readouterr()
    assert "| ExtraTrees on summaries" in printed.out
    assert "failed" not in printed.err
    assert (tmp_path / "comparison-basic_motions.png").exists()


def test_the_field_table_of_some_folds_says_so(home, capsys):
    command = [
        "comparison",
        "--dataset",
        "dsads",
        "--data-home",
        str(home),
        "--quick",
        "--in-process",
    ]
    assert main([*command, "--folds", "1", "--methods", "ExtraTrees on summaries"]) == 0
    assert "SHORTENED: 1 of 2 folds." in capsys.readouterr().out


def test_the_ablation_changes_one_thing_a_row(home, capsys):
    for changes in _ablation._CHANGES.values():
        changed = _ablation._make(changes, seed=0, quick=True).get_params()
        untouched = _ablation._make({}, seed=0, quick=True).get_params()
        assert {key for key in changed if changed[key] != untouched[key]} <= set(changes)
    command = ["ablation", "--dataset", "dsads", "--data-home", str(home), "--quick"]
    # In this process, whose torch has threads already: a fork would wait for them for ever.
    assert main([*command, "--in-process", "--methods", "Maestro", "one network"]) == 0
    assert "macro_f1 minus Maestro" in capsys.readouterr().out


def test_data_sets_with_a_given_split_keep_it():
    data, folds = load_data("japanese_vowels", None)
    assert (len(folds[0].train), len(folds[0].test)) == (270, 370)
    assert np.unique(data.y).tolist() == list(range(9))
    assert data.panel.schema.names == ("low", "middle", "high")
    assert not data.panel.observed["low"].all()  # shorter utterances end in NaN


@pytest.fixture
def pamap2_home(tmp_path):
    """Two activities of three subjects in the publisher's format."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(tmp_path / "PAMAP2_Dataset.zip", "w") as archive:
        for subject in (101, 102, 103):
            rows = [
                " ".join(
                    [f"{i / 100:.2f}", str(1 + i // 1200), "NaN" if i % 11 else "80"]
                    + [f"{x:.2f}" for x in rng.normal(i // 1200, 1, size=51)]
                )
                for i in range(2400)
            ]
            archive.writestr(f"PAMAP2_Dataset/Protocol/subject{subject}.dat", "\n".join(rows))
    return tmp_path


def test_the_pamap2_table_splits_in_two_ways(pamap2_home, capsys):
    command = ["pamap2", "--data-home", str(pamap2_home), "--in-process", "--quick"]
    assert main([*command, "--methods", "ExtraTrees on summaries"]) == 0
    text = capsys.readouterr().out
    assert "early, published" in text
    assert text.count("| macro_f1") == 2
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    sets = [line.split("|")[1].strip() for line in lines if " + " in line or "hand  " in line]
    assert sum("accuracy with these sensors alone" in line for line in lines) == 2
    assert sets.count("hand + chest + ankle + heart_rate") == 2
    assert "INCOMPLETE" not in text


@pytest.mark.slow
def test_the_pamap2_table_has_attention_and_the_temperature(pamap2_home, capsys):
    command = ["pamap2", "--data-home", str(pamap2_home), "--in-process", "--quick"]
    assert main([*command, "--splits", "random", "--methods", "hybrid, LSTM"]) == 0
    text = capsys.readouterr().out
    assert "| attention of hybrid, LSTM, to | hand" in text
    assert "Without the temperature:" in text
    assert "| importance (Shapley value of accuracy) | hand" in text


def test_a_pipeline_that_drops_rows_has_a_row_of_the_pamap2_table(pamap2_home, monkeypatch, capsys):
    def make(seed, quick):
        trees = ExtraTreesClassifier(5, random_state=seed)
        return make_pipeline(SlowestClock(), PanelSummarizer(), trees)

    monkeypatch.setattr(
        _pamap2, "_methods", lambda epochs: {"rows with gaps dropped": Method(make)}
    )
    command = ["pamap2", "--data-home", str(pamap2_home), "--in-process", "--quick"]
    assert main([*command, "--splits", "random"]) == 0
    text = capsys.readouterr().out
    assert "INCOMPLETE" not in text
    assert "hand + chest + ankle + heart_rate" in text


def test_the_slowest_clock_keeps_the_rows_at_which_every_sensor_has_a_value():
    fast, slow = np.arange(8.0).reshape(1, 1, 8), np.array([[[5.0, 6.0, np.nan, 8.0]]])
    X = Panel({"fast": fast, "slow": slow}, rates={"fast": 4.0, "slow": 2.0})

    rows = SlowestClock().fit_transform(X)

    assert [m.rate for m in rows.schema] == [2.0, 2.0]
    np.testing.assert_array_equal(rows.values["fast"], [[[0, 2, np.nan, 6]]])
    np.testing.assert_array_equal(rows.values["slow"], [[[5, 6, np.nan, 8]]])


def test_rows_lie_at_the_times_of_an_irregular_modality():
    fast, heart = np.arange(8.0).reshape(1, 1, 8), np.array([[[60.0, 61.0, 62.0, np.nan]]])
    fast[0, 0, 4] = np.nan
    times = np.array([[0.26, 1.0, 1.7, np.nan]])
    X = Panel({"fast": fast, "heart": heart}, rates={"fast": 4.0}, times={"heart": times})

    rows = SlowestClock().fit_transform(X)

    np.testing.assert_array_equal(rows.values["fast"], [[[1, np.nan, 7, np.nan]]])
    np.testing.assert_array_equal(rows.values["heart"], [[[60, np.nan, 62, np.nan]]])
    np.testing.assert_array_equal(rows.times["fast"], times)

    beyond = X.replace(times={"heart": times + 2})
    assert not SlowestClock().fit_transform(beyond).available.any()


def test_rows_without_a_common_clock_are_refused():
    X = Panel({"fast": np.zeros((1, 1, 8)), "slow": np.zeros((1, 1, 4))}, rates={"slow": 2.0})
    with pytest.raises(ValueError, match=r"of \['fast'\] the rates are unknown"):
        SlowestClock().fit_transform(X)


def test_the_maestro_table_has_ablations_attention_and_noise_beside_the_paper(
    home, monkeypatch, capsys
):
    def make(seed, quick):
        return make_pipeline(PanelSummarizer(), ExtraTreesClassifier(5, random_state=seed))

    names = ["paper", "paper, without experts", "paper, full attention", "Maestro"]
    methods = {name: Method(make) for name in names}
    monkeypatch.setattr(_maestro, "_methods", lambda setting, segment: methods)
    command = ["maestro", "--data-home", str(home), "--in-process", "--rows", "12"]
    assert main([*command, "--datasets", "dsads", "--parts", "scores", "--folds", "1"]) == 0
    text = capsys.readouterr().out
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    cells = {tuple(line[:1]): line for line in lines if line}
    assert cells["published, with symbols",][1:5] == [".88", ".86", ".84", ".82"]
    assert ["paper, without experts", ".50"] in [line[::2] for line in lines if len(line) == 3]
    assert ["paper, full attention", ".75"] in [line[::2] for line in lines if len(line) == 3]
    noisy = [line for line in lines if line and line[1:2] == ["random"]]
    assert noisy[0] == ["macro_f1", *(n.replace("_", " ") for n in _maestro._NOISES)]
    assert "SHORTENED: 1 of 2 folds; about 12 windows" in text


def test_ablations_of_the_paper_change_one_thing_a_row():
    presets = {name: _maestro._ABLATIONS[name][0] for name in _maestro._ABLATIONS}
    presets |= {name: change for name, (change, *_) in _maestro._ATTENTION.items()}
    preset = _maestro._paper("dsads", seed=0, quick=False)
    for change in presets.values():
        changed = _maestro._paper("dsads", seed=0, quick=False, **change)
        before, after = preset[-1].get_params(), changed[-1].get_params()
        different = {key for key in before if before[key] != after[key]}
        assert different == set(change) - {"symbols", "embedding"}
        assert (changed[0] == "passthrough") == (not change.get("symbols", True))


def test_without_its_embedding_a_modality_cannot_be_told_from_another():
    X, y = make_panel_classification(20, random_state=0)
    short = {"d_model": 8, "max_tokens": 2, "patch_length": None, "batch_size": 32}
    for embedding in (True, False):
        change = {"embedding": embedding, "n_heads": 2, "n_intra_layers": 0, "n_cross_layers": 1}
        model = _maestro._paper("dsads", seed=0, quick=True, symbols=False, **change, **short)
        vectors = model.fit(X, y)[-1].nets_[0].module_.modality
        assert bool(vectors.any()) == embedding


def test_a_shortened_fit_of_the_paper_has_its_curriculum_in_proportion():
    model = _maestro._shorten(_maestro._paper("dsads", seed=0, quick=False), 45)
    epochs = {k: v for k, v in model[-1].get_params().items() if k.endswith("epochs")}
    assert epochs == {"max_epochs": 45, "n_warmup_epochs": 3, "n_curriculum_epochs": 45}
    default = _maestro._shorten(_maestro.CLASSIFIERS["Maestro"].make(seed=0, quick=False), 7)
    assert (default.max_epochs, default.n_curriculum_epochs) == (7, "auto")


def test_a_search_says_whether_its_choices_differ():
    def rows(effect):
        rng = np.random.default_rng(0)
        return [
            {
                "attention_budget": str(budget),
                "n_experts": "1",
                **{
                    f"split{k}_{name}": 0.5 + 0.2 * k + effect * budget + rng.normal(0, 0.01)
                    for k in range(2)
                    for name in ("complete", "hidden")
                },
            }
            for budget in range(4)
        ]

    assert "budgets and experts matter" in _maestro_extras._search_table(rows(0.1))[1]
    assert "cannot be told apart" in _maestro_extras._search_table(rows(0.0))[1]


@pytest.mark.slow
def test_the_maestro_table_counts_searches_and_pretrains(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(_maestro_extras, "_FEATURES", ("statistics",))
    monkeypatch.setattr(_maestro_extras, "_QUICK", {**_maestro_extras._QUICK, "label_step": 2})
    monkeypatch.setattr(
        _maestro_extras, "_GRID", {"attention_budget": ["inf"], "n_experts": [1, 2]}
    )
    home = write_dsads(tmp_path, people=(1, 2, 3, 4))
    command = ["maestro", "--data-home", str(home), "--in-process", "--quick"]
    assert main([*command, "--parts", "costs", "search", "pretraining"]) == 0
    text = capsys.readouterr().out
    assert "failed" not in text
    assert text.count("| paper") == 5
    assert "| inf" in text
    assert "| series and features, pre-trained" in text


class Counts(ClassifierMixin, BaseEstimator):
    """Says that two sensors are there, and remembers how often it was asked."""

    def fit(self, X, y):
        self.classes_, self.n_calls_ = np.unique(y), 0
        return self

    def predict(self, X):
        self.n_calls_ += 1
        return (X.available.sum(axis=1) >= 2).astype(int)


def test_sensors_alone_and_their_importance_take_one_prediction_of_each_set():
    X, _ = make_panel_classification(10, modalities=3, random_state=0)
    y = np.arange(10) % 3 == 0
    model = Counts().fit(X, y)

    rows = _protocol._by_sensors(model, X, y)

    assert model.n_calls_ == 8
    alone = {row["sensors"]: row["sensors_accuracy"] for row in rows if "sensors" in row}
    assert alone == {"m0": 0.6, "m1": 0.6, "m2": 0.6} | dict.fromkeys(
        ["m0 + m1", "m0 + m2", "m1 + m2", "m0 + m1 + m2"], 0.4
    )
    shapley = modality_importance(model, X, y, method="shapley", scoring="accuracy", verbose=0)
    assert [row["importance"] for row in rows if "importance" in row] == list(shapley["importance"])
    assert model.n_calls_ == 16
