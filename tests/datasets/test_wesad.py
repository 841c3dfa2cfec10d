import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from mts_fusion.datasets import fetch_wesad
from mts_fusion.datasets._array_pickle import read_array_pickle

CHEST = {"ACC": 3, "ECG": 1, "EMG": 1, "EDA": 1, "Temp": 1, "Resp": 1}
WRIST = {"ACC": (32, 3), "BVP": (64, 1), "EDA": (4, 1), "TEMP": (4, 1)}


def recording(labels=(1, 0, 2, 3), seconds_each=3, n_chest=700):
    """The dict in a subject's pickle: three seconds a label."""
    seconds = len(labels) * seconds_each
    ramp = np.arange(n_chest * seconds) / n_chest
    return {
        "signal": {
            "chest": {name: np.repeat(ramp[:, None], c, 1) for name, c in CHEST.items()},
            "wrist": {
                name: np.full((rate * seconds, c), 64.0) for name, (rate, c) in WRIST.items()
            },
        },
        "label": np.repeat(np.array(labels, dtype=np.int32), n_chest * seconds_each),
        "subject": "S2",
    }


def write_wesad(path, protocol=2, **subjects):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in subjects.items():
            data = content if isinstance(content, bytes) else pickle.dumps(content, protocol)
            archive.writestr(f"WESAD/{name}/{name}.pkl", data)
            archive.writestr(f"WESAD/{name}/{name}_quest.csv", "# Subj;S2")
    return path


def test_each_signal_of_chest_and_wrist_keeps_its_rate(tmp_path):
    write_wesad(tmp_path / "WESAD.zip", S2=recording(), S10=recording((2, 2, 4, 4)))
    wesad = fetch_wesad(data_home=tmp_path, window_seconds=3)
    assert [(m.name, m.n_channels, m.rate, m.n_timepoints) for m in wesad.data.schema] == [
        ("chest_acc", 3, 700.0, 2100),
        ("ecg", 1, 700.0, 2100),
        ("emg", 1, 700.0, 2100),
        ("chest_eda", 1, 700.0, 2100),
        ("chest_temp", 1, 700.0, 2100),
        ("resp", 1, 700.0, 2100),
        ("wrist_acc", 3, 32.0, 96),
        ("bvp", 1, 64.0, 192),
        ("wrist_eda", 1, 4.0, 12),
        ("wrist_temp", 1, 4.0, 12),
    ]
    names = [wesad.target_names[k] for k in wesad.target]
    assert names == ["baseline", "stress", "amusement", "stress", "stress"]
    assert wesad.groups.tolist() == [2, 2, 2, 10, 10]
    assert (wesad.data.values["wrist_acc"] == 1.0).all()  # 64 counts are 1 g
    assert (wesad.data.values["bvp"] == 64.0).all()
    np.testing.assert_allclose(wesad.data.values["ecg"][1, 0], 6 + np.arange(2100) / 700, rtol=1e-6)


def test_the_chest_can_be_averaged(tmp_path):
    write_wesad(tmp_path / "WESAD.zip", S2=recording())
    wesad = fetch_wesad(data_home=tmp_path, window_seconds=3, chest_rate=70, modalities=["ecg"])
    assert (wesad.data.schema["ecg"].rate, wesad.data.schema["ecg"].n_timepoints) == (70.0, 210)
    means = 0.1 * np.arange(210) / 7 + 4.5 / 700
    np.testing.assert_allclose(wesad.data.values["ecg"][0, 0], means, rtol=1e-4)


def test_meditation_is_a_class_where_it_is_asked_for(tmp_path):
    write_wesad(tmp_path / "WESAD.zip", S3=recording((4, 1)))
    settings = {"window_seconds": 3, "chest_rate": 7, "data_home": tmp_path}
    wesad = fetch_wesad(conditions=["meditation", "baseline"], **settings)
    assert [wesad.target_names[k] for k in wesad.target] == ["meditation", "baseline"]


