"""PanelNet: skorch's loop around one network and one task. Here torch becomes numpy again."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, cast

import numpy as np
import torch
from skorch import NeuralNet
from skorch.helper import predefined_split
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

from mts_fusion.nn.blocks import Dropout, ModuleOutput, set_generator

from ._batch import Inputs, PanelDataset, collate
from ._callbacks import BestWeights, StopOnNaN
from ._task import Task

__all__ = ["OPTIMIZERS", "PRECISIONS", "PanelNet", "pick_device", "seeded", "threads"]

OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}

PRECISIONS = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}

_ROWS = 16

# Samples that are predicted together: more save no time.
_MANY_TO_PREDICT = 128

# Fixed features are computed of so many timepoints together, in 16 to 64 rows: what lies between
# then fits into the cache. Measured at 125 and 1,920 timepoints: half the time of 128 rows.
_CACHED_TIMEPOINTS = 8192

# Rows whose features are scaled at a time, so that what lies between is small.
_MANY_ROWS = 512


class _Draws(TorchDispatchMode):
    """Hands a generator to every operation of this thread that draws without one."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        packet, name = func.overloadpacket, func._overloadname
        seeded_name = "generator" if name == "default" else f"{name}_generator"
        if seeded_name in packet.overloads():  # rand, randn, randperm, randint
            func = getattr(packet, seeded_name)
        if any(argument.name == "generator" for argument in func._schema.arguments):
            kwargs["generator"] = kwargs.get("generator") or self.generator
        return func(*args, **kwargs)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw the first weights of a network from a seed, leaving torch's global state as it was.

    Parameters
    ----------
    seed : int
        Seed of what this thread draws inside; what others draw meanwhile does not matter.

    Examples
    --------
    >>> with seeded(0):
    ...     a = nn.Linear(2, 2)
    >>> with seeded(0):
    ...     b = nn.Linear(2, 2)
    >>> torch.equal(a.weight, b.weight)
    True
    """
    with _Draws(torch.Generator().manual_seed(seed)):
        yield


_THREADS = threading.Lock()
_before: list[int] = []


@contextmanager
def threads(n: int | None) -> Iterator[None]:
    """Let torch compute with ``n`` threads on the CPU.

    The order of a sum, and with it the last bits, depends on the number of threads.

    Parameters
    ----------
    n : int or None
        Threads of each operation. None leaves the number alone.

    Notes
    -----
    The number is one for the whole process: the last thread to leave puts the old one back.

    Examples
    --------
    >>> with threads(1):
    ...     torch.get_num_threads()
    1
    """
    if n is None:
        yield
        return
    with _THREADS:
        _before.append(_before[0] if _before else torch.get_num_threads())
        torch.set_num_threads(n)
    try:
        yield
    finally:
        with _THREADS:
            before = _before.pop()
            if not _before:
                torch.set_num_threads(before)


def pick_device(device: str) -> str:
    """``"auto"`` as the accelerator if there is one, else the CPU; other names as they are.

    Parameters
    ----------
    device : str
        ``"auto"``, or a device of torch.

    Returns
    -------
    str
        A device of torch.

    Raises
    ------
    ValueError
        If torch does not know it, or finds none.

    Examples
    --------
    >>> pick_device("cpu")
    'cpu'
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        asked = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device={device!r} is no device of torch. Give 'auto', 'cpu', 'cuda', 'cuda:1' or "
            "'mps'."
        ) from error
    found = torch.cuda.device_count() if asked.type == "cuda" else None
    if asked.type == "mps":
        found = int(torch.backends.mps.is_available())
    if found is not None and (asked.index or 0) >= found:
        raise ValueError(
            f"device={device!r} was asked for, but torch finds {found} of this kind. Set "
            "device='auto' to take what is there."
        )
    return device


class _NoCriterion(nn.Module):
    """skorch wants a criterion; the loss is the task's and the module's own."""


