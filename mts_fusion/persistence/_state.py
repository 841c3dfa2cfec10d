"""What classes whose objects are stored have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ._decode import Decoder
from ._encode import Encoder

__all__ = ["PackedState", "Saveable"]


_ROOT = "model"


class PackedState:
    """Objects that hold tensors, pickled as JSON and arrays.

    A pickle of theirs then holds no tensor, so that skops takes it as well, and one of a GPU is
    read on a CPU. What a subclass gives in ``_saved_state`` is stored in place of its attributes,
    and handed to ``_load_state``.
    """

    def __getstate__(self) -> dict[str, Any]:
        encoder = Encoder(keeps_foreign=True)
        tree = encoder.state(self, _ROOT)
        return {
            "json": json.dumps(tree, allow_nan=False),
            "arrays": encoder.arrays,
            "foreign": encoder.foreign,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        decoder = Decoder(state["arrays"], state["foreign"].__getitem__)
        decoder.set_state(self, json.loads(state["json"]), _ROOT)


class Saveable:
    """Abstract: what can be saved to a file."""

    def save(self, path: str | Path) -> None:
        """Save to a file that holds no code; :func:`mts_fusion.load` reads it.

        Parameters
        ----------
        path : str or Path
            The file; one that exists is replaced.

        Raises
        ------
        TypeError
            If a parameter or attribute is an object of another library, such as a callback.
        """
        from ._file import save

        save(self, path)
