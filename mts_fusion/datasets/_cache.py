"""Files of public data sets: where they are stored, how they are read, and their download."""

from __future__ import annotations

import hashlib
import os
import re
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..panel._arguments import check_types

__all__ = ["Archive", "RemoteFile", "cached_arrays", "find_file", "get_data_home"]

_ENVIRONMENT = "MTS_FUSION_DATA"

# What an archive may hold at most: bytes of a member, bytes of all zips in it, zips within zips.
_MAX_MEMBER_BYTES = 4 * 2**30
_MAX_NESTED_BYTES = 4 * 2**30
_MAX_DEPTH = 3

# After so long nobody writes a file any more.
_ABANDONED_SECONDS = 3600.0


@dataclass(frozen=True)
class RemoteFile:
    """A file of a publisher.

    Parameters
    ----------
    name : str
        The name under which the publisher ships it and under which it is kept.
    url : str
        The publisher's address.
    patterns : tuple of str, default=()
        Other names, as glob patterns, under which a copy (or a part of it) is accepted.
    sha256 : str or None, default=None
        Checksum of the publisher's file. None where none is known: then a download is only
        tested for being whole, and the loader checks the structure of what it reads.
    """

    name: str
    url: str
    patterns: tuple[str, ...] = ()
    sha256: str | None = None


def get_data_home(data_home: str | os.PathLike[str] | None = None) -> Path:
    """Folder in which the files of public data sets lie.

    Parameters
    ----------
    data_home : path or None, default=None
        The folder. None means the environment variable ``MTS_FUSION_DATA``. There is no default
        beyond it: no folder is made up and nothing is written to the home folder.

    Returns
    -------
    Path
        The folder; it need not exist yet.

    Raises
    ------
    ValueError
        If neither ``data_home`` nor ``MTS_FUSION_DATA`` is given.

    Examples
    --------
    >>> get_data_home("data").name
    'data'
    """
    check_types(get_data_home, locals())
    if data_home is None:
        data_home = os.environ.get(_ENVIRONMENT) or None
    if data_home is None:
        raise ValueError(
            "Where are the data sets? Pass data_home=PATH, the folder in which they lie or into "
            f"which they may be downloaded, or set the environment variable {_ENVIRONMENT}."
        )
    return Path(data_home).expanduser()


def find_file(
    loader: str,
    file: RemoteFile,
    data_home: str | os.PathLike[str] | None,
    *,
    download: bool = True,
) -> Path:
    """Path of a publisher's file in ``data_home``, downloaded if it is missing.

    A file (or an unpacked folder) found under the publisher's name or another accepted one is
    taken as it is; only downloads are checked, as a copy may hold a part of the subjects.

    Parameters
    ----------
    loader : str
        Name of the calling function, for the messages.
    file : RemoteFile
        What is wanted.
    data_home : path or None
        The folder; see :func:`get_data_home`. May also be the file itself.
    download : bool, default=True
        Whether the network may be asked.

    Returns
    -------
    Path
        Of a file or folder.

    Raises
    ------
    FileNotFoundError
        If the file is missing and cannot be downloaded; the message says where to put which file.
    ImportError
        If it has to be downloaded and pooch is not installed.
    ValueError
        If there are several copies, or ``data_home`` is not given.
    """
    home = get_data_home(data_home)
    if home.is_file():
        return home
    unpacked = home / Path(file.name).stem
    for path in (home / file.name, unpacked):
        if path.exists():
            return path
    paths = sorted({path for pattern in file.patterns for path in home.glob(pattern)})
    if len(paths) > 1:
        raise ValueError(
            f"{loader} found several copies of {file.name!r} in {home}: "
            f"{[path.name for path in paths]}. Pass data_home=PATH of the one to read."
        )
    if paths:
        return paths[0]
    by_hand = (
        f"Download {file.url} and put it into {home} as {file.name!r}"
        + (f" (or as {' or '.join(map(repr, file.patterns))})" if file.patterns else "")
        + "."
    )
    if not download:
        raise FileNotFoundError(f"{loader} found no {file.name!r} in {home}. {by_hand}")
    return _download(loader, file, home, by_hand)


def _download(loader: str, file: RemoteFile, home: Path, by_hand: str) -> Path:
    """The only function of the library that reaches the network."""
    try:
        import pooch
    except ImportError:
        raise ImportError(
            f"{loader} found no {file.name!r} in {home} and requires pooch to download it: "
            f"pip install 'mts-fusion[datasets]'. Or do it by hand: {by_hand}"
        ) from None
    checksum = f"sha256:{file.sha256}" if file.sha256 else None
    try:
        home.mkdir(parents=True, exist_ok=True)
        path = Path(pooch.retrieve(file.url, checksum, fname=file.name, path=home))
    except (OSError, ValueError) as error:  # no network, refused, or a wrong checksum
        raise FileNotFoundError(
            f"{loader} found no {file.name!r} in {home} and could not download it "
            f"({type(error).__name__}: {error}). {by_hand}"
        ) from error
    if path.suffix == ".zip" and not zipfile.is_zipfile(path):
        path.unlink()
        raise FileNotFoundError(f"{loader}: {file.url} did not send a zip file. {by_hand}")
    return path


