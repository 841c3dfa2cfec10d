"""Panels in a folder."""

import json
import pickle

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from mts_fusion.panel import Panel, Vocabulary, save_panels
from mts_fusion.panel._stored import StoredPanel, loaded_parts


def make(n=7, length=5, seed=0, ids=True):
    rng = np.random.default_rng(seed)
    acc = rng.normal(size=(n, 2, 8)).astype(np.float32)
    acc[0], acc[1, 0, 3:] = np.nan, np.nan
    beat, times = rng.normal(size=(n, 1, length)), np.cumsum(rng.random((n, length)), axis=1)
    beat[1, :, 3:], times[1, 3:] = np.nan, np.nan
    observed = np.isfinite(acc) & (rng.random(acc.shape) < 0.8)
    return Panel(
        {"acc": acc, "beat": beat, "sax": rng.integers(0, 5, size=(n, 3, 4))},
        times={"beat": times},
        rates={"acc": 4.0},
        vocabularies={"sax": Vocabulary(4, breakpoints=(-1, 0.0, np.float64(1)))},
        observed={"acc": observed},
        channels={"acc": ["x", "y"]},
        sample_ids=[f"s{seed}{i}" for i in range(n)] if ids else None,
    )


def assert_same(got, wanted):
    assert got.schema == wanted.schema
    assert got.shape == wanted.shape
    for name in wanted.schema.names:
        np.testing.assert_array_equal(got.values[name], wanted.values[name])
        np.testing.assert_array_equal(got.observed[name], wanted.observed[name])
        if wanted.times[name] is not None:
            np.testing.assert_array_equal(got.times[name], wanted.times[name])
    np.testing.assert_array_equal(got.available, wanted.available)
    if wanted.sample_ids is not None:
        assert got.sample_ids.tolist() == wanted.sample_ids.tolist()


@pytest.fixture
def panel():
    return make()


@pytest.fixture
def stored(panel, tmp_path):
    panel.save(tmp_path / "X")
    return Panel.open(tmp_path / "X")


def test_what_is_opened_is_what_was_saved(panel, stored):
    assert_same(stored, panel)
    assert repr(stored) == repr(panel)


@pytest.mark.parametrize(
    "key",
    [
        slice(1, 5),
        slice(None, None, 2),
        slice(None, None, -1),
        slice(4, 4),
        [3, 0, 3],
        np.array([True, False] * 3 + [True]),
        2,
        -1,
    ],
    ids=str,
)
def test_rows_are_those_of_the_panel_also_of_rows(panel, stored, key):
    assert_same(stored[key], panel[key])
    assert_same(stored[::-1][key], panel[::-1][key])
    assert_same(stored[[5, 1, 4, 2, 0, 6, 3]][key], panel[[5, 1, 4, 2, 0, 6, 3]][key])
    assert isinstance(stored[key], StoredPanel)


def test_modalities_are_chosen_without_reading(panel, stored):
    assert_same(stored.select(["sax", "acc"])[1:3], panel.select(["sax", "acc"])[1:3])
    assert_same(stored.drop("acc"), panel.drop("acc"))
    assert isinstance(stored.drop("acc"), StoredPanel)
    with pytest.raises(KeyError):
        stored.values["sax2"]


def test_slices_of_the_file_are_views_and_cannot_be_written(stored):
    values = stored[2:5].values["acc"]
    assert values.base is not None
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 0


def test_what_changes_a_panel_gives_one_in_memory(panel, stored):
    assert_same(stored.concat(stored[:2]), panel.concat(panel[:2]))
    new = stored.replace(values={"acc": np.zeros((7, 2, 8))})
    assert type(new) is Panel
    assert_same(new, panel.replace(values={"acc": np.zeros((7, 2, 8))}))


@pytest.mark.parametrize("key", [slice(2, 5), slice(0, 0), [4, 1], slice(None, None, -1)], ids=str)
def test_a_pickle_holds_the_path_alone(stored, key):
    part = stored.select(["beat", "acc"])[key]
    assert_same(pickle.loads(pickle.dumps(part)), part)
    assert len(pickle.dumps(part)) < 3000 < sum(x.nbytes for x in stored.values.values()) * 10


