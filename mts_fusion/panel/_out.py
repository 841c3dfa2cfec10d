"""A Panel as plain arrays, as sktime's types, as a table and as text."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np

from ._arguments import check_types
from ._frames import multiindex_frame, nested_frame, sample_frames
from ._schema import Schema
from ._show import as_html, as_text, modality_table, sample_table

__all__ = ["PanelOutput"]


class PanelOutput:
    """Abstract: how a Panel leaves the library and shows itself."""

    schema: Schema

    def to_dict(self) -> dict[str, np.ndarray]:
        """The values by modality.

        Returns
        -------
        dict of str to array of shape (n, C, L)
            float32 with NaN, tokens too. Times, rates, names and ids stay behind.
        """
        return {name: _numbers_with_nan(self, name) for name in self.schema.names}

    def to_numpy3d(self) -> np.ndarray:
        """All channels in one array, modality after modality.

        Returns
        -------
        array of shape (n, sum of C, L)
            float32 with NaN. Times, rates, names and ids stay behind.

        Raises
        ------
        ValueError
            If the modalities have different lengths: nothing is resampled in silence.
        """
        return _to_numpy3d(self)

    def to_sktime(self, mtype: str = "pd-multiindex") -> Any:
        """The panel as one of sktime's panel types.

        Parameters
        ----------
        mtype : {"pd-multiindex", "nested_univ", "df-list", "numpy3D"}, default="pd-multiindex"
            All but ``"numpy3D"`` keep the names, as columns ``(modality, channel)``, and the
            clocks, as an index of durations (to a nanosecond); all but it and ``"df-list"`` keep
            the sample ids.

        Returns
        -------
        DataFrame, list of DataFrame or array
            What sktime calls ``mtype``. Padding at the end of a sample is kept as NaN, but for
            modalities with times, where it has none. Missing tokens are NaN; vocabularies, and
            which values an imputer filled, stay behind.

        Raises
        ------
        ValueError
            If ``mtype`` is unknown, or the modalities have different lengths or clocks and
            ``mtype`` has one for all.
        """
        check_types(PanelOutput.to_sktime, locals())
        return _to_sktime(self, mtype)

    # Folders

    def save(self, folder: str | PathLike[str]) -> None:
        """Write the panel into a folder, for panels that are larger than memory.

        Arrays as they are, each in a file of its own, and a JSON file that describes them.
        :func:`save_panels` writes several panels as one, piece by piece.

        Parameters
        ----------
        folder : path
            New, or empty.

        Raises
        ------
        FileExistsError
            If the folder has something in it.
        ValueError
            If sample ids are neither texts nor whole numbers.
        """
        from ._save import save_panels

        save_panels([self], folder)  # type: ignore[list-item]

    @staticmethod
    def open(folder: str | PathLike[str]) -> Any:
        """The panel of a folder, read only as far as it is used.

        Arrays are mapped into memory. A slice, by any key, reads nothing, so that a training set
        and a test set of it fit anywhere; a pickle holds the path. ``PatternRidge*`` fits and all
        estimators predict a part at a time.

        Parameters
        ----------
        folder : path
            Written by :meth:`save` or :func:`save_panels`.

        Returns
        -------
        Panel
            Whose ``values``, ``times`` and ``observed`` are read at each access.

        Raises
        ------
        FileNotFoundError
            If there is no panel in the folder, or saving it was interrupted.
        ValueError
            If a file is damaged, or written by a newer version.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> from mts_fusion.panel import Panel
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Panel({"acc": np.zeros((8, 3, 50))}, rates={"acc": 25.0}).save(f"{folder}/X")
        ...     Panel.open(f"{folder}/X")[[1, 5]].shape
        (2, 1)
        """
        from ._stored import open_panel

        return open_panel(folder)

    # How it shows itself

    def describe(self, by: str = "modality") -> Any:
        """A row for each modality, or each sample.

        Parameters
        ----------
        by : {"modality", "sample"}, default="modality"
            What has a row.

        Returns
        -------
        DataFrame
            By modality: channels, length, clock (regular, irregular or unknown), rate, level and
            spread of what was observed, names of the channels; ``missing_fraction`` counts
            values, ``absent_fraction`` samples in which the modality is wholly silent. By sample:
            indexed by the sample ids, the fraction of values that each modality misses.

        Raises
        ------
        ValueError
            If ``by`` is something else.
        """
        check_types(PanelOutput.describe, locals())
        if by not in ("modality", "sample"):
            raise ValueError(f"by is 'modality' or 'sample', got {by!r}.")
        return modality_table(self) if by == "modality" else sample_table(self)

    def __repr__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The values ``(n, C, L)`` of the one modality; a panel of several is no array."""
        if len(self.schema) > 1:
            raise TypeError(
                f"A panel of the modalities {list(self.schema.names)} is not one array. Use "
                "X.values[name] for one of them, or X.to_numpy3d() if all have one length."
            )
        array = _numbers_with_nan(self, self.schema.names[0])
        return np.array(array, dtype=dtype, copy=True) if copy else np.asarray(array, dtype=dtype)


