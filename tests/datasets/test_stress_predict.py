import zipfile

import numpy as np
import pytest

from mts_fusion.datasets import fetch_stress_predict

START = 1644227574


def write_stress_predict(
    path,
    root="Stress-Predict-Dataset-main",
    seconds=120,
    subjects=(1, 2, 3),
    label=lambda second: int(second >= 60),
):
    """A zip as the publisher's host packs it, with two minutes a subject."""
    labels = ["Participant,HR,respr,Time(sec),Label"]
    with zipfile.ZipFile(path, "w") as archive:
        for s in subjects:
            folder = f"{root}/Raw_data/S{s:02d}"

            def write(name, rate, rows, folder=folder, n_channels=1, start=START):
                head = [", ".join([f"{start}.000000"] * n_channels)]
                head += [", ".join([f"{rate}.000000"] * n_channels)]
                archive.writestr(f"{folder}/{name}.csv", "\n".join([*head, *rows]) + "\n")

            write("BVP", 64, [f"{i / 64:.6f}" for i in range(64 * seconds)])
            write("ACC", 32, [f"{i % 64},-64,{s}" for i in range(32 * seconds)], n_channels=3)
            write("EDA", 4, ["0.5"] * (4 * seconds))
            write("TEMP", 4, ["33.1"] * (4 * seconds))
            write("HR", 1, ["70.00"] * (seconds - 10), start=START + 10)
            archive.writestr(
                f"{folder}/IBI.csv", f"{START}.000000, IBI\n5.5,0.8\n6.25,0.75\n70.0,0.9\n"
            )
            archive.writestr(f"{folder}/tags_S{s:02d}.csv", f"{START + 60}\n")
            if s > 1:  # participant 1 has no labels
                labels += [
                    f"{s},{'' if i == 10 else 70},14.1,{START + i},{label(i)}"
                    for i in range(10, seconds)
                ]
        archive.writestr(
            f"{root}/Processed_data/Improved_All_Combined_hr_rsp_binary.csv",
            "\r\n".join(labels) + "\r\n",
        )
    return path


def test_each_signal_keeps_its_rate(tmp_path):
    write_stress_predict(tmp_path / "Stress-Predict-Dataset-main.zip")
    stress = fetch_stress_predict(data_home=tmp_path, window_seconds=30, step_seconds=30)
    assert [(m.name, m.rate, m.n_timepoints) for m in stress.data.schema] == [
        ("bvp", 64.0, 1920),
        ("acc", 32.0, 960),
        ("eda", 4.0, 120),
        ("temp", 4.0, 120),
        ("hr", 1.0, 30),
    ]
    assert stress.target.tolist() == [0, 0, 1, 1] * 2
    assert stress.groups.tolist() == [2] * 4 + [3] * 4
    np.testing.assert_allclose(stress.data.values["bvp"][1, 0], 30 + np.arange(1920) / 64)
    np.testing.assert_allclose(stress.data.values["acc"][0, 1], -1.0)  # in g
    assert np.isnan(stress.data.values["hr"][0, 0]).sum() == 10


def test_intervals_between_beats_are_irregular(tmp_path):
    write_stress_predict(tmp_path / "stress_predict_few.zip", root="Stress-Predict-Dataset")
    stress = fetch_stress_predict(
        data_home=tmp_path, window_seconds=60, step_seconds=None, modalities=["bvp", "ibi"]
    )
    np.testing.assert_allclose(stress.data.times["ibi"][:2], [[5.5, 6.25], [10.0, np.nan]])
    np.testing.assert_allclose(stress.data.values["ibi"][0, 0], [0.8, 0.75])


def test_a_subject_without_labels_is_an_error_when_asked_for(tmp_path):
    write_stress_predict(tmp_path / "stress_predict_few.zip")
    with pytest.raises(ValueError, match=r"the labelled subjects \[2, 3\]; \[1\] is wanted"):
        fetch_stress_predict(data_home=tmp_path, subjects=[1, 2])


def test_an_empty_label_is_none(tmp_path):
    write_stress_predict(
        tmp_path / "stress_predict_few.zip",
        subjects=(2,),
        label=lambda second: "" if second < 30 or second == 70 else int(second >= 60),
    )
    stress = fetch_stress_predict(data_home=tmp_path, window_seconds=30, step_seconds=None)
    assert stress.target.tolist() == [0, 1, 1]  # the first window has no label
    assert stress.target.dtype == np.int64
    assert "21 seconds here have no label" in stress.DESCR


def test_without_empty_labels_nothing_is_said_of_them(tmp_path):
    write_stress_predict(tmp_path / "stress_predict_few.zip")
    assert "no label" not in fetch_stress_predict(data_home=tmp_path).DESCR


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (2, r"binary.csv, line 2: a participant, .* label of 0, 1 or nothing .* and 2"),
        ("calm", r"binary.csv, line 2: 5 numbers are wanted, got 'calm'"),
        ("1,1", r"binary.csv, line 2: 5 numbers are wanted, got 6"),
    ],
)
def test_a_damaged_label_is_named(tmp_path, label, message):
    write_stress_predict(
        tmp_path / "stress_predict_few.zip", subjects=(2,), label=lambda second: label
    )
    with pytest.raises(ValueError, match=message):
        fetch_stress_predict(data_home=tmp_path)


def test_an_unknown_signal_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"modalities has \['ecg'\]; the signals are \['bvp'"):
        fetch_stress_predict(data_home=tmp_path, modalities=["ecg"])


@pytest.mark.slow
def test_the_real_files(real_data):
    stress = real_data(fetch_stress_predict, subjects=[2, 3])
    assert np.unique(stress.groups).tolist() == [2, 3]
    assert 0.2 < stress.target.mean() < 0.5
    assert stress.data.observed["bvp"].mean() > 0.99
    assert np.nanmedian(stress.data.values["temp"]) == pytest.approx(33, abs=4)
    moved = np.linalg.norm(stress.data.values["acc"], axis=1)
    assert np.nanmedian(moved) == pytest.approx(1, abs=0.1)  # gravity


def test_empty_files_are_silent_and_a_byte_order_mark_is_no_number(tmp_path):
    write_stress_predict(tmp_path / "whole.zip")
    with (
        zipfile.ZipFile(tmp_path / "whole.zip") as whole,
        zipfile.ZipFile(tmp_path / "stress_predict.zip", "w") as damaged,
    ):
        for name in whole.namelist():
            content = whole.read(name)
            if name.endswith("S02/EDA.csv"):
                content = b""
            if name.endswith(("S02/TEMP.csv", "S02/ACC.csv")):
                content = b"\xef\xbb\xbf" + content
            damaged.writestr(name, content)

    (tmp_path / "whole.zip").unlink()
    bunch = fetch_stress_predict(data_home=tmp_path, subjects=[2], download=False)

    assert bunch.data.schema.names == ("bvp", "acc", "eda", "temp", "hr")
    assert bunch.data.available[:, [0, 1, 3, 4]].all()
    assert not bunch.data.available[:, 2].any()
    assert bunch.data.schema["acc"].channels == ("x", "y", "z")
