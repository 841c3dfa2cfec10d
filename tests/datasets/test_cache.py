import os
import sys
import types
import zipfile

import numpy as np
import pytest

from mts_fusion.datasets import _cache, fetch_dsads, get_data_home
from mts_fusion.datasets._cache import Archive, RemoteFile, cached_arrays, find_file, numbers

FILE = RemoteFile("set.zip", "https://example.org/set.zip", patterns=("part*.zip",))


def make_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def pooch(monkeypatch):
    """A pooch that writes what the test says instead of asking the network."""
    module = types.ModuleType("pooch")
    monkeypatch.setitem(sys.modules, "pooch", module)
    return module


def test_data_home_comes_from_the_caller_then_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("MTS_FUSION_DATA", str(tmp_path / "a"))
    assert get_data_home() == tmp_path / "a"
    assert get_data_home(tmp_path / "b") == tmp_path / "b"
    assert not list(tmp_path.iterdir())


def test_without_a_folder_nothing_is_made_up(monkeypatch):
    monkeypatch.delenv("MTS_FUSION_DATA", raising=False)
    with pytest.raises(ValueError, match=r"Pass data_home=PATH.*or set .* MTS_FUSION_DATA"):
        fetch_dsads()


def test_a_file_is_found_by_its_name_by_a_pattern_or_as_itself(tmp_path):
    part = make_zip(tmp_path / "part-1.zip", {"a.txt": "1"})
    assert find_file("fetch", FILE, tmp_path) == part
    assert find_file("fetch", FILE, part) == part
    whole = make_zip(tmp_path / "set.zip", {"a.txt": "1"})
    assert find_file("fetch", FILE, tmp_path) == whole


def test_several_copies_are_an_error(tmp_path):
    make_zip(tmp_path / "part-1.zip", {})
    make_zip(tmp_path / "part-2.zip", {})
    with pytest.raises(ValueError, match=r"found several copies of 'set.zip'.*part-1.zip"):
        find_file("fetch", FILE, tmp_path)


