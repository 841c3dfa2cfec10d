"""Arrays whose dimensions have names (xarray), read by these names."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import library_of
from ._clock import Stamps
from ._frames import index_clock
from ._read import Reading, channel_names

__all__ = ["is_dataset", "is_named_array", "read_named_array", "samples_as_frames"]

_ROLES = {
    "sample": (
        *("sample", "samples", "sample_id", "instance", "instances", "case", "cases", "n"),
        *("trial", "trials", "epoch", "epochs", "window", "windows", "id", "subject", "recording"),
    ),
    "channel": ("channel", "channels", "c", "variable", "variables", "feature", "features", "axis"),
    "time": ("time", "times", "timepoint", "timepoints", "timestamp", "t", "l"),
}


def is_named_array(x: Any) -> bool:
    """Whether ``x`` is a DataArray of xarray."""
    return library_of(x) == "xarray" and hasattr(x, "dims") and not hasattr(x, "data_vars")


def is_dataset(x: Any) -> bool:
    """Whether ``x`` is a Dataset of xarray: one array a modality."""
    return library_of(x) == "xarray" and hasattr(x, "data_vars")


def read_named_array(array: Any, name: str) -> Reading:
    """A DataArray as a reading, whatever the order of its dimensions.

    Its coordinates are the sample ids, the names of the channels and the clock.
    """
    roles = _roles_of(array, name)
    values = np.asarray(array.transpose(*(roles[r] for r in _ROLES if r in roles)))
    if values.dtype.kind not in "fiub":
        raise ValueError(f"Modality {name!r} holds {values.dtype} values; numbers are wanted.")
    if "channel" not in roles:
        values = values[..., None, :]
    if "sample" not in roles:
        values = values[None]
    indexes = {role: array.indexes[dim] for role, dim in roles.items() if dim in array.indexes}
    clocks: list[Stamps | None] | None = None
    if "time" in indexes:
        clock = index_clock(indexes["time"], f"Modality {name!r}")
        clocks = None if clock is None else [clock] * len(values)
    ids = np.asarray(indexes["sample"]) if "sample" in indexes else None
    channels = channel_names(list(indexes["channel"])) if "channel" in indexes else None
    return Reading(values, clocks, ids, False, channels)


def samples_as_frames(samples: Any, name: str) -> Any:
    """A list in which DataArrays, of one sample each, are frames with a row each timepoint.

    Anything else in the list, and anything but a list, stays as it is.
    """
    if isinstance(samples, np.ndarray) and samples.dtype == object and samples.ndim == 1:
        samples = list(samples)
    if not isinstance(samples, (list, tuple)) or not any(is_named_array(x) for x in samples):
        return samples
    return [_sample_as_frame(x, name) if is_named_array(x) else x for x in samples]


def _sample_as_frame(array: Any, name: str) -> Any:
    roles = _roles_of(array, name)
    if "sample" in roles:
        if array.sizes[roles["sample"]] != 1:
            raise ValueError(
                f"Modality {name!r} has a list with an array of {array.sizes[roles['sample']]} "
                "samples in it; one sample each is wanted. Join the arrays with xarray.concat."
            )
        array = array.isel({roles["sample"]: 0})
    return array.transpose(*(roles[r] for r in ("time", "channel") if r in roles)).to_pandas()


def _roles_of(array: Any, name: str) -> dict[str, Any]:
    """The dimensions of an array by what they stand for; time is among them."""
    roles: dict[str, Any] = {}
    for dim in array.dims:
        role = next((r for r, names in _ROLES.items() if str(dim).lower() in names), None)
        if role is None or role in roles:
            raise ValueError(
                f"Modality {name!r} has the dimensions {list(array.dims)}; sample, channel and "
                f"time, in any order, are wanted. Rename {dim!r} with X.rename(...)."
            )
        roles[role] = dim
    if "time" not in roles:
        raise ValueError(
            f"Modality {name!r} has the dimensions {list(array.dims)}, none of which is time. "
            "Rename one with X.rename(...)."
        )
    return roles
