import io
import zipfile

import numpy as np
import pytest

from mts_fusion.datasets import fetch_pamap2


def protocol(activities, seconds_each=2):
    """A .dat file: 54 columns divided by blanks, 100 Hz, heart rate in every 11th row."""
    rows = []
    for a, activity in enumerate(activities):
        for i in range(100 * seconds_each):
            t = 8.38 + a * seconds_each + i / 100
            heart = "100" if len(rows) % 11 == 0 else "NaN"
            units = [f"{unit}.{c:02d}" for unit in (1, 2, 3) for c in range(17)]
            if len(rows) == 5:  # the wireless hand unit drops a row
                units[:17] = ["NaN"] * 17
            rows.append(" ".join([f"{t:.2f}", str(activity), heart, *units]))
    return "\n".join(rows) + "\n"


def write_pamap2(path, nested=False, **subjects):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for subject, text in subjects.items():
            archive.writestr(f"PAMAP2_Dataset/Protocol/{subject}.dat", text)
        archive.writestr("PAMAP2_Dataset/Optional/subject101.dat", "not for us")
    if nested:  # as the publisher ships it today: a zip in a zip
        inner, buffer = buffer, io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("PAMAP2_Dataset.zip", inner.getvalue())
            archive.writestr("readme.pdf", "")
    path.write_bytes(buffer.getvalue())


@pytest.mark.parametrize(
    ("name", "nested"),
    [("PAMAP2_Dataset.zip", False), ("pamap2+physical+activity+monitoring.zip", True)],
)
def test_units_are_modalities_and_heart_rate_is_irregular(tmp_path, name, nested):
    write_pamap2(tmp_path / name, nested, subject101=protocol([0, 1, 24]))
    pamap2 = fetch_pamap2(data_home=tmp_path, step_seconds=1.0)
    panel = pamap2.data
    assert [(m.name, m.n_channels, m.rate) for m in panel.schema] == [
        ("hand", 17, 100.0),
        ("chest", 17, 100.0),
        ("ankle", 17, 100.0),
        ("heart_rate", 1, None),
    ]
    assert panel.schema["hand"].n_timepoints == 100
    assert [pamap2.target_names[code] for code in pamap2.target] == ["lying"] * 2 + [
        "rope jumping"
    ] * 2
    assert pamap2.groups.tolist() == [101] * 4
    np.testing.assert_allclose(panel.values["chest"][0, :, 0], 2 + np.arange(17) / 100)
    np.testing.assert_allclose(panel.values["ankle"][0, 16], 3.16)
    assert (~np.isnan(panel.times["heart_rate"])).sum(axis=1).tolist() == [9, 9, 9, 9]


def test_what_the_publisher_calls_invalid_can_be_left_out(tmp_path):
    write_pamap2(tmp_path / "PAMAP2_Dataset.zip", subject101=protocol([1]))
    pamap2 = fetch_pamap2(data_home=tmp_path, orientation=False, heart_rate="grid")
    assert pamap2.data.schema["chest"].n_channels == len(pamap2.feature_names["chest"]) == 13
    assert pamap2.data.schema["heart_rate"].rate == 100.0
    assert pamap2.data.observed["heart_rate"].mean() == pytest.approx(1 / 11, abs=0.02)


def test_a_dropped_row_is_missing(tmp_path):
    write_pamap2(tmp_path / "PAMAP2_Dataset.zip", subject101=protocol([1]))
    observed = fetch_pamap2(data_home=tmp_path).data.observed
    assert (~observed["hand"][0]).any(axis=0).nonzero()[0].tolist() == [5]
    assert observed["chest"].all()


def test_some_subjects(tmp_path):
    one = protocol([4])
    write_pamap2(tmp_path / "PAMAP2_Dataset.zip", subject101=one, subject109=one)
    assert set(fetch_pamap2(data_home=tmp_path, subjects=[109]).groups) == {109}
    with pytest.raises(ValueError, match=r"holds the subjects \[101, 109\]; \[102\] is wanted"):
        fetch_pamap2(data_home=tmp_path, subjects=[102])


def test_a_file_with_another_number_of_columns_is_named(tmp_path):
    write_pamap2(tmp_path / "PAMAP2_Dataset.zip", subject101="8.38 1 NaN 3.0\n")
    with pytest.raises(ValueError, match=r"subject101.dat has 4 columns .*; 54 numbers a row"):
        fetch_pamap2(data_home=tmp_path)