def _numbers_with_nan(panel: Any, name: str) -> np.ndarray:
    """The values of one modality as float32, NaN where a token is missing."""
    values = panel._values[name]
    vocabulary = panel.schema[name].vocabulary
    if vocabulary is None:
        return np.asarray(values)
    return np.where(values == vocabulary.missing, np.nan, values).astype(np.float32)


def _to_numpy3d(panel: Any) -> np.ndarray:
    """``(n, sum of C, L)``, where all modalities have one length."""
    lengths = {m.name: m.n_timepoints for m in panel.schema}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"One array needs one length, but the modalities have {lengths} timepoints. "
            "Resample them first, or use to_dict()."
        )
    return np.concatenate([_numbers_with_nan(panel, name) for name in panel.schema.names], axis=1)


def _to_sktime(panel: Any, mtype: str) -> Any:
    """One of sktime's panel types, with the clocks in its index."""
    names = panel.schema.names
    if mtype == "numpy3D":
        return _to_numpy3d(panel)
    if mtype == "nested_univ":
        return nested_frame(
            {name: _numbers_with_nan(panel, name) for name in names},
            {m.name: m.channel_names for m in panel.schema},
            panel.sample_ids,
            {name: _clocks(panel, name) for name in names},
        )
    if mtype not in ("pd-multiindex", "df-list"):
        raise ValueError(
            f"mtype={mtype!r} is unknown; choose one of 'pd-multiindex', 'nested_univ', "
            "'df-list', 'numpy3D'."
        )
    columns = [(m.name, channel) for m in panel.schema for channel in m.channel_names]
    values, clocks = _to_numpy3d(panel), _one_clock(panel)
    if mtype == "df-list":
        return sample_frames(values, columns, clocks)
    ids = list(range(len(panel))) if panel.sample_ids is None else panel.sample_ids
    return multiindex_frame(values, columns, ids, clocks)


def _clocks(panel: Any, name: str) -> list[np.ndarray | None]:
    """The stamps of each sample in seconds; None where a modality has no clock.

    A sample without any stamp keeps one, at 0, so that it does not vanish from the frame.
    """
    modality, times = panel.schema[name], panel.times[name]
    if times is not None:
        stamps = [clock[~np.isnan(clock)] for clock in times]
        return [clock if len(clock) else np.zeros(1) for clock in stamps]
    regular = None
    if modality.rate is not None:
        regular = np.arange(modality.n_timepoints) / modality.rate
    return [regular] * len(panel)


def _one_clock(panel: Any) -> list[np.ndarray | None]:
    """The stamps that all modalities share."""
    first, *others = panel.schema
    clocks = _clocks(panel, first.name)
    for other in others:
        theirs = _clocks(panel, other.name)
        for ours, their in zip(clocks, theirs, strict=True):
            same = ours is their or (
                ours is not None and their is not None and np.array_equal(ours, their)
            )
            if not same:
                raise ValueError(
                    f"One frame has one clock, but {first.name!r} and {other.name!r} have their "
                    "own. Use mtype='nested_univ', or a frame for each with X.select([...])."
                )
    return clocks
