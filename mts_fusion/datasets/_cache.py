"""Files of public data sets: where they are stored, how they are read, and their download."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Archive", "RemoteFile", "cached_arrays", "find_file", "get_data_home", "numbers"]

_ENVIRONMENT = "MTS_FUSION_DATA"


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
        If ``path`` is neither.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: dict[str, Callable[[], bytes]] = {}
        if path.is_dir():
            for file in sorted(p for p in path.rglob("*") if p.is_file()):
                self._read[file.relative_to(path).as_posix()] = file.read_bytes
        elif zipfile.is_zipfile(path):
            self._open(zipfile.ZipFile(path))
        else:
            raise ValueError(
                f"{path} is neither a zip file nor a folder. It may be cut short: remove it and "
                "download it again."
            )

    def _open(self, archive: zipfile.ZipFile) -> None:
        for info in archive.infolist():
            if info.filename.endswith(".zip"):  # a publisher's zip in the repository's zip
                self._open(zipfile.ZipFile(BytesIO(archive.read(info))))
            elif not info.is_dir():
                self._read[info.filename] = lambda info=info: archive.read(info)  # type: ignore[misc]

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
        """
        return self._read[name]()


def numbers(
    text: bytes, n_columns: int, what: str, *, first_line: int | None = None
) -> NDArray[np.float64]:
    """Table of numbers of shape ``(rows, n_columns)``, parsed in one step.

    Parameters
    ----------
    text : bytes
        Rows of numbers divided by commas or blanks; ``NaN`` and, between commas, nothing are NaN.
    n_columns : int
        Columns of the table.
    what : str
        Name of the file, for the message.
    first_line : int or None, default=None
        Line of the file in which the text begins. If given, every row is counted, not only the
        first and all together, and the message names the line that is damaged.

    Returns
    -------
    ndarray of shape (rows, n_columns)
        The numbers.

    Raises
    ------
    ValueError
        If there is something else than numbers, or another number of columns.

    Examples
    --------
    >>> numbers(b"1,2\\n,NaN\\n", 2, "a.csv")
    array([[ 1.,  2.],
           [nan, nan]])
    """
    rows = re.sub(rb"\s*\n\s*", b"\n", text.strip()) if b"\n\n" in text else text.strip()
    if b",," in rows or b",\n" in rows or b"\n," in rows:  # empty fields, which have no number
        rows = re.sub(rb"(?m)(?<=,)(?=[,\r\n]|\Z)|^(?=,)", b"NaN", rows)
    n_rows = rows.count(b"\n") + bool(rows)
    rows = rows.replace(b",", b" ")
    first = rows.split(b"\n", 1)[0].split()
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            # numpy warns, and later raises, where it meets something that is no number
            table = np.fromstring(rows.decode("ascii", "replace"), sep=" ")
        except (ValueError, DeprecationWarning):
            table = np.empty(0)
    whole = len(first) == n_columns and table.size == n_rows * n_columns
    if first_line is not None and not (whole and (_fields(rows) == n_columns).all()):
        _name_the_damaged_line(text, n_columns, what, first_line)
    if not whole:
        raise ValueError(
            f"{what} has {len(first)} columns in its first and {table.size} numbers in {n_rows} "
            f"rows; {n_columns} numbers a row are wanted. The file may be damaged."
        )
    return table.reshape(n_rows, n_columns)


def _fields(rows: bytes) -> NDArray[np.intp]:
    """Fields of each row of a text in which blanks divide them."""
    signs = np.frombuffer(rows, dtype=np.uint8)
    is_text = signs > ord(" ")
    begins = is_text & ~np.concatenate([[False], is_text[:-1]])
    ends = np.flatnonzero(signs == ord("\n"))
    return np.diff(np.cumsum(begins)[ends], prepend=0, append=int(begins.sum()))


def _name_the_damaged_line(text: bytes, n_columns: int, what: str, first_line: int) -> None:
    for line, row in enumerate(text.splitlines(), start=first_line):
        fields = row.split(b",") if b"," in row else row.split()
        if row.strip() and len(fields) != n_columns:
            raise ValueError(
                f"{what}, line {line}: {n_columns} numbers are wanted, got {len(fields)}. The file "
                "may be damaged."
            )
        for field in fields:
            try:
                float(field.strip().replace(b"_", b"?") or b"nan")  # float takes 1_000
            except ValueError:
                raise ValueError(
                    f"{what}, line {line}: {n_columns} numbers are wanted, got "
                    f"{field.decode('utf-8', 'replace')!r}. The file may be damaged."
                ) from None


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
    """
    if not cache:
        return dict(build())
    stamps = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in sources]
    key = hashlib.sha256(repr((name, stamps)).encode()).hexdigest()[:16]
    home = home.parent if home.is_file() else home
    path = home / f"{re.sub('[^A-Za-z0-9]+', '-', name)}-{key}.npz"
    if path.exists():
        with np.load(path) as kept:
            return {key: kept[key] for key in kept.files}
    arrays = dict(build())
    # Whole or not at all, also when interrupted or when two processes write.
    with tempfile.NamedTemporaryFile(dir=home, suffix=".npz", delete=False) as file:
        try:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        except BaseException:
            file.close()
            os.unlink(file.name)
            raise
    os.replace(file.name, path)
    return arrays