def test_offline_says_which_file_to_put_where(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        find_file("fetch", FILE, tmp_path, download=False)
    assert str(error.value) == (
        f"fetch found no 'set.zip' in {tmp_path}. Download https://example.org/set.zip and put it "
        f"into {tmp_path} as 'set.zip' (or as 'part*.zip')."
    )


def test_without_network_the_same_is_said(tmp_path, pooch):
    def retrieve(*args, **kwargs):
        raise ConnectionError("no route")

    pooch.retrieve = retrieve
    with pytest.raises(FileNotFoundError, match=r"could not download it \(ConnectionError: no rou"):
        find_file("fetch", FILE, tmp_path)


def test_without_pooch_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(
        ImportError, match=r"pip install 'mts-fusion\[datasets\]'. Or do it by hand"
    ):
        find_file("fetch", FILE, tmp_path)


def test_a_download_is_kept_under_the_publishers_name(tmp_path, pooch):
    asked = []

    def retrieve(url, checksum, fname, path):
        asked.append((url, checksum))
        return make_zip(path / fname, {"a.txt": "1"})

    pooch.retrieve = retrieve
    home = tmp_path / "new"
    with_checksum = RemoteFile("set.zip", FILE.url, sha256="ab")
    assert find_file("fetch", with_checksum, home) == home / "set.zip"
    assert find_file("fetch", with_checksum, home) == home / "set.zip"
    assert asked == [(FILE.url, "sha256:ab")]


def test_a_page_of_text_instead_of_a_zip_is_removed(tmp_path, pooch):
    def retrieve(url, checksum, fname, path):
        (path / fname).write_text("<html>please log in</html>")
        return path / fname

    pooch.retrieve = retrieve
    with pytest.raises(FileNotFoundError, match="did not send a zip file"):
        find_file("fetch", FILE, tmp_path)
    assert not list(tmp_path.iterdir())


def test_archives_are_zips_zips_in_zips_and_folders(tmp_path):
    inner = make_zip(tmp_path / "inner.zip", {"data/b7.txt": "inner"}).read_bytes()
    outer = make_zip(tmp_path / "outer.zip", {"x/b1.txt": "outer", "inner.zip": inner})
    archive = Archive(outer)
    files = archive.match(r"b(\d)\.txt")
    assert [archive.read(name) for name in files.values()] == [b"outer", b"inner"]
    (tmp_path / "folder" / "x").mkdir(parents=True)
    (tmp_path / "folder" / "x" / "b1.txt").write_text("folder")
    archive = Archive(tmp_path / "folder")
    assert archive.read(archive.match(r"b(\d)\.txt")["1",]) == b"folder"


def test_a_cut_zip_is_named(tmp_path):
    (tmp_path / "set.zip").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(ValueError, match=r"set.zip is neither a zip file nor a folder"):
        Archive(tmp_path / "set.zip")


@pytest.mark.parametrize("text", [b"1,2\n3,4\n", b"1,2\r\n3,4", b"1 2\n\n3 4\n\n"])
def test_numbers_are_read_whatever_ends_a_line(text):
    np.testing.assert_array_equal(numbers(text, 2, "a"), [[1, 2], [3, 4]])


def test_empty_fields_are_nan():
    np.testing.assert_array_equal(
        numbers(b"1,,3\n,5,\n", 3, "a"), [[1, np.nan, 3], [np.nan, 5, np.nan]]
    )


@pytest.mark.parametrize("text", [b"1,2\n3,x\n", b"1,2\n3\n", b"1,2,3\n4,5,6\n", b""])
def test_what_is_no_table_of_numbers_is_named(text):
    with pytest.raises(ValueError, match=r"a.csv has .*; 2 numbers a row are wanted"):
        numbers(text, 2, "a.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"1,2\n\n3,x\n", "a.csv, line 7: 2 numbers are wanted, got 'x'"),
        (b"1,2\n3\n4,5,6\n", "a.csv, line 6: 2 numbers are wanted, got 1"),
        (b"1 2\n3 4\n5", "a.csv, line 7: 2 numbers are wanted, got 1"),
    ],
)
def test_the_damaged_line_is_named_where_lines_are_counted(text, message):
    with pytest.raises(ValueError, match=message):
        numbers(text, 2, "a.csv", first_line=5)


def test_the_cache_is_used_until_its_source_changes(tmp_path):
    source = tmp_path / "source"
    source.write_text("1")
    built = []

    def build():
        built.append(1)
        return {"x": np.arange(len(source.read_text()))}

    for _ in range(2):
        arrays = cached_arrays(build, [source], home=tmp_path, name="x", cache=True)
    assert len(built) == 1
    assert arrays["x"].tolist() == [0]
    source.write_text("12")
    arrays = cached_arrays(build, [source], home=tmp_path, name="x", cache=True)
    assert arrays["x"].tolist() == [0, 1]


def test_a_newer_source_of_the_same_size_is_read_again(tmp_path):
    source = tmp_path / "source"
    source.write_text("1")

    def build():
        return {"x": np.array(float(source.read_text()))}

    cached_arrays(build, [source], home=tmp_path, name="x", cache=True)
    source.write_text("2")
    os.utime(source, (2e9, 2e9))
    arrays = cached_arrays(build, [source], home=tmp_path, name="x", cache=True)
    assert arrays["x"] == 2


def test_without_asking_nothing_is_written(tmp_path):
    source = tmp_path / "source"
    source.write_text("1")
    cached_arrays(lambda: {"x": np.ones(1)}, [source], home=tmp_path, name="x", cache=False)
    assert list(tmp_path.iterdir()) == [source]


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.write_text("1")

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(_cache.np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cached_arrays(lambda: {"x": np.ones(1)}, [source], home=tmp_path, name="x", cache=True)
    assert list(tmp_path.iterdir()) == [source]
