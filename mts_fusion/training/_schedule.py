"""How long a network is trained: samples a step, and epochs."""

from __future__ import annotations

import math

__all__ = ["MANY_SAMPLES", "choose_schedule"]

MANY_SAMPLES = 1500
"""Training samples from which ``batch_size="auto"`` takes large batches."""

_SMALL_BATCH, _LARGE_BATCH = 32, 128


def choose_schedule(
    n_training: int,
    *,
    batch_size: int | str,
    max_epochs: int | str,
    min_epochs: int,
    min_steps: int,
) -> tuple[int, int]:
    """Batch size and number of epochs, from numbers or ``"auto"``.

    Parameters
    ----------
    n_training : int
        Training samples.
    batch_size : int or "auto"
        ``"auto"`` is 32 below 1,500 training samples and 128 from there.
    max_epochs : int or "auto"
        ``"auto"`` is ``min_epochs``, or as many as make ``min_steps`` steps if that is more.
    min_epochs, min_steps : int
        Read by ``max_epochs="auto"`` only.

    Returns
    -------
    batch_size, max_epochs : int
        Both at least 1.

    Examples
    --------
    >>> choose_schedule(320, batch_size="auto", max_epochs="auto", min_epochs=12, min_steps=600)
    (32, 60)
    """
    if isinstance(batch_size, str):
        batch_size = _SMALL_BATCH if n_training < MANY_SAMPLES else _LARGE_BATCH
    if not isinstance(max_epochs, str):
        return batch_size, max_epochs
    n_batches = math.ceil(n_training / batch_size)
    return batch_size, max(min_epochs, math.ceil(min_steps / n_batches))