class PanelNet(NeuralNet):
    """A network and its task in skorch's loop; ``loss = task.loss + output.loss``.

    Parameters
    ----------
    module : torch.nn.Module
        Built already.
    task : Task or None
        None where the module brings its whole loss itself.
    precision : {"float32", "bf16", "fp16"}, default="float32"
        Type of the matrix products. The weights stay float32.
    gradient_clip : float or None, default=None
        Largest norm of the gradient of a step.
    seed : int, default=0
        Of shuffling, dropout and whatever else is drawn while training.
    n_threads : int or None, default=1
        Threads of each operation on the CPU. The same number gives the same bits, alone or beside
        others; None takes those that torch has, which differ between a process and its workers.
    **kwargs
        As for ``skorch.NeuralNet``.

    Notes
    -----
    Where a module has a ``features_key`` that is not None, ``module.featurize(values, observed,
    times)`` gives fixed features, a list of Tensor ``(B, ...)``: they are computed once, learnt
    from by ``module.fit_features(features)``, brought to one scale by ``module.scale_features`` and
    handed to ``forward`` as ``features``. ``module.prepare(values, observed)``, if there is one,
    sees some training samples before. Modules of one schema and one key have the same features.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        task: Task | None = None,
        precision: str = "float32",
        gradient_clip: float | None = None,
        seed: int = 0,
        n_threads: int | None = 1,
        criterion: Any = _NoCriterion,
        **kwargs: Any,
    ) -> None:
        self.task = task
        self.precision = precision
        self.gradient_clip = gradient_clip
        self.seed = seed
        self.n_threads = n_threads
        super().__init__(module, criterion=criterion, **kwargs)

    # Training

    def train(self, training: PanelDataset, validation: PanelDataset | None) -> PanelNet:
        """Fit to a dataset; a validation set, where there is one, is looked at after each epoch.

        Parameters
        ----------
        training, validation : PanelDataset
            Targets included.

        Returns
        -------
        PanelNet
            Itself, in evaluation mode.
        """
        if not self.initialized_:
            self.initialize()
        generator = torch.Generator(device=self.device).manual_seed(self.seed)
        set_generator(self.module_, generator)
        self.shuffle_: torch.Generator | None = torch.Generator().manual_seed(self.seed)
        self.train_split = None if validation is None else predefined_split(validation)
        self.n_before_ = len(self.history)
        self.scaler_ = torch.amp.GradScaler(
            torch.device(self.device).type, enabled=self.precision == "fp16"
        )
        try:
            with threads(self.n_threads):
                self.partial_fit(training, None)
        finally:  # generators and data are of this call only
            set_generator(self.module_, None)
            self.shuffle_ = None
            self.train_split = None
            self.module_.eval()
        return self

    def get_iterator(self, dataset: PanelDataset, training: bool = False) -> DataLoader:
        """Batches of a dataset, shuffled by our own generator in training."""
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            shuffle=training,
            generator=self.shuffle_ if training else None,
            collate_fn=collate,  # type: ignore[arg-type]
        )

    @property
    def interrupted(self) -> bool:
        """Whether the last training ended before its epochs, and not by a rule of its own."""
        ended = any(
            isinstance(callback, (BestWeights, StopOnNaN)) and callback.stopped_
            for _, callback in self.callbacks_
        )
        return not ended and len(self.history) - self.n_before_ < self.max_epochs

    def train_step(self, batch: tuple[Inputs, dict[str, Tensor]], **fit_params: Any) -> dict:
        """One step of the optimiser."""
        inputs, target = batch
        self._set_training(True)
        self.optimizer_.zero_grad(set_to_none=True)
        output = self.infer(inputs, **fit_params)
        loss = self.get_loss(output, target, X=inputs, training=True)
        self.scaler_.scale(loss).backward()
        self.scaler_.unscale_(self.optimizer_)
        if self.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.module_.parameters(), self.gradient_clip)
        self.notify(
            "on_grad_computed", named_parameters=list(self.module_.named_parameters()), batch=batch
        )
        self.scaler_.step(self.optimizer_)
        self.scaler_.update()
        return {"loss": loss.detach(), "y_pred": output}

    def losses(self) -> list[dict[str, float]]:
        """Losses and seconds by epoch, those of unfinished epochs left out."""
        keys = ("epoch", "train_loss", "valid_loss", "dur")
        return [
            {key: float(row[key]) for key in keys if key in row}
            for row in self.history
            if "train_loss" in row
        ]

    def infer(self, x: Inputs, **fit_params: Any) -> ModuleOutput:
        """The output of the module for a batch, in the precision asked for."""
        dtype = PRECISIONS[self.precision]
        device = torch.device(self.device).type
        with torch.autocast(device, dtype=dtype, enabled=dtype is not None):
            return self.module_(**x.to(self.device).arguments, **fit_params)

    def get_loss(
        self,
        y_pred: ModuleOutput,
        y_true: dict[str, Tensor],
        X: Any = None,
        training: bool = False,
    ) -> Tensor:
        """Loss of the task, and what the module itself minimises."""
        if self.task is None:
            return y_pred.loss
        y, weight = y_true["y"].to(self.device), y_true["weight"].to(self.device)
        return self.task.loss(y_pred.prediction, y, weight) + y_pred.loss

    # Prediction

    def batches(self, dataset: PanelDataset) -> Iterator[tuple[Inputs, int]]:
        """Inputs in order, some at a time, and how many samples are real.

        Without gradients to keep, four times ``batch_size`` take no more memory than a step; up to
        128 of them, or ``batch_size`` where that is more, are taken together.
        The last batch is filled up with its last sample to a multiple of 16 rows: vector
        instructions then treat all rows alike, and a sample has the same bits in any company.
        """
        size = max(self.batch_size, min(4 * self.batch_size, _MANY_TO_PREDICT))
        size = -(-size // _ROWS) * _ROWS
        for start in range(0, len(dataset), size):
            rows = np.arange(start, min(start + size, len(dataset)))
            filled = np.pad(rows, (0, -len(rows) % _ROWS), mode="edge")
            yield dataset.__getitems__(filled)[0], len(rows)

    @property
    def features_key(self) -> Hashable:
        """What tells the fixed features of the module from those of another; None without any."""
        return getattr(self.module_, "features_key", None)

    def prepare(self, training: PanelDataset) -> None:
        """Let the module learn what its features need from some samples, if it wants to.

        Parameters
        ----------
        training : PanelDataset
            Some of the samples that are trained on.
        """
        prepare = getattr(self.module_, "prepare", None)
        if prepare is not None:
            inputs, _ = training.with_features(None).__getitems__(range(len(training)))
            given = inputs.to(self.device).arguments
            with torch.inference_mode(), threads(self.n_threads):
                prepare(given["values"], given["observed"])

    def featurize(self, dataset: PanelDataset) -> PanelDataset:
        """The dataset with the fixed features of the module, if it has any.

        Parameters
        ----------
        dataset : PanelDataset
            A whole panel.

        Returns
        -------
        PanelDataset
            With ``features``, where the module has a ``features_key``.
        """
        if self.features_key is None:
            return dataset.with_features(None)
        parts = []
        with torch.inference_mode(), threads(self.n_threads):
            for inputs, n in self.batches(dataset.with_features(None)):
                features = _featurize(self.module_, inputs.to(self.device).arguments)
                parts.append([part[:n].cpu() for part in features])
        columns = zip(*parts, strict=True)
        return dataset.with_features([torch.cat(column).clone() for column in columns])

    def scale_features(self, dataset: PanelDataset) -> PanelDataset:
        """The dataset with features as the module takes them, after :meth:`fit_features`.

        Parameters
        ----------
        dataset : PanelDataset
            From :meth:`featurize`.

        Returns
        -------
        PanelDataset
            The same, where the module has no features.
        """
        if dataset.features is None:
            return dataset
        with torch.inference_mode(), threads(self.n_threads):
            pieces = [
                self.module_.scale_features(list(part))
                for part in zip(*(x.split(_MANY_ROWS) for x in dataset.features), strict=True)
            ]
        return dataset.with_features(
            [torch.cat(column).clone() for column in zip(*pieces, strict=True)]
        )

    def fit_features(self, training: PanelDataset) -> None:
        """Let the module learn the spread of its features, if it has any.

        Parameters
        ----------
        training : PanelDataset
            The samples that are trained on.
        """
        if training.features is not None:
            with threads(self.n_threads):
                self.module_.fit_features([part[training.rows] for part in training.features])

    def collect(self, dataset: PanelDataset) -> np.ndarray:
        """Predictions of the module, in order.

        Parameters
        ----------
        dataset : PanelDataset
            n samples.

        Returns
        -------
        array of shape (n, n_outputs)
            float32.
        """
        return self._predictions([self.module_], dataset)[0]

    def collect_each(self, nets: Sequence[PanelNet], dataset: PanelDataset) -> list[np.ndarray]:
        """Predictions of several networks, as `collect` of each gives them, but in one pass.

        Features that they have in common are computed once.

        Parameters
        ----------
        nets : sequence of PanelNet
            Of one device and precision.
        dataset : PanelDataset
            n samples.

        Returns
        -------
        list of array of shape (n, n_outputs)
            float32.
        """
        return list(self._predictions([net.module_ for net in nets], dataset))

    def collect_record(self, dataset: PanelDataset) -> dict[str, np.ndarray]:
        """What the module saw: the record of :class:`ModuleOutput`, first axis the samples.

        Parameters
        ----------
        dataset : PanelDataset
            n samples.

        Returns
        -------
        dict of str to array of shape (n, ...)
            By the names of the record.
        """
        records = [
            {key: _numpy(value)[:n] for key, value in output.record.items()}
            for (output,), n in self._outputs([self.module_], dataset, record=True)
        ]
        return {key: np.concatenate([r[key] for r in records]) for key in records[0]}

    def collect_dropout(self, dataset: PanelDataset, n_passes: int, seed: int) -> np.ndarray:
        """Predictions of ``n_passes`` networks that dropout draws from this one.

        Parameters
        ----------
        dataset : PanelDataset
            n samples.
        n_passes : int
            Passes; dropout is active, modality dropout is not.
        seed : int
            Of the draws.

        Returns
        -------
        array of shape (n_passes, n, n_outputs)
            float32.
        """
        module = deepcopy(self.module_)
        for part in module.modules():
            part.training = isinstance(part, Dropout)
        set_generator(module, torch.Generator(device=self.device).manual_seed(seed))
        return self._predictions([module] * n_passes, dataset)

    def _predictions(self, modules: Sequence[nn.Module], dataset: PanelDataset) -> np.ndarray:
        """Predictions of modules, ``(modules, n, n_outputs)``."""
        parts = [
            np.stack([_numpy(output.prediction)[:n] for output in outputs])
            for outputs, n in self._outputs(modules, dataset)
        ]
        return np.concatenate(parts, axis=1)

    def _outputs(
        self, modules: Sequence[nn.Module], dataset: PanelDataset, **arguments: Any
    ) -> Iterator[tuple[list[ModuleOutput], int]]:
        """Outputs of modules, batch by batch; of features that they share, one computation."""
        dtype = PRECISIONS[self.precision]
        device = torch.device(self.device).type
        for inputs, n in self.batches(dataset):
            given = inputs.to(self.device).arguments
            features: dict[Hashable, list[Tensor]] = {}
            outputs = []
            with torch.inference_mode(), threads(self.n_threads):
                for module in modules:
                    key = getattr(module, "features_key", None)
                    extra = {}
                    if key is not None and "features" not in given:
                        if key not in features:
                            raw = _featurize(module, given)
                            features[key] = cast(Any, module).scale_features(raw)
                        extra["features"] = features[key]
                    with torch.autocast(device, dtype=dtype, enabled=dtype is not None):
                        outputs.append(module(**given, **extra, **arguments))
            yield outputs, n


def _featurize(module: Any, arguments: dict[str, list[Tensor | None]]) -> list[Tensor]:
    """Fixed features of a batch; on the CPU a few samples at a time, which fit into its cache."""
    if arguments["observed"][0].device.type != "cpu":  # type: ignore[union-attr]
        return cast(list[Tensor], module.featurize(**arguments))
    longest = max(part.shape[1] for part in arguments["observed"])  # type: ignore[union-attr]
    n_rows = min(max(_CACHED_TIMEPOINTS // longest // _ROWS, 1), 4) * _ROWS
    split = {
        key: [None if part is None else part.split(n_rows) for part in parts]
        for key, parts in arguments.items()
    }
    n_pieces = len(split["observed"][0])  # type: ignore[arg-type]
    pieces = [
        module.featurize(
            **{key: [None if part is None else part[i] for part in split[key]] for key in split}
        )
        for i in range(n_pieces)
    ]
    return [torch.cat(column) for column in zip(*pieces, strict=True)]


def _numpy(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
