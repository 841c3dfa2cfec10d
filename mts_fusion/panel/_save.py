"""Panels written into a folder, piece by piece."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ._arguments import check_types
from ._panel import Panel
from ._schema import Modality
from ._stored import FORMAT, HEADER, PART_BYTES, StoredPanel, loaded_parts, open_panel

__all__ = ["save_panels"]


def save_panels(panels: Iterable[Panel], folder: str | PathLike[str]) -> StoredPanel:
    """Write panels of one schema into a folder, one after another, as one panel.

    Only one of them has to be in memory at a time: give a generator.

    Parameters
    ----------
    panels : iterable of Panel, or Panel
        Of one schema, such as those that :func:`segment` makes of each recording. Modalities with
        times may differ in length; shorter ones are padded.
    folder : path
        New, or empty.

    Returns
    -------
    Panel
        What :meth:`Panel.open` gives of the folder.

    Raises
    ------
    FileExistsError
        If the folder has something in it.
    ValueError
        If there is no panel; if schemas differ, or only some panels have ids or masks of their
        own, or the lengths of a modality with a regular clock differ.

    Examples
    --------
    >>> import tempfile
    >>> pieces = (Panel({"acc": np.full((4, 3, 50), i)}, rates={"acc": 25.0}) for i in range(3))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     panel = save_panels(pieces, folder)
    ...     panel.shape, panel[[0, 11]].values["acc"][:, 0, 0].tolist()
    ((12, 1), [0.0, 2.0])
    """
    check_types(save_panels, locals())
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty. Give a new folder, or empty this one.")
    writer: _Writer | None = None
    for panel in [panels] if isinstance(panels, Panel) else panels:
        if not isinstance(panel, Panel):
            raise TypeError(f"panels is an iterable of Panels, and has {panel!r} in it.")
        for part in loaded_parts(panel):
            if writer is None:
                writer = _Writer(folder, part)
            writer.append(part)
    if writer is None:
        raise ValueError("panels has no panel, so there is nothing to save.")
    writer.close()
    return open_panel(folder)


class _Writer:
    """The files of a folder, to which panels are appended."""

    def __init__(self, folder: Path, first: Panel) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.schema = folder, first.schema
        self.has_ids = first.sample_ids is not None
        self.ids: list[Any] = []
        self.n = 0
        self.arrays = [
            {what: a.dtype.str for what, a in _arrays_of(first, m.name).items()}
            for m in first.schema
        ]
        self.lengths = [m.n_timepoints for m in first.schema]

    def append(self, panel: Panel) -> None:
        """Write the samples behind those that are there."""
        if unknown := [name for name in panel.schema.names if name not in self.schema]:
            raise ValueError(
                f"The first panel has {list(self.schema.names)}, but a later one has {unknown} "
                "too. Begin with a panel that has every modality, or align each to the schema of "
                "one that has: panel.align(schema)."
            )
        panel = panel.align(self.schema)
        self.schema.check_matches(panel.schema, owner="The first panel")
        if (panel.sample_ids is not None) != self.has_ids:
            raise ValueError("Only some of the panels have sample_ids. Give them to all or none.")
        for i, m in enumerate(panel.schema):
            arrays = _arrays_of(panel, m.name)
            if "observed" in self.arrays[i]:
                arrays["observed"] = panel._observed(m.name)
            if {what: a.dtype.str for what, a in arrays.items()} != self.arrays[i]:
                raise ValueError(
                    f"Modality {m.name!r} has {[*arrays]}, and had {[*self.arrays[i]]} in the "
                    "first panel. Make all panels in the same way."
                )
            if m.n_timepoints != self.lengths[i]:
                self._fit_length(i, m)
            for what, array in arrays.items():
                padded = _padded(array, self.lengths[i], _padding(m, what))
                with self._file(i, what).open("ab") as file:
                    np.ascontiguousarray(padded).tofile(file)
        self.ids += _plain_ids(panel.sample_ids)
        self.n += len(panel)

    def _fit_length(self, i: int, m: Modality) -> None:
        """Pad what was written to the length of a longer panel."""
        if not m.irregular:
            raise ValueError(
                f"Modality {m.name!r} has {m.n_timepoints} timepoints, and {self.lengths[i]} in "
                "the first panel. Cut or pad all panels to one length; in segment, state rates=, "
                "as the clock of a short recording is judged by few stamps."
            )
        if m.n_timepoints < self.lengths[i]:
            return
        for what, dtype in self.arrays[i].items():
            width = () if what == "times" else (m.n_channels,)
            path, longer = self._file(i, what), self.folder / "longer.bin"
            with path.open("rb") as old, longer.open("wb") as new:
                for block in _blocks(old, dtype, (*width, self.lengths[i])):
                    _padded(block, m.n_timepoints, _padding(m, what)).tofile(new)
            longer.replace(path)
        self.lengths[i] = m.n_timepoints

    def _file(self, i: int, what: str) -> Path:
        return self.folder / f"{i}.{what}.bin"

    def close(self) -> None:
        """Write the header, last: a folder without it is not taken for a panel."""
        header = {
            "format": FORMAT,
            "n_samples": self.n,
            "modalities": [
                {**asdict(m), "n_timepoints": length}
                for m, length in zip(self.schema, self.lengths, strict=True)
            ],
            "arrays": self.arrays,
            "sample_ids": self.ids if self.has_ids else None,
        }
        path = self.folder / HEADER
        text = json.dumps(header, default=lambda number: number.item())  # of numpy
        path.write_text(text, encoding="utf-8")


def _arrays_of(panel: Panel, name: str) -> dict[str, np.ndarray]:
    """What is written of a modality."""
    arrays = {
        "values": panel._values[name],
        "times": panel._times[name],
        "observed": panel._carried[name],
    }
    return {what: array for what, array in arrays.items() if array is not None}


def _padding(m: Modality, what: str) -> Any:
    if what == "values" and m.vocabulary is not None:
        return m.vocabulary.missing
    return False if what == "observed" else np.nan


def _plain_ids(ids: np.ndarray | None) -> list[Any]:
    plain = [] if ids is None else ids.tolist()
    wrong = next((one for one in plain if not isinstance(one, (str, int))), None)
    if wrong is not None:
        raise ValueError(
            f"sample_ids has {wrong!r}; only texts and whole numbers can be stored. Convert them "
            "with panel.replace(sample_ids=[str(i) for i in panel.sample_ids])."
        )
    return plain


def _padded(array: np.ndarray, length: int, fill: Any) -> np.ndarray:
    if array.shape[-1] == length:
        return array
    longer = np.full((*array.shape[:-1], length), fill, array.dtype)
    longer[..., : array.shape[-1]] = array
    return longer


def _blocks(file: BinaryIO, dtype: str, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Samples of one shape from a file, some megabytes at a time."""
    size = max(int(np.prod(shape)), 1)
    step = max(1, PART_BYTES // (size * np.dtype(dtype).itemsize)) * size
    while len(block := np.fromfile(file, dtype, step)):
        yield block.reshape(-1, *shape)