def test_a_window_of_two_conditions_is_left_out(tmp_path):
    write_wesad(tmp_path / "WESAD.zip", S3=recording((1, 2, 2)))
    settings = {"chest_rate": 7, "data_home": tmp_path, "modalities": ["wrist_eda"]}
    wesad = fetch_wesad(window_seconds=4, **settings)
    assert wesad.target.tolist() == [1]
    assert fetch_wesad(window_seconds=4, min_share=0.6, **settings).target.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modalities": ["gsr"]}, r"modalities has \['gsr'\]; there are \['chest_acc', "),
        ({"conditions": ["fear"]}, r"conditions has \['fear'\]; there are \['baseline', "),
        ({"chest_rate": 64}, "chest_rate is a divisor of 700 Hz, got 64"),
        ({"subjects": [12]}, r"holds the subjects \[2\]; \[12\] is wanted"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, change, message):
    write_wesad(tmp_path / "WESAD.zip", S2=recording((1,)))
    with pytest.raises(ValueError, match=message):
        fetch_wesad(data_home=tmp_path, window_seconds=1, **change)


def test_a_signal_of_another_shape_is_named(tmp_path):
    wrong = recording((1,))
    wrong["signal"]["chest"]["ACC"] = wrong["signal"]["chest"]["ACC"][:, :2]
    write_wesad(tmp_path / "WESAD.zip", S2=wrong)
    with pytest.raises(ValueError, match=r"S2.pkl: chest ACC has the shape \(2100, 2\)"):
        fetch_wesad(data_home=tmp_path)
    del wrong["signal"]["chest"]["ACC"]
    write_wesad(tmp_path / "WESAD.zip", S2=wrong)
    with pytest.raises(ValueError, match=r"S2.pkl has no signal chest ACC"):
        fetch_wesad(data_home=tmp_path)


class _Command:
    def __reduce__(self):
        return os.mkdir, ("written_by_the_pickle",)


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_wesad(tmp_path / "WESAD.zip", S2={"signal": _Command()})
    with pytest.raises(ValueError, match=r"S2.pkl cannot be read: it names \w+.mkdir, and no"):
        fetch_wesad(data_home=tmp_path)
    assert not (tmp_path / "written_by_the_pickle").exists()


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
        np.arange(4, dtype=">f4"),
        np.zeros((0, 3)),
        np.array([True, False]),
    ],
)
def test_arrays_come_back_as_they_were(protocol, array):
    content = {"signal": {"chest": [array, array]}, "subject": "S2", "n": 3}
    back = read_array_pickle(pickle.dumps(content, protocol), "a.pkl")
    assert (back["subject"], back["n"]) == ("S2", 3)
    for one in back["signal"]["chest"]:
        np.testing.assert_array_equal(one, array)
        assert one.dtype == array.dtype


def test_text_of_python_2_is_read():
    # {'label': array([1, 2], dtype=int32)} as Python 2 wrote it with protocol 2
    data = (
        b"\x80\x02}q\x00U\x05labelcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        b"K\x00\x85U\x01b\x87R(K\x01K\x02\x85cnumpy\ndtype\nU\x02i4K\x00K\x01\x87R(K\x03U\x01<"
        b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08\x01\x00\x00\x00\x02\x00\x00\x00tbs."
    )
    assert read_array_pickle(data, "a.pkl")["label"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.array([{}, None], dtype=object), "an array of type 'O8'; only numbers"),
        (np.array(["2020-01-01"], dtype="M8[D]"), "an array of type 'M8'; only numbers"),
        (io.StringIO("a"), "it names _io.StringIO"),
    ],
)
def test_anything_but_arrays_of_numbers_is_refused(content, message):
    with pytest.raises(ValueError, match=message):
        read_array_pickle(pickle.dumps(content, 2), "a.pkl")


def test_a_damaged_pickle_is_named():
    data = pickle.dumps({"label": np.arange(100)}, 2)
    with pytest.raises(ValueError, match=r"a\.pkl cannot be read as a pickle of arrays"):
        read_array_pickle(data[:-60], "a.pkl")
    shorter = data.replace(b"K\x64\x85", b"K\x63\x85")  # another shape than there are bytes
    assert shorter != data
    with pytest.raises(ValueError, match="with another number of bytes"):
        read_array_pickle(shorter, "a.pkl")
