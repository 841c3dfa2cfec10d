"""as_panel: the only door. Whatever holds a panel becomes a Panel, or an error says why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._arguments import check_types
from ._arrays import as_array, is_dict, is_missing
from ._assemble import assemble
from ._clock import SECONDS, Stamps
from ._dates import dates_to_seconds, is_clock_of_dates
from ._frames import as_frame, as_pandas, is_frame
from ._model import schema_of
from ._named import is_dataset, is_named_array, read_named_array, samples_as_frames
from ._panel import Panel
from ._read import Reading, read_frame, read_modality, read_samples
from ._schema import Schema
from ._types import PanelLike

__all__ = ["SERIES", "as_frame", "as_panel"]

SERIES = "series"
"""Name of the modality of an array that names none."""


def as_panel(
    X: PanelLike,
    *,
    rates: Mapping[str, float | None] | float | None = None,
    times: Mapping[str, Any] | None = None,
    schema: Any = None,
    strict: bool = False,
) -> Panel:
    """A Panel of whatever holds one. NaN marks what is missing; nothing is filled or resampled.

    Samples are brought together by their ids, channels by their names, stamps by their origin.

    Parameters
    ----------
    X : Panel, dict, array, DataFrame or list
        - dict of modality -> array ``(n, C, L)``, array or DataFrame ``(n, L)`` of one channel,
          list of ``n`` arrays ``(C, L_i)`` or ``(L_i,)`` (None where absent), dict of such arrays
          by sample id, Panel of one modality, or any of sktime's panel frames;
        - array ``(n, C, L)`` or ``(n, L)``: one modality, named ``"series"``;
        - sktime's ``pd-multiindex``, ``nested_univ``, ``df-list``, ``np-list``; columns
          ``(modality, channel)`` make modalities, plain columns are the channels of one;
        - list of dicts, one a sample, of modality -> array ``(C, L_i)`` or ``(L_i,)``;
        - list of Panels, one after another; a Panel, returned as it is.

        An array may be numpy's, masked (masked is NaN), a tensor of torch or a DataArray of xarray,
        whose dimensions are read by name; a frame may be one of pandas or polars.
    rates : dict of str to float or None, or float for a single modality, default=None
        Sampling rates in Hz, by modality; None for a clock to be taken as irregular. The clocks of
        the others are judged: regular if 95 % of the steps are whole multiples of one interval, up
        to 5 % of it and to the rounding of the stamps.
    times : dict of str to array of shape (n, L) or list of arrays (L_i,), default=None
        Times of irregular clocks, by modality: seconds, or dates.
    schema : Schema or fitted estimator, default=None
        What is wanted: the result has these modalities and channels in this order. What X lacks
        is silent, what it does not say (rates, names) is taken from here. A Pipeline,
        GridSearchCV or CalibratedClassifierCV stands for the model in it.
    strict : bool, default=False
        With ``schema``: whether to refuse X where anything is absent or in another order.

    Returns
    -------
    Panel
        Numbers as float32. float64 loses digits beyond the seventh, as everywhere in torch.

    Raises
    ------
    TypeError
        If ``X`` is of another type, sparse, or holds text.
    ValueError
        If it is empty, infinite, complex, or its modalities disagree in the number of samples; if
        ids, columns or clocks are ambiguous; if it has a modality or channel that ``schema`` has
        not.

    Notes
    -----
    An index that is a clock is read: floats are seconds; dates count, in seconds, from the first
    of their sample over all modalities. Whole numbers whose usual step is 1 count the timepoints
    and are no clock; other whole numbers are seconds. ``docs/inputs.md`` has the table of all
    cases.

    Examples
    --------
    >>> import numpy as np
    >>> panel = as_panel({"acc": np.zeros((4, 3, 50)), "hr": [[60.0, 61.0], None, [70.0], [80.0]]},
    ...                  rates={"acc": 25.0})
    >>> panel.values["hr"].shape
    (4, 1, 2)
    >>> as_panel({"hr": [[60.0, 61.0]]}, schema=panel.schema).schema.names
    ('acc', 'hr')
    """
    check_types(as_panel, locals())
    wanted, owner = (None, "") if schema is None else schema_of(schema)
    if isinstance(X, Panel):
        panel = X if rates is None else X.replace(rates=_rates(rates, X.schema.names))
    else:
        panel = _read(X, rates, wanted, strict)
    if len(panel) == 0:
        raise ValueError(
            "Found array with 0 sample(s) while a minimum of 1 is required: the panel is empty. "
            "Check how X was selected."
        )
    if times:
        panel = panel.replace(times=_all_times(times, panel))
    return panel if wanted is None else _conform(panel, wanted, owner, strict)


def _conform(panel: Panel, schema: Schema, owner: str, strict: bool) -> Panel:
    """The panel with the modalities of the schema, or an error that names what cannot be had."""
    if strict or any(name not in schema for name in panel.schema.names):
        schema.check_matches(panel.schema, owner=owner)
    panel = panel.align(schema)
    schema.check_matches(panel.schema, owner=owner)
    return panel


def _rates(given: Any, names: Sequence[str]) -> dict[str, float | None]:
    """Rates by modality; one number stands for a single modality."""
    if given is None or isinstance(given, Mapping):
        return dict(given or {})
    if len(names) > 1:
        raise ValueError(
            f"rates={given!r} names no modality, but X has {list(names)}. Give a dict, as "
            f"rates={{{names[0]!r}: {given!r}}}."
        )
    return {names[0]: given}


def _read(X: Any, rates: Any, wanted: Schema | None, strict: bool) -> Panel:
    single = SERIES
    if wanted is not None and len(wanted) == 1 and not strict:
        single = wanted.names[0]  # an array without a name can be nothing else
    if isinstance(X, (list, tuple)) and len(X) and all(isinstance(x, Panel) for x in X):
        panels = [x if wanted is None or strict else _conform(x, wanted, "", False) for x in X]
        panel = panels[0].concat(*panels[1:])
        return panel if rates is None else panel.replace(rates=_rates(rates, panel.schema.names))
    readings, n = _readings(X, single)
    absent = [name for name, reading in readings.items() if reading is None]
    present = {name: reading for name, reading in readings.items() if reading is not None}
    expected = [name for name in absent if wanted is not None and name in wanted]
    if len(expected) < len(absent):
        name = next(name for name in absent if name not in expected)
        raise ValueError(
            f"Modality {name!r} has no timepoint in any sample. Leave it out instead. At "
            "prediction, as_panel(X, schema=model) takes it as silent."
        )
    stated = _rates(rates, [*readings])
    unknown = [name for name in stated if name not in readings]
    if unknown:
        raise ValueError(
            f"rates names {unknown}, but the modalities are {[*readings]}. "
            "Remove them or add their values."
        )
    if not present:
        assert wanted is not None
        m = wanted[absent[0]]
        silent = Reading(np.full((n, m.n_channels, m.n_timepoints), np.nan, np.float32))
        present = {m.name: silent}
    if is_dict(X):  # panels say what their clocks are
        of_panels = {n: present[n].rate for n, part in X.items() if isinstance(part, Panel)}
        stated = of_panels | stated
    return assemble(present, {k: v for k, v in stated.items() if k in present}, wanted)


def _readings(X: Any, single: str) -> tuple[dict[str, Reading | None], int]:
    """What was read, by modality, and the number of samples where nothing was."""
    X = as_pandas(X)
    if is_dataset(X):
        return {str(name): read_named_array(X[name], str(name)) for name in X.data_vars}, 0
    if is_dict(X):
        return _from_dict(X)
    if is_frame(X):
        return read_frame(X, single), len(X)
    if isinstance(X, (list, tuple)) and len(X):
        items = [as_pandas(x) for x in X]
        if all(is_dict(item) for item in items):
            return _from_samples(items), len(items)
        if all(is_frame(item) for item in items):
            return _from_frames(items, single), len(items)
    if is_named_array(X):
        return {single: read_named_array(X, single)}, 0
    if is_missing(X):
        X = np.asarray(X)  # nothing is no panel: refused as an array without axes
    n = len(X) if isinstance(X, (list, tuple)) else 0
    return {single: read_modality(samples_as_frames(X, single), single)}, n


def _from_dict(given: Mapping[Any, Any]) -> tuple[dict[str, Reading | None], int]:
    if not given:
        raise ValueError("X is an empty dict; at least one modality is wanted.")
    readings: dict[str, Reading | None] = {}
    n = 1
    for name, part in given.items():
        if not isinstance(name, str):
            raise TypeError(
                f"The name of a modality is a string, got {name!r}. Rename it with str(...)."
            )
        if isinstance(part, Panel):
            readings[name] = _read_panel(part, name)
        elif is_named_array(part):
            readings[name] = read_named_array(part, name)
        else:
            readings[name] = read_modality(samples_as_frames(part, name), name)
        if readings[name] is None and not is_missing(part):
            n = max(n, len(part))
    return readings, n


def _read_panel(panel: Panel, name: str) -> Reading:
    """A panel of one modality that stands for it in a dict."""
    m = panel.schema.modalities[0]
    if len(panel.schema) > 1 or m.vocabulary is not None or panel._carried[m.name] is not None:
        what = (
            f"of the modalities {list(panel.schema.names)}"
            if len(panel.schema) > 1
            else "of tokens, or of values that an imputer filled in"
        )
        raise TypeError(
            f"Modality {name!r} is a Panel {what}; a dict takes panels of one modality as it was "
            "measured. Join the dicts of their parts: Panel({**a.values, **b.values}, ...)."
        )
    times = panel.times[m.name]
    clocks: list[Stamps | None] | None = None
    if times is not None:
        clocks = [Stamps(SECONDS, clock[~np.isnan(clock)]) for clock in times]
    return Reading(panel.values[m.name], clocks, panel.sample_ids, False, m.channels, m.rate)


def _from_frames(frames: Sequence[Any], single: str) -> dict[str, Reading | None]:
    """A frame a sample, whose columns are ``(modality, channel)`` or the channels of one."""
    columns = list(frames[0].columns)
    for i, frame in enumerate(frames):
        if set(frame.columns) != set(columns) or len(frame.columns) != len(columns):
            raise ValueError(
                f"Sample {i} has the columns {list(frame.columns)}, but sample 0 has {columns}. "
                "Give all samples the same columns, with NaN where a channel is silent."
            )
    names = [str(c[0]) if isinstance(c, tuple) else single for c in columns]
    readings: dict[str, Reading | None] = {}
    for name in dict.fromkeys(names):
        labels = [c for c, owner in zip(columns, names, strict=True) if owner == name]
        parts = [frame[labels] for frame in frames]
        if isinstance(columns[0], tuple):
            parts = [part.set_axis(["__".join(c[1:]) for c in labels], axis=1) for part in parts]
        readings[name] = read_samples(parts, name)
    return readings


def _from_samples(samples: Sequence[Mapping[str, Any]]) -> dict[str, Reading | None]:
    names = list(dict.fromkeys(name for sample in samples for name in sample))
    return {
        name: read_samples(samples_as_frames([s.get(name) for s in samples], name), name)
        for name in names
    }


def _all_times(given: Mapping[str, Any], panel: Panel) -> dict[str, np.ndarray | None]:
    """Times by modality as arrays ``(n, L)``; dates of all modalities count from one origin."""
    times: dict[str, Any] = {}
    for name, clocks in given.items():
        if name not in panel.schema:
            raise ValueError(
                f"times names {name!r}, but the modalities are {list(panel.schema.names)}."
            )
        times[name] = _ragged_times(name, clocks, panel)
    return dates_to_seconds(times)


def _ragged_times(name: str, given: Any, panel: Panel) -> Any:
    given = as_array(as_pandas(given))
    if is_frame(given):
        given = given.to_numpy()
    if given is None or (isinstance(given, np.ndarray) and given.ndim == 2):
        return given
    length = panel.schema[name].n_timepoints
    clocks: list[Any] = []
    for i, clock in enumerate(given):
        if is_missing(clock):
            clocks.append(None)
            continue
        clock = as_array(clock)
        clock = list(clock) if getattr(clock, "tz", None) is not None else np.asarray(clock)
        if np.ndim(clock) != 1 or len(clock) > length:
            raise ValueError(
                f"The times of sample {i} of modality {name!r} have shape {np.shape(clock)}; at "
                f"most ({length},) is wanted, as its values have."
            )
        clocks.append(clock)
    has_dates = any(c is not None and (isinstance(c, list) or is_clock_of_dates(c)) for c in clocks)
    times = np.full(
        (len(clocks), length), None if has_dates else np.nan, object if has_dates else float
    )
    for i, clock in enumerate(clocks):
        if clock is not None and len(clock):
            times[i, : len(clock)] = list(clock) if has_dates else clock
    return times
