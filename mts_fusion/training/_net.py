"""PanelNet: one network and one task in skorch's loop. Its predictions are numpy arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from typing import Any, NoReturn

import numpy as np
import torch
from skorch import NeuralNet
from skorch.helper import predefined_split
from skorch.history import History
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mts_fusion.nn.layers import Dropout, set_generator
from mts_fusion.nn.networks import ModuleOutput
from mts_fusion.persistence import PackedState
from mts_fusion.runs import advance

from ._batch import NETWORK_ROWS, Inputs, PanelDataset, collate, padded_rows
from ._runtime import available_device, isolated
from ._scores import ScoredNet
from ._task import Task
from ._user_settings import is_early_stopping

__all__ = ["OPTIMIZERS", "PRECISIONS", "PanelNet"]

OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}

PRECISIONS = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}

# Parameters of a net that are stored with it.
_STORED = ("task", "precision", "gradient_clip", "seed", "n_threads", "batch_size", "device")

# Samples predicted at a time; more save no time.
_PREDICTED_AT_ONCE = 128


class _Stopped(Exception):
    """A callback has ended the training as planned."""


class _NoCriterion(nn.Module):
    """Not used: skorch requires a criterion, but the task and the module give the loss."""


class PanelNet(ScoredNet, PackedState, NeuralNet):
    """A network and its task in skorch's loop, with ``loss = task.loss + output.loss``.

    Parameters
    ----------
    module : torch.nn.Module
        The network, already built.
    task : Task or None, default=None
        None if the module returns the whole loss.
    precision : {"float32", "bf16", "fp16"}, default="float32"
        Precision of the matrix products. The weights stay float32.
    gradient_clip : float or None, default=None
        Maximum norm of the gradient of a step.
    seed : int, default=0
        Seed of all random numbers in training: shuffling, dropout and so on.
    n_threads : int or None, default=1
        Threads of each operation on the CPU. The same number gives the same bits; None uses the
        setting of torch, which differs between a process and its workers.
    **kwargs
        As for ``skorch.NeuralNet``.

    Notes
    -----
    The methods for prediction take an iterable of datasets and read one after the other. A
    generator of parts bounds the memory by that of a part.
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
        self.interrupted = False
        super().__init__(module, criterion=criterion, **kwargs)

    # What is stored: the network, and what predictions and a warm start need

    def _saved_state(self) -> dict[str, Any]:
        return {
            "module": getattr(self.module_, "_orig_mod", self.module_),  # without torch.compile
            "settings": {name: getattr(self, name) for name in (*_STORED, "compile")},
            "history": [{k: v for k, v in row.items() if k != "batches"} for row in self.history],
            "interrupted": self.interrupted,
            "is_trimmed": getattr(self, "_trimmed_for_prediction", False),
        }

    def _load_state(self, state: dict[str, Any]) -> None:
        settings = {**state["settings"], "device": available_device(state["settings"]["device"])}
        PanelNet.__init__(self, state["module"], verbose=0, callbacks__print_log=None, **settings)
        self.initialize()
        self.module_.eval()
        self.interrupted = state["interrupted"]
        self.history_ = History(state["history"])
        if state["is_trimmed"]:
            self.trim_for_prediction()

    # Training

    def train(self, training: PanelDataset, validation: PanelDataset | None) -> PanelNet:
        """Fit to a dataset, and evaluate on another one after each epoch.

        Parameters
        ----------
        training : PanelDataset
            With targets.
        validation : PanelDataset or None
            With targets; None for no evaluation.

        Returns
        -------
        PanelNet
            The fitted net, in evaluation mode. ``interrupted`` is True if Ctrl-C has ended the
            training; the net then has the weights so far.
        """
        if not self.initialized_:
            self.initialize()
        generator = torch.Generator(device=self.device).manual_seed(self.seed)
        set_generator(self.module_, generator)
        self.shuffle_: torch.Generator | None = torch.Generator().manual_seed(self.seed)
        self.train_split = None if validation is None else predefined_split(validation)
        self.interrupted, self.has_restored_ = False, False
        self.scaler_ = torch.amp.GradScaler(
            torch.device(self.device).type, enabled=self.precision == "fp16"
        )
        try:
            with isolated(self.n_threads, grad=True):
                self._train(training)
        finally:  # keep neither generators nor data
            set_generator(self.module_, None)
            self.shuffle_ = None
            self.train_split = None
            self.module_.eval()
        return self

    def continue_from(self, previous: PanelNet) -> None:
        """Take over the weights and the history of another net; the rest stays as it is here.

        Parameters
        ----------
        previous : PanelNet
            A trained net.

        Raises
        ------
        ValueError
            If its weights have other names or shapes.
        """
        mine, others = (dict(net.module_.named_parameters()) for net in (self, previous))
        shapes = [{name: tuple(p.shape) for name, p in one.items()} for one in (mine, others)]
        if differing := sorted(name for name, _ in shapes[0].items() ^ shapes[1].items()):
            raise ValueError(
                f"warm_start continues with the weights of the last fit, but {differing[0]!r} now "
                "has another shape. Set the parameters of the network as they were, or set "
                "warm_start=False to start anew."
            )
        with torch.no_grad():
            for name, weight in others.items():
                mine[name].copy_(weight)
        self.history_ = deepcopy(previous.history)

    def _train(self, training: PanelDataset) -> None:
        """As ``partial_fit`` of skorch, except that Ctrl-C and a planned end are told apart."""
        self.notify("on_train_begin", X=training, y=None)
        try:
            self.fit_loop(training, None)
        except _Stopped:
            pass
        except KeyboardInterrupt as error:
            self.interrupted = not is_early_stopping(error)
        self.notify("on_train_end", X=training, y=None)

    def initialize(self) -> PanelNet:
        """Initialise the net with the defaults of torch, whatever the user has set."""
        with isolated(None, grad=True):
            return super().initialize()

    def get_iterator(self, dataset: PanelDataset, training: bool = False) -> DataLoader:
        """Batches of a dataset, in training shuffled with a generator of this net."""
        # Without a generator, each pass would draw a number from the global one.
        generator = self.shuffle_ if training else torch.Generator()
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            shuffle=training,
            generator=generator,
            collate_fn=collate,  # type: ignore[arg-type]
        )

    def stop_training(self) -> NoReturn:
        """End the training as planned; for callbacks."""
        raise _Stopped

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
        """Losses, scores of callbacks and seconds by epoch, those of unfinished epochs left out."""
        keys = ("epoch", "train_loss", "valid_loss", "dur", *self.score_names())
        return [
            {key: float(row[key]) for key in keys if key in row}
            for row in self.history
            if "train_loss" in row
        ]

    def infer(self, x: Inputs, **fit_params: Any) -> ModuleOutput:
        """The output of the module for a batch."""
        with self._autocast():
            return self.module_(**x.to(self.device).arguments, **fit_params)

    def _autocast(self) -> torch.autocast:
        dtype = PRECISIONS[self.precision]
        return torch.autocast(
            torch.device(self.device).type, dtype=dtype, enabled=dtype is not None
        )

    def get_loss(
        self,
        y_pred: ModuleOutput,
        y_true: dict[str, Tensor],
        X: Any = None,
        training: bool = False,
    ) -> Tensor:
        """The loss of the task plus that of the module."""
        if self.task is None:
            return y_pred.loss
        y, weight = y_true["y"].to(self.device), y_true["weight"].to(self.device)
        return self.task.loss(y_pred.prediction, y, weight) + y_pred.loss

    # Prediction

    def batches(self, datasets: Iterable[PanelDataset]) -> Iterator[tuple[Inputs, int]]:
        """Inputs in order, batch by batch.

        A batch has four times ``batch_size`` samples, which take no more memory than a step of the
        training, but not more than 128 unless ``batch_size`` is larger. The last batch of a dataset
        is padded with its last sample to a multiple of 4 rows: a prediction then depends on the
        other samples of its batch only by rounding, below 1e-6 of a probability
        (docs/decisions/0024-batches-of-4-rows.md).

        Parameters
        ----------
        datasets : iterable of PanelDataset
            n samples in all.

        Yields
        ------
        tuple of Inputs and int
            A batch, and how many of its samples are not padding.
        """
        size = max(self.batch_size, min(4 * self.batch_size, _PREDICTED_AT_ONCE))
        size = -(-size // NETWORK_ROWS) * NETWORK_ROWS
        for dataset in datasets:
            for rows, n in padded_rows(len(dataset), size, NETWORK_ROWS):
                with isolated(self.n_threads):
                    inputs = dataset.__getitems__(rows)[0]
                yield inputs, n
                advance("prediction", n)

    def predict_raw(self, datasets: Iterable[PanelDataset]) -> np.ndarray:
        """Raw predictions of the network: logits, or standardised numbers.

        Parameters
        ----------
        datasets : iterable of PanelDataset
            n samples in all.

        Returns
        -------
        array of shape (n, n_outputs)
            float32.
        """
        return self._predictions([self.module_], datasets)[0]

    def predict_ensemble(
        self, nets: Sequence[PanelNet], datasets: Iterable[PanelDataset]
    ) -> list[np.ndarray]:
        """Raw predictions of several networks, as ``predict_raw`` of each, in one pass.

        Parameters
        ----------
        nets : sequence of PanelNet
            With the device and precision of this one.
        datasets : iterable of PanelDataset
            n samples in all.

        Returns
        -------
        list of array of shape (n, n_outputs)
            float32.
        """
        return list(self._predictions([net.module_ for net in nets], datasets))

    def predict_record(self, datasets: Iterable[PanelDataset]) -> dict[str, np.ndarray]:
        """The record of the network, see :class:`ModuleOutput`.

        Parameters
        ----------
        datasets : iterable of PanelDataset
            n samples in all.

        Returns
        -------
        dict of str to array of shape (n, ...)
            By the names of the record.
        """
        records = [
            {key: _numpy(value)[:n] for key, value in output.record.items()}
            for (output,), n in self._outputs([self.module_], datasets, record=True)
        ]
        return {key: np.concatenate([r[key] for r in records]) for key in records[0]}

    def predict_dropout(
        self, datasets: Iterable[PanelDataset], n_passes: int, seed: int
    ) -> np.ndarray:
        """Raw predictions of the network with dropout active, drawn anew in each pass.

        Parameters
        ----------
        datasets : iterable of PanelDataset
            n samples in all.
        n_passes : int
            Number of passes. Dropout is active in them, modality dropout is not.
        seed : int
            Seed of dropout.

        Returns
        -------
        array of shape (n_passes, n, n_outputs)
            float32.
        """
        module = deepcopy(self.module_)
        for layer in module.modules():
            layer.training = isinstance(layer, Dropout)
        set_generator(module, torch.Generator(device=self.device).manual_seed(seed))
        return self._predictions([module] * n_passes, datasets)

    def _predictions(
        self, modules: Sequence[nn.Module], datasets: Iterable[PanelDataset]
    ) -> np.ndarray:
        """Outputs of modules, ``(modules, n, n_outputs)``."""
        parts = [
            np.stack([_numpy(output.prediction)[:n] for output in outputs])
            for outputs, n in self._outputs(modules, datasets)
        ]
        return np.concatenate(parts, axis=1)

    def _outputs(
        self, modules: Sequence[nn.Module], datasets: Iterable[PanelDataset], **more: Any
    ) -> Iterator[tuple[list[ModuleOutput], int]]:
        """Outputs of modules, batch by batch."""
        for inputs, n in self.batches(datasets):
            arguments = {**inputs.to(self.device).arguments, **more}
            with isolated(self.n_threads), self._autocast():
                outputs = [module(**arguments) for module in modules]
            yield outputs, n


def _numpy(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
