"""load_uea: a data set of the UEA and UCR archive, read by sktime."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import sktime.datasets
from sklearn.utils import Bunch

from ...datasets import get_data_home
from ...panel import as_panel

__all__ = ["load_uea"]

_BUNDLED = Path(sktime.datasets.__file__).parent / "data"


def _folder(name: str, data_home: str | os.PathLike[str] | None, download: bool) -> Path:
    """The folder that has the folder of a data set, or will have it."""
    if data_home is None and (_BUNDLED / name).is_dir():
        return _BUNDLED
    home = get_data_home(data_home)
    if download or (home / name / f"{name}_TRAIN.ts").is_file():
        return home
    raise FileNotFoundError(
        f"load_uea found no {name}_TRAIN.ts in {home / name}. Put the publisher's files there "
        "(https://www.timeseriesclassification.com), or pass download=True."
    )


def load_uea(
    name: str,
    *,
    split: str | None = None,
    data_home: str | os.PathLike[str] | None = None,
    download: bool = False,
) -> Bunch:
    """Load a classification data set of the UEA and UCR archive as a Panel.

    The channels make one modality, ``"series"``; ``ModalityGrouper`` makes several of them.

    Parameters
    ----------
    name : str
        The archive's name of the data set, such as ``"BasicMotions"``.
    split : {"train", "test"} or None, default=None
        The publisher's part; None means both, with the training samples first.
    data_home : path or None, default=None
        Folder with the folder ``name``, which holds ``name_TRAIN.ts`` and ``name_TEST.ts``. None
        means the data sets that come with sktime, then the variable ``MTS_FUSION_DATA``.
    download : bool, default=False
        Whether sktime may download the files into ``data_home`` where they are not there.

    Returns
    -------
    Bunch
        ``data`` Panel of n samples; ``target`` str ndarray (n,).

    Raises
    ------
    FileNotFoundError
        If the files are missing and ``download`` is False.
    ValueError
        If ``split`` is neither, or no ``data_home`` is known.

    Examples
    --------
    >>> data = load_uea("BasicMotions", split="train")
    >>> data.data.values["series"].shape
    (40, 6, 100)
    """
    if split not in (None, "train", "test"):
        raise ValueError(f"split is 'train', 'test' or None, got {split!r}.")
    path = _folder(name, data_home, download)
    X, y = sktime.datasets.load_UCR_UEA_dataset(
        name, split=split, return_X_y=True, return_type="nested_univ", extract_path=str(path)
    )
    return Bunch(data=as_panel(X), target=np.asarray(y, str))