def test_scikit_learn_splits_it_without_reading(panel, stored):
    split = train_test_split(stored, range(7), random_state=0)
    wanted = train_test_split(panel, range(7), random_state=0)
    for got, want in zip(split[:2], wanted[:2], strict=True):
        assert isinstance(got, StoredPanel)
        assert_same(got, want)


def test_panels_are_written_one_after_another_and_padded(tmp_path):
    pieces = [make(3, 4, seed=0), make(2, 7, seed=1), make(4, 5, seed=2)]
    stored = save_panels(iter(pieces), tmp_path / "X")
    assert_same(stored, pieces[0].concat(*pieces[1:]))


@pytest.mark.parametrize("name", ["acc", "beat", "sax"])
def test_a_later_panel_may_lack_a_modality(panel, name, tmp_path):
    later = make(4, seed=1).drop(name)
    stored = save_panels([panel, later], tmp_path / "X")
    assert_same(stored, panel.concat(later.align(panel.schema)))


def test_a_large_panel_comes_in_parts(panel, stored, monkeypatch):
    monkeypatch.setattr("mts_fusion.panel._stored.PART_BYTES", 3 * 4 * (2 * 8 + 5 + 3 * 4))
    parts = list(loaded_parts(stored))
    assert [len(part) for part in parts] == [3, 3, 1]
    assert all(type(part) is Panel for part in parts)
    assert_same(parts[0].concat(*parts[1:]), panel)
    stored._present = None
    np.testing.assert_array_equal(stored.available, panel.available)
    assert list(loaded_parts(panel)) == [panel]


def test_a_folder_in_use_is_refused(panel, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not empty"):
        panel.save(tmp_path)


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ([], "has no panel"),
        ([make(), make(ids=False)], "sample_ids"),
        ([make().select(["acc", "beat"]), make()], r"later one has \['sax'\] too\. Begin with"),
        ([make().drop("beat").replace(values={"acc": np.ones((7, 2, 8))}), make().drop("beat")],
         "Make all panels in the same way"),
        ([make().select("sax"), Panel({"sax": np.ones((1, 3, 5), int)},
                                      vocabularies={"sax": make().schema["sax"].vocabulary})],
         "sample_ids|timepoints"),
        ([make().replace(sample_ids=[(1, i) for i in range(7)])], "texts and whole numbers"),
    ],
)  # fmt: skip
def test_panels_that_do_not_fit_together_are_refused(panels, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        save_panels(panels, tmp_path / "X")
    with pytest.raises(FileNotFoundError, match="interrupted"):
        Panel.open(tmp_path / "X")


def test_damaged_folders_are_refused(stored, tmp_path):
    folder = tmp_path / "X"
    header = json.loads((folder / "panel.json").read_text())
    (folder / "panel.json").write_text(json.dumps({**header, "format": 2}))
    with pytest.raises(ValueError, match="format 2"):
        Panel.open(folder)
    (folder / "panel.json").write_text(json.dumps({**header, "arrays": [{"values": "|O"}] * 3}))
    with pytest.raises(ValueError, match=r"type '\|O'"):
        Panel.open(folder)
    (folder / "panel.json").write_text(json.dumps(header)[:-30])
    with pytest.raises(ValueError, match="damaged"):
        Panel.open(folder)
    (folder / "panel.json").write_text(json.dumps(header))
    path = folder / "0.values.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="cut or changed"):
        Panel.open(folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="of modality 'acc' is gone"):
        Panel.open(folder)
    with pytest.raises(FileNotFoundError, match="not a saved panel"):
        Panel.open(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    "change",
    [
        {"modalities": None},
        {"modalities": [{"name": "acc"}] * 3},
        {"modalities": []},
        {"n_samples": "many"},
        {"n_samples": -1},
        {"arrays": []},
        {"arrays": [{}] * 3},
        {"arrays": [1, 2, 3]},
        {"sample_ids": ["a"]},
        {"sample_ids": 3},
    ],
    ids=str,
)
def test_a_damaged_header_is_named(stored, tmp_path, change):
    path = tmp_path / "X" / "panel.json"
    header = json.loads(path.read_text())
    for wrong in ({**header, **change}, {k: v for k, v in header.items() if k not in change}):
        path.write_text(json.dumps(wrong))
        with pytest.raises(ValueError, match=r"panel\.json is damaged"):
            Panel.open(path.parent)