class Archive:
    """Files of a zip, of zips within it, or of a folder, by their path.

    Parameters
    ----------
    path : Path
        A zip file or a folder.

    Raises
    ------
    ValueError
        If ``path`` is neither, or holds zips deeper or larger than those of any data set.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: dict[str, Callable[[], bytes]] = {}
        if path.is_dir():
            for file in sorted(p for p in path.rglob("*") if p.is_file()):
                self._read[file.relative_to(path).as_posix()] = file.read_bytes
        elif zipfile.is_zipfile(path):
            self._nested_bytes = 0
            self._open(zipfile.ZipFile(path), depth=1)
        else:
            raise ValueError(
                f"{path} is neither a zip file nor a folder. It may be cut short: remove it and "
                "download it again."
            )

    def _open(self, archive: zipfile.ZipFile, depth: int) -> None:
        for info in archive.infolist():
            if info.filename.endswith(".zip"):  # a publisher's zip in the repository's zip
                self._nested_bytes += info.file_size
                if depth == _MAX_DEPTH or self._nested_bytes > _MAX_NESTED_BYTES:
                    raise ValueError(
                        f"{self.path} holds {info.filename!r}: zips within zips are read to a "
                        f"depth of {_MAX_DEPTH} and {_MAX_NESTED_BYTES:,} bytes. Unpack it into a "
                        "folder."
                    )
                content = self._member(archive, info)
                if not zipfile.is_zipfile(BytesIO(content)):
                    raise ValueError(f"{self.path}: {info.filename!r} in it is no zip file.")
                self._open(zipfile.ZipFile(BytesIO(content)), depth + 1)
            elif not info.is_dir():
                self._read[info.filename] = lambda info=info: self._member(archive, info)  # type: ignore[misc]

    def _member(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
        if info.file_size > _MAX_MEMBER_BYTES:
            raise ValueError(
                f"{self.path}: {info.filename!r} has {info.file_size:,} bytes, at most "
                f"{_MAX_MEMBER_BYTES:,} are read. Unpack it into a folder."
            )
        try:
            return archive.read(info)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise ValueError(
                f"{self.path}: {info.filename!r} is damaged or encrypted ({error}). Download it "
                "again."
            ) from error

    def match(self, pattern: str) -> dict[tuple[str, ...], str]:
        """Names of the files whose path ends with a pattern, by the groups of the pattern.

        Parameters
        ----------
        pattern : str
            Regular expression for the end of a path.

        Returns
        -------
        dict of tuple of str to str
            Groups of the pattern to name, in the order of the groups.
        """
        regex = re.compile(rf"(?:^|.*/){pattern}$")
        names = {m.groups(): name for name in self._read if (m := regex.match(name))}
        return dict(sorted(names.items()))

    def read(self, name: str) -> bytes:
        """Content of one file.

        Parameters
        ----------
        name : str
            A name that :meth:`match` gave.

        Returns
        -------
        bytes
            All of it.

        Raises
        ------
        ValueError
            If it is damaged, encrypted, or larger than 4 GiB.
        """
        return self._read[name]()


def cached_arrays(
    build: Callable[[], Mapping[str, NDArray[Any]]],
    sources: Sequence[Path],
    *,
    home: Path,
    name: str,
    cache: bool,
) -> dict[str, NDArray[Any]]:
    """Arrays that are slow to parse, kept beside their source if this is asked for.

    Parameters
    ----------
    build : callable
        Parses; called if there is nothing in the cache.
    sources : sequence of Path
        The files it reads. Another size or time of one of them makes the cache stale.
    home : Path
        The folder that gets ``name-HASH.npz``.
    name : str
        What is cached, with all options that change it.
    cache : bool
        Whether to keep and use the cache; False touches no file.

    Returns
    -------
    dict of str to ndarray
        What ``build`` gives.

    Warns
    -----
    UserWarning
        If the cache is damaged, or may not be read or written; then ``build`` is called.
    """
    if not cache:
        return dict(build())
    stamps = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in sources]
    key = hashlib.sha256(repr((name, stamps)).encode()).hexdigest()[:16]
    home = home.parent if home.is_file() else home
    path = home / f"{re.sub('[^A-Za-z0-9]+', '-', name)}-{key}.npz"
    kept = _read_cache(path)
    if kept is None:
        kept = dict(build())
        _write_cache(path, kept)
    return kept


def _read_cache(path: Path) -> dict[str, NDArray[Any]] | None:
    """The arrays of a cache; None where there is none that can be used."""
    if not path.exists():
        return None
    try:
        with np.load(path) as kept:
            return {key: kept[key] for key in kept.files}
    except PermissionError as error:
        warnings.warn(
            f"The cache {path} cannot be read ({error}), so its source is read again.",
            UserWarning,
            stacklevel=4,
        )
    except (OSError, ValueError, EOFError, KeyError, zlib.error, zipfile.BadZipFile) as error:
        warnings.warn(
            f"The cache {path} is damaged ({error}) and is built again.", UserWarning, stacklevel=4
        )
    return None


def _write_cache(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a cache, whole or not at all, also when interrupted or when two processes write."""
    part = path.with_name(f"{path.stem}-{os.getpid()}.part")
    try:
        for left in path.parent.glob(f"{path.stem}-*.part"):  # of a process that was killed
            if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
                left.unlink(missing_ok=True)
        try:
            with part.open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:  # a folder of another user, a full disk
        warnings.warn(
            f"The cache {path} cannot be written ({error}). Use cache=False, or a data_home that "
            "can be written.",
            UserWarning,
            stacklevel=4,
        )
