import os
import re
import sys
import types
import zipfile

import numpy as np
import pytest

from mts_fusion.datasets import _cache, fetch_dsads, get_data_home
from mts_fusion.datasets._cache import Archive, RemoteFile, cached_arrays, find_file

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


def _cached(home, build=lambda: {"x": np.ones(1)}):
    source = home / "source"
    source.write_text("1")
    os.utime(source, (1e9, 1e9))
    return cached_arrays(build, [source], home=home, name="x", cache=True)


def test_a_damaged_cache_is_built_again(tmp_path):
    _cached(tmp_path)
    (path,) = tmp_path.glob("*.npz")
    whole = path.read_bytes()
    for damaged in (whole[:-30], b"", whole[:40] + b"\xff" * 60 + whole[100:]):
        path.write_bytes(damaged)
        with pytest.warns(UserWarning, match=r"is damaged .* and is built again"):
            assert _cached(tmp_path)["x"].tolist() == [1]
        assert path.read_bytes() == whole


def test_a_cache_that_may_not_be_read_is_skipped_with_the_reason(tmp_path, monkeypatch):
    _cached(tmp_path)
    (path,) = tmp_path.glob("*.npz")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(_cache.np, "load", refuse)
    monkeypatch.setattr(_cache.os, "replace", refuse)
    with pytest.warns(UserWarning, match=r"^The cache") as caught:
        assert _cached(tmp_path)["x"].tolist() == [1]
    assert [re.search("cannot be [a-z]+", str(one.message))[0] for one in caught] == [
        "cannot be read",
        "cannot be written",
    ]
    assert {p.name for p in tmp_path.iterdir()} == {"source", path.name}


def test_a_cache_can_be_read_by_other_users(tmp_path):
    before = os.umask(0o022)
    try:
        _cached(tmp_path)
    finally:
        os.umask(before)
    (path,) = tmp_path.glob("*.npz")
    assert path.stat().st_mode & 0o777 == 0o644


def test_what_a_killed_process_left_is_removed_when_nobody_writes_it(tmp_path):
    _cached(tmp_path)
    (path,) = tmp_path.glob("*.npz")
    path.unlink()
    old, new = tmp_path / f"{path.stem}-1.part", tmp_path / f"{path.stem}-2.part"
    for part in (old, new):
        part.write_bytes(b"")
    os.utime(old, (1e9, 1e9))
    _cached(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"source", path.name, new.name}


def test_zips_within_zips_have_a_depth(tmp_path):
    content = b"1"
    for depth in range(5):
        name = "b1.txt" if depth == 0 else "inner.zip"
        content = make_zip(tmp_path / "outer.zip", {name: content}).read_bytes()
        if depth < 3:
            assert len(Archive(tmp_path / "outer.zip").match(r"b1\.txt")) == 1
    with pytest.raises(ValueError, match=r"holds 'inner.zip': .* a depth of 3"):
        Archive(tmp_path / "outer.zip")


def test_large_members_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(_cache, "_MAX_MEMBER_BYTES", 1000)
    monkeypatch.setattr(_cache, "_MAX_NESTED_BYTES", 500)
    archive = Archive(make_zip(tmp_path / "a.zip", {"b1.txt": b"0" * 1001}))
    with pytest.raises(ValueError, match=r"'b1.txt' has 1,001 bytes, at most 1,000 are read"):
        archive.read("b1.txt")
    inner = make_zip(tmp_path / "inner.zip", {"b1.txt": b"1" * 200}).read_bytes()
    many = make_zip(tmp_path / "many.zip", {f"{i}.zip": inner for i in range(9)})
    with pytest.raises(ValueError, match=r"zips within zips are read to .* 500 bytes"):
        Archive(many)


def test_a_damaged_member_is_named(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"b1.txt": b"0123456789"})
    path.write_bytes(path.read_bytes().replace(b"0123456789", b"0123456780"))
    with pytest.raises(ValueError, match=r"'b1.txt' is damaged or encrypted .*Bad CRC"):
        Archive(path).read("b1.txt")
    path = make_zip(tmp_path / "c.zip", {"inner.zip": b"no zip"})
    with pytest.raises(ValueError, match=r"'inner.zip' in it is no zip file"):
        Archive(path)
