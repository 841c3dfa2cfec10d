import zipfile

import numpy as np
import pytest

from mts_fusion.datasets import fetch_dsads


def write_dsads(path, subjects=(1, 2), n_activities=2, n_segments=2, damage=None):
    """A zip as the publisher ships it, with fewer files; row i holds 100 * segment + i."""
    with zipfile.ZipFile(path, "w") as archive:
        for a in range(1, n_activities + 1):
            for p in subjects:
                for s in range(1, n_segments + 1):
                    name = f"data/a{a:02d}/p{p}/s{s:02d}.txt"
                    rows = [",".join(f"{a}.{c:02d}{i:03d}" for c in range(45)) for i in range(125)]
                    if name == damage:
                        rows = rows[:100]
                    archive.writestr(name, "\n".join(rows) + "\n")
    return path


def test_positions_are_modalities_in_the_publishers_order_of_columns(tmp_path):
    write_dsads(tmp_path / "dsads_small.zip")
    dsads = fetch_dsads(data_home=tmp_path)
    assert dsads.data.schema.names == ("torso", "right_arm", "left_arm", "right_leg", "left_leg")
    assert [(m.n_channels, m.n_timepoints, m.rate) for m in dsads.data.schema] == [(9, 125, 25)] * 5
    assert dsads.target.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert dsads.groups.tolist() == [1, 1, 2, 2, 1, 1, 2, 2]
    # second activity, right leg, first axis of the gyroscope: column 27 + 3; timepoint 7
    np.testing.assert_allclose(dsads.data.values["right_leg"][4, 3, 7], 2.30007)
    assert dsads.feature_names["right_leg"][3] == "gyro_x"
    assert len(dsads.target_names) == 19


def test_sensors_are_modalities_on_request(tmp_path):
    write_dsads(tmp_path / "dsads_small.zip")
    dsads = fetch_dsads(data_home=tmp_path, modalities="sensor")
    assert dsads.data.shape == (8, 15)
    np.testing.assert_allclose(dsads.data.values["right_leg_gyro"][4, 0, 7], 2.30007)
    assert dsads.feature_names["right_leg_gyro"] == ["gyro_x", "gyro_y", "gyro_z"]


def test_some_subjects(tmp_path):
    write_dsads(tmp_path / "dsads_small.zip")
    assert set(fetch_dsads(data_home=tmp_path, subjects=[2]).groups) == {2}
    with pytest.raises(ValueError, match=r"holds the subjects \[1, 2\]; \[5\] is wanted"):
        fetch_dsads(data_home=tmp_path, subjects=[1, 5])


def test_the_cache_gives_the_same(tmp_path):
    write_dsads(tmp_path / "dsads_small.zip")
    first, again = (fetch_dsads(data_home=tmp_path, cache=True) for _ in range(2))
    np.testing.assert_array_equal(first.data.values["torso"], again.data.values["torso"])
    assert len(list(tmp_path.glob("dsads-all-*.npz"))) == 1


def test_a_damaged_segment_is_named(tmp_path):
    write_dsads(tmp_path / "dsads_small.zip", damage="data/a02/p1/s02.txt")
    with pytest.raises(ValueError, match=r"data/a02/p1/s02.txt has 100 rows; 125 are wanted"):
        fetch_dsads(data_home=tmp_path)


def test_unknown_modalities_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="modalities is 'position' or 'sensor', got 'limb'"):
        fetch_dsads(data_home=tmp_path, modalities="limb")


@pytest.mark.slow
def test_the_real_files(real_data):
    dsads = real_data(fetch_dsads)
    subjects = np.unique(dsads.groups)
    assert len(dsads.data) == 19 * 60 * len(subjects)
    assert np.bincount(dsads.target).tolist() == [60 * len(subjects)] * 19
    for name in dsads.data.schema.names:
        assert dsads.data.observed[name].all()
    # who sits feels gravity and nothing else
    still = dsads.data.values["torso"][dsads.target == 0][:, :3]
    gravity = np.linalg.norm(still, axis=1).mean()
    assert gravity == pytest.approx(9.8, abs=0.3)
