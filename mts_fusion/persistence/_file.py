"""Files of fitted objects: JSON, and arrays as safetensors, in a zip file that holds no code."""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mts_fusion import __version__

from ._classes import full_name
from ._decode import Decoder
from ._encode import Encoder
from ._foreign import from_skops, skops_io

__all__ = ["load", "save"]

FORMAT = 1
"""Version of the format; a library reads files of its own version and of older ones."""

_MANIFEST, _MODEL, _ARRAYS = "manifest.json", "model.json", "arrays.safetensors"
_SKOPS = re.compile(r"skops/[0-9]+\.skops")
_ROOT = "model"  # path of the model itself
_NAME = "mts_fusion model"
_DAY = (1980, 1, 1, 0, 0, 0)  # so that equal models are equal files


def save(model: Any, path: str | Path) -> None:
    """Save an estimator, a transformer or a Pipeline of them to a file that holds no code.

    Parameters
    ----------
    model : estimator
        Of this library, or a ``sklearn.pipeline.Pipeline``. Other estimators of scikit-learn, in
        the pipeline or around one of ours, are stored by skops. It may be fitted or not.
    path : str or Path
        The file; one that exists is replaced.

    Raises
    ------
    TypeError
        If a parameter or attribute is an object of another library, such as a callback; the
        message says which.
    ImportError
        If scikit-learn's estimators are to be stored and skops is missing.

    See Also
    --------
    load : Read such a file.

    Examples
    --------
    >>> import tempfile, mts_fusion
    >>> from mts_fusion.datasets import make_panel_classification
    >>> X, y = make_panel_classification(n_samples=40, random_state=0)
    >>> clf = mts_fusion.PatternRidgeClassifier(n_groups=2, random_state=0).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mts_fusion.save(clf, f"{folder}/model.mts")
    ...     again = mts_fusion.load(f"{folder}/model.mts")
    >>> bool((again.predict_proba(X) == clf.predict_proba(X)).all())
    True
    """
    from safetensors.numpy import save as to_safetensors

    encoder = Encoder()
    tree = encoder.encode(model, _ROOT)
    parts = {
        _MODEL: json.dumps(
            {"model": tree, "skops": list(encoder.foreign)}, allow_nan=False
        ).encode(),
        _ARRAYS: to_safetensors(encoder.arrays),
    }
    for i, foreign in enumerate(encoder.foreign.values()):
        parts[f"skops/{i}.skops"] = skops_io().dumps(foreign)
    manifest = {
        "format": _NAME,
        "format_version": FORMAT,
        "class": full_name(type(model)),
        "versions": {
            "mts-fusion": __version__,
            **{name: version(name) for name in ("numpy", "scikit-learn", "torch")},
        },
        "sha256": {name: hashlib.sha256(part).hexdigest() for name, part in parts.items()},
    }
    parts = {_MANIFEST: json.dumps(manifest, indent=1).encode(), **parts}
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(unfinished, "w") as file:
            for name, part in parts.items():
                file.writestr(zipfile.ZipInfo(name, _DAY), part)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def load(path: str | Path, *, trusted: Sequence[type] = ()) -> Any:
    """Read what :func:`save` has written. No code of the file runs.

    Parameters
    ----------
    path : str or Path
        The file.
    trusted : sequence of type, default=()
        Classes of others that the file may hold, such as an encoder of your own.

    Returns
    -------
    estimator
        Gives the same predictions, bit by bit. What was trained on a GPU is on the CPU if torch
        finds none.

    Raises
    ------
    ValueError
        If the file is none of these, is damaged, was written in a newer format, or names a class
        that is not of this library, ``torch.nn`` or what skops trusts.
    ImportError
        If the file holds estimators of scikit-learn and skops is missing.

    Warns
    -----
    UserWarning
        If another version of this library has written the file.

    See Also
    --------
    save : Write such a file.

    Examples
    --------
    >>> import tempfile, mts_fusion
    >>> scaler = mts_fusion.PanelScaler().fit({"acc": [[1.0, 2.0], [3.0, 4.0]]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     scaler.save(f"{folder}/scaler.mts")
    ...     mts_fusion.load(f"{folder}/scaler.mts").center_["acc"].ravel()
    array([2.5])
    """
    parts = _read(Path(path))
    _check_manifest(parts, path)
    from safetensors.numpy import load as from_safetensors

    try:
        content = json.loads(parts[_MODEL])
        names = {foreign: f"skops/{i}.skops" for i, foreign in enumerate(content["skops"])}
        decoder = Decoder(
            from_safetensors(parts[_ARRAYS]),
            lambda foreign: from_skops(parts[names[foreign]], trusted),
            trusted,
        )
        return decoder.decode(content["model"], _ROOT)
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _read(path: Path) -> dict[str, bytes]:
    """The parts of a file by name, all of them known and none larger than the file."""
    try:
        with zipfile.ZipFile(path) as file:
            parts = {}
            for info in file.infolist():
                name = info.filename
                if name not in (_MANIFEST, _MODEL, _ARRAYS) and not _SKOPS.fullmatch(name):
                    raise ValueError(f"{path} has a part {name!r}, which no model file has.")
                if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                    raise ValueError(f"{path} has a compressed part {name!r}; models have none.")
                if name in parts:
                    raise ValueError(f"{path} has two parts {name!r}.")
                parts[name] = file.read(info)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is no model file, or it is damaged: {error}.") from error
    if not {_MANIFEST, _MODEL, _ARRAYS} <= set(parts):
        raise ValueError(f"{path} is a zip file, but not one that mts_fusion.save has written.")
    return parts


def _check_manifest(parts: dict[str, bytes], path: str | Path) -> None:
    """Raise unless the file is of a known format and undamaged; warn of another version."""
    try:
        manifest = json.loads(parts[_MANIFEST])
        name, number = manifest["format"], int(manifest["format_version"])
        written, checksums = str(manifest["versions"]["mts-fusion"]), dict(manifest["sha256"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} has a damaged manifest: {error!r}.") from error
    if name != _NAME:
        raise ValueError(f"{path} has the format {name!r}; {_NAME!r} is wanted.")
    if number > FORMAT:
        raise ValueError(
            f"{path} has format {number}, written by mts-fusion {written}; this is {__version__}, "
            f"which reads formats up to {FORMAT}. Update the library."
        )
    for part, content in parts.items():
        if part != _MANIFEST and hashlib.sha256(content).hexdigest() != checksums.get(part):
            raise ValueError(f"{path} is damaged: the checksum of {part} is wrong. Copy it again.")
    if written != __version__:
        warnings.warn(
            f"{path} was written by mts-fusion {written}, and is read by {__version__}. Check a "
            "few predictions, or fit again.",
            UserWarning,
            stacklevel=3,
        )
