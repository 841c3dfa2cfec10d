"""PatternModels: one exact model for every set of modalities, made when the set is first met.

Sizes: n samples, M modalities, F features and R coordinates of a modality, K heads, C targets,
B folds.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from mts_fusion.nn.ridge import DualSystem, KernelMap, PrimalSystem, RidgeRows, RidgeSolution

from ._boosting import BoostedTrees
from ._links import ScoreLink
from ._runtime import threads

__all__ = ["DUAL_ROWS", "N_SEARCHED", "Head", "PatternModel", "PatternModels", "TrainingRows"]

DUAL_ROWS = 800
"""``form="auto"``: dual up to so many training rows in the first fit, primal above."""

# Penalties that are tried: half a decade apart.
_PENALTIES = tuple(10.0 ** (i / 2) for i in range(-5, 5))

N_SEARCHED = 6
"""Beyond so many modalities most sets are met once: fewer folds, and no search for a penalty."""

# Coordinates of all modalities together in the primal form, the same beyond N_SEARCHED modalities,
# and bounds of those of one.
_ALL_COORDINATES, _ALL_OF_MANY, _FEWEST, _MOST = 1024, 768, 32, 512

# Landmarks of a kernel map in the primal form.
_N_LANDMARKS = 768

# Rows kept beside the sums in the primal form: for held-out answers, and to be forgotten by group.
_KEPT_ROWS = 20_000

# Sets of one modality that the penalty is searched on before the first prediction.
_N_SINGLES = 8

# Rows whose coordinates are computed at a time.
_CHUNK = 2048


class Head(NamedTuple):
    """One ridge regression on some kinds of features; the scores of all heads are added up.

    Parameters
    ----------
    kinds : tuple of str
        Kinds of features, side by side.
    bandwidths : tuple of float or None
        Of the Gaussian kernel, of which the best on held-out rows is kept; None is linear.
    """

    kinds: tuple[str, ...]
    bandwidths: tuple[float | None, ...]


class TrainingRows(NamedTuple):
    """What the models learn from.

    Parameters
    ----------
    features : list of M arrays of shape (n, F)
        NaN where nothing is known.
    targets : array of shape (n, C)
        float64.
    weight : array of shape (n,)
        Above 0.
    fold : array of shape (n,)
        int: rows of one fold are held out together.
    available : array of shape (n, M)
        Bool.
    keys : array of shape (n,)
        uint64, of content, target and group.
    content : array of shape (n,)
        uint64, of the content alone.
    group : array of shape (n,)
        int: number of the group, -1 for none.
    """

    features: list[np.ndarray]
    targets: np.ndarray
    weight: np.ndarray
    fold: np.ndarray
    available: np.ndarray
    keys: np.ndarray
    content: np.ndarray
    group: np.ndarray

    def take(self, index: np.ndarray) -> TrainingRows:
        """Some of the rows."""
        rest = (part[index] for part in self[1:])
        return TrainingRows([part[index] for part in self.features], *rest)


class PatternModel(NamedTuple):
    """The model of one set of modalities.

    Parameters
    ----------
    members : tuple of int
        Indices of the modalities.
    solutions : list of K RidgeSolution or None
        Of each head; None where it has no features of any of them.
    factors : array of shape (K,)
        By which the scores of the heads are multiplied before they are added up.
    coupling : array of shape (C, C)
        What the sum of them is multiplied by.
    held_out : array of shape (n, C)
        Sums of the kept rows, each by the models without its fold; NaN for rows without any of the
        modalities, and where no other fold has the class.
    loss : float
        Mean of the link's loss of those.
    direct : list of K dicts of int to Tensor of shape (F or L, C)
        By modality, what its features, or its kernel to the landmarks, are multiplied by: the
        coefficients behind the map, times the factor of the head and the coupling.
    constant : Tensor of shape (1, C)
        Added to that.
    """

    members: tuple[int, ...]
    solutions: list[RidgeSolution | None]
    factors: np.ndarray
    coupling: np.ndarray
    held_out: np.ndarray
    loss: float
    direct: list[dict[int, Tensor]]
    constant: Tensor


class _FittedHead:
    """Maps and the system of one head."""

    def __init__(self, columns: list[list[int]], maps: list[KernelMap | None]) -> None:
        self.columns = columns
        self.maps = maps
        self._parts = [_as_slice(some) for some in columns]
        self.system: DualSystem | PrimalSystem
        self.rows: RidgeRows
        self.penalties: dict[int, list[float]] = {}  # by number of modalities, best ones so far

    def members(self, members: Sequence[int]) -> list[int]:
        return [m for m in members if self.maps[m] is not None]

    def bases(self, features: Sequence[np.ndarray]) -> list[Tensor]:
        """What the maps are linear in: features, or kernels to the landmarks."""
        return [
            torch.zeros(len(part), 0, dtype=torch.float64)
            if kernel is None
            else kernel.base(_tensor(part[:, columns]))
            for part, columns, kernel in zip(features, self._parts, self.maps, strict=True)
        ]

    def coordinates(self, features: Sequence[np.ndarray]) -> list[Tensor]:
        """Of all modalities; of no width for one without a map."""
        n = len(features[0])
        result = []
        for part, columns, kernel in zip(features, self._parts, self.maps, strict=True):
            if kernel is None:
                result.append(torch.zeros(n, 0, dtype=torch.float64))
                continue
            starts = range(0, max(n, 1), _CHUNK)
            pieces = [kernel(_tensor(part[s : s + _CHUNK][:, columns])) for s in starts]
            result.append(torch.cat(pieces))
        return result


class PatternModels:
    """Ridge regressions on the features of every set of modalities that is met.

    Parameters
    ----------
    heads : sequence of K Head
        What is added up.
    columns : list of M dicts of str to list of int
        By modality and kind, the columns of the features.
    link : ScoreLink
        Targets and answers.
    form : {"auto", "dual", "primal"}, default="auto"
        One unknown a training row, or one a coordinate. ``"auto"``: dual up to 800 rows in the
        first fit.
    penalty : float or None, default=None
        Of all regressions; None searches for the one of the least held-out squared error.
    max_patterns : int, default=512
        Models kept; those not used for longest are dropped and made again when wanted.
    n_threads : int or None, default=None
        Threads of the algebra; None for those that torch has.
    device : str, default="cpu"
        Where the algebra runs.
    boosted_kinds : tuple of str or None, default=None
        Kinds of features of boosted trees whose scores are added as those of one more head;
        None for no trees. With trees, rows cannot come and go.
    seed : int, default=0
        Of the trees.

    Notes
    -----
    A set that no training row has anything of has no model.
    """

    def __init__(
        self,
        heads: Sequence[Head],
        columns: list[dict[str, list[int]]],
        link: ScoreLink,
        *,
        form: str = "auto",
        penalty: float | None = None,
        max_patterns: int = 512,
        n_threads: int | None = None,
        device: str = "cpu",
        boosted_kinds: tuple[str, ...] | None = None,
        seed: int = 0,
    ) -> None:
        self.settings = list(heads)
        self.boosted_kinds = boosted_kinds
        self.seed = seed
        self.trees: BoostedTrees | None = None
        self.columns = columns
        self.link = link
        self.form = form
        self.penalty = penalty
        self.max_patterns = max_patterns
        self.n_threads = n_threads
        self.device = device
        self.heads: list[_FittedHead] = []
        self.models: OrderedDict[tuple[int, ...], PatternModel | None] = OrderedDict()

    # Learning

    def fit(self, rows: TrainingRows, n_folds: int) -> Self:
        """Learn kernels and penalties; models of the sets come when they are met.

        Parameters
        ----------
        rows : TrainingRows
            n distinct rows, in an order that does not depend on where they stood.
        n_folds : int
            B.

        Returns
        -------
        PatternModels
            Itself.
        """
        self.n_folds = n_folds
        self.is_dual = self.form == "dual" or (self.form == "auto" and len(rows.keys) <= DUAL_ROWS)
        parts = (rows.keys, rows.weight, rows.fold)
        self.fingerprint = zlib.crc32(b"".join(part.tobytes() for part in parts))
        self._keep(rows)
        with self._place():
            self.heads = [
                self._fit_head(head, rows)
                for head in self.settings
                if any(by_kind.get(kind) for by_kind in self.columns for kind in head.kinds)
            ]
        if self.boosted_kinds is not None:
            self.trees = BoostedTrees(
                self._columns_of(self.boosted_kinds),
                is_regression=self.link.is_numeric,
                seed=self.seed,
            ).fit(rows.features, *rows[1:5], n_folds)
        self._update()
        return self

    def _columns_of(self, kinds: tuple[str, ...]) -> list[list[int]]:
        """Columns of some kinds, of each modality."""
        return [[i for kind in kinds for i in by_kind.get(kind, [])] for by_kind in self.columns]

    def _keep(self, rows: TrainingRows) -> None:
        """Note the targets and keys of rows; all of them, or those of the smallest keys."""
        self.kept = TrainingRows([], *rows[1:])
        self.total = np.concatenate(
            [[rows.weight.sum()], (rows.weight[:, None] * rows.targets).sum(0)]
        )
        self.n_rows = len(rows.keys)

    def _fit_head(self, head: Head, rows: TrainingRows) -> _FittedHead:
        """The head with its best bandwidth."""
        columns = self._columns_of(head.kinds)
        best: tuple[float, _FittedHead] | None = None
        for bandwidth in head.bandwidths:
            fitted = _FittedHead(columns, self._maps(columns, rows, bandwidth))
            self._build(fitted, rows)
            error = np.mean([self._search(fitted, members) for members in self._probes(fitted)])
            if best is None or error < best[0]:
                best = float(error), fitted
        assert best is not None
        return best[1]

    def _maps(
        self, columns: list[list[int]], rows: TrainingRows, bandwidth: float | None
    ) -> list[KernelMap | None]:
        n_modalities = sum(bool(some) for some in columns)
        in_all = _ALL_COORDINATES if n_modalities <= N_SEARCHED else _ALL_OF_MANY
        width = int(np.clip(in_all // max(n_modalities, 1), _FEWEST, _MOST))
        maps: list[KernelMap | None] = []
        for m, some in enumerate(columns):
            if not some:
                maps.append(None)
                continue
            part = rows.features[m]
            if self.is_dual:
                maps.append(KernelMap(_tensor(part[:, some]), bandwidth=bandwidth))
                continue
            chosen = np.flatnonzero(rows.available[:, m])[:_N_LANDMARKS]
            landmarks = part[chosen] if len(chosen) else part[:1]
            maps.append(
                KernelMap(_tensor(landmarks[:, some]), bandwidth=bandwidth, n_coordinates=width)
            )
        return maps

    def _build(self, head: _FittedHead, rows: TrainingRows) -> None:
        """Rows and system of a head whose maps are known."""
        if self.is_dual:
            n = len(rows.keys)
            grams = [torch.zeros(n, 0).double() if one is None else one.gram() for one in head.maps]
            head.rows = self._ridge_rows(grams, rows)
            head.system = DualSystem(head.rows, self.n_folds)
            return
        head.rows = self._ridge_rows(head.coordinates(rows.features), rows)
        widths = [part.shape[1] for part in head.rows.coordinates]
        head.system = PrimalSystem(widths, rows.targets.shape[1], self.n_folds)
        head.system.add(head.rows)
        head.rows = head.rows.take(_tensor(self._smallest(rows.keys)))

    def _ridge_rows(self, coordinates: list[Tensor], rows: TrainingRows) -> RidgeRows:
        targets, weight, fold, available = (_tensor(part) for part in rows[1:5])
        return RidgeRows(coordinates, targets, weight, fold, available)

    def _smallest(self, keys: np.ndarray) -> np.ndarray:
        """Indices of the rows that are kept, in their order."""
        if self.is_dual or len(keys) <= _KEPT_ROWS:
            return np.arange(len(keys))
        return np.sort(np.argsort(keys, kind="stable")[:_KEPT_ROWS])

    def _update(self) -> None:
        """After rows have changed: models are made anew when they are met."""
        chosen = self._smallest(self.kept.keys)
        self.kept = self.kept.take(chosen)
        self.models.clear()

    # Penalties

    def _probes(self, head: _FittedHead) -> list[tuple[int, ...]]:
        """Sets on which the penalty is searched: all modalities, and some alone."""
        every = tuple(head.members(range(len(self.columns))))
        places = np.unique(np.linspace(0, len(every) - 1, _N_SINGLES).round().astype(int))
        return [every, *((every[i],) for i in places)] if len(every) > 1 else [every]

    def _search(self, head: _FittedHead, members: tuple[int, ...]) -> float:
        """Note the best penalty of a set; the error with it."""
        solutions = self._solve(head, members, self._grid())
        errors = [self._held_out_error(head, solution) for solution in solutions]
        best = int(np.argmin(errors))
        head.penalties.setdefault(len(members), []).append(solutions[best].penalty)
        return errors[best]

    def _grid(self) -> tuple[float, ...]:
        return _PENALTIES if self.penalty is None else (self.penalty,)

    def _solve(
        self, head: _FittedHead, members: Sequence[int], penalties: Sequence[float]
    ) -> list[RidgeSolution]:
        with threads(self.n_threads), torch.inference_mode():
            if isinstance(head.system, DualSystem):
                return head.system.solve(members, penalties)
            return head.system.solve(members, penalties, head.rows)

    def _held_out_error(self, head: _FittedHead, solution: RidgeSolution) -> float:
        held_out = _array(solution.held_out)
        valid = self._valid(held_out, head.rows)
        if not valid.any():
            return 0.0
        targets, weight = _array(head.rows.targets)[valid], _array(head.rows.weight)[valid]
        error = ((held_out[valid] - targets) ** 2).mean(1)
        return float(np.average(error, weights=weight))

    def _valid(self, held_out: np.ndarray, rows: RidgeRows) -> np.ndarray:
        """Rows that were held out from models which have seen their like."""
        known = np.isfinite(held_out).all(1)
        targets, fold = _array(rows.targets), _array(rows.fold)
        if self.link.is_numeric or targets.shape[1] < 2:
            return known
        # A class that one fold has alone cannot be told by the others.
        in_folds = np.stack([targets[fold == b].max(0, initial=-1.0) > 0 for b in np.unique(fold)])
        lonely = in_folds.sum(0) < 2
        return known & ~(targets[:, lonely] > 0).any(1)

    def _candidates(self, head: _FittedHead, n_members: int) -> list[float]:
        """Penalties for a set of so many modalities, by those found for other numbers."""
        if self.penalty is not None:
            return [self.penalty]
        sizes = sorted(head.penalties)
        logs = [float(np.mean(np.log10(head.penalties[size]))) for size in sizes]
        middle = float(np.interp(n_members, sizes, logs))
        if len(self.columns) > N_SEARCHED:
            return [10.0**middle]
        return [10.0 ** (middle + step) for step in (-0.5, 0.0, 0.5)]

    # Models

    def model(self, members: tuple[int, ...]) -> PatternModel | None:
        """The model of a set of modalities, made now if it is not kept.

        Parameters
        ----------
        members : tuple of int
            Indices of the modalities, rising.

        Returns
        -------
        PatternModel or None
            None where no training row has any of them.
        """
        if members in self.models:
            self.models.move_to_end(members)
            return self.models[members]
        with self._place():
            model = self._make(members)
        self.models[members] = model
        if len(self.models) > self.max_patterns:
            self.models.popitem(last=False)
        return model

    def _make(self, members: tuple[int, ...]) -> PatternModel | None:
        if not members or not self._has_rows(members):
            return None
        solutions: list[RidgeSolution | None] = []
        for head in self.heads:
            own = head.members(members)
            if not own:
                solutions.append(None)
                continue
            found = self._solve(head, own, self._candidates(head, len(own)))
            if len(found) > 1:
                found.sort(key=lambda solution: self._held_out_error(head, solution))
            solutions.append(found[0])
        used = [k for k, solution in enumerate(solutions) if solution is not None]
        if not used:
            return None
        scores = [_array(solutions[k].held_out) for k in used]  # type: ignore[union-attr]
        rows = self.heads[used[0]].rows
        factors = np.zeros(len(self.heads) + (self.trees is not None))
        if self.trees is not None:
            scores.append(self.trees.held_out(members))
            used.append(len(self.heads))
        valid = self._valid(np.concatenate(scores, axis=1), rows)
        targets, weight = self.kept.targets, self.kept.weight
        held_out, loss = np.full_like(targets, np.nan), np.nan
        coupling = np.eye(targets.shape[1])
        if valid.any():
            few = [score[valid] for score in scores]
            factors[used] = self.link.weights(few, targets[valid], weight[valid])
            added = np.tensordot(factors[used], np.stack(few), 1)
            coupling = self.link.coupling(added, targets[valid], weight[valid])
            held_out[valid] = added @ coupling
            loss = self.link.loss(held_out[valid], targets[valid], weight[valid])
        else:
            factors[used] = 1 / len(used)
        direct, constant = self._direct(members, solutions, factors, coupling)
        return PatternModel(members, solutions, factors, coupling, held_out, loss, direct, constant)

    def _direct(
        self,
        members: tuple[int, ...],
        solutions: list[RidgeSolution | None],
        factors: np.ndarray,
        coupling: np.ndarray,
    ) -> tuple[list[dict[int, Tensor]], Tensor]:
        """What an answer needs, without coordinates between."""
        constant = torch.zeros(1, self.kept.targets.shape[1], dtype=torch.float64)
        direct: list[dict[int, Tensor]] = []
        for k, (head, solution) in enumerate(zip(self.heads, solutions, strict=True)):
            direct.append({})
            if solution is None:
                continue
            own = head.members(members)
            with torch.inference_mode():
                parts, added = head.system.split(solution.coef, own)
                mixing = factors[k] * torch.as_tensor(coupling)
                constant = constant + added @ mixing
                for m, part in zip(own, parts, strict=True):
                    direct[-1][m] = head.maps[m].behind(part @ mixing)  # type: ignore[union-attr]
        return direct, constant

    def _has_rows(self, members: tuple[int, ...]) -> bool:
        system = self.heads[0].system
        if isinstance(system, DualSystem):
            return bool(self.kept.available[:, list(members)].any())
        some = [table for p, table in system.presence.items() if any(p[m] for m in members)]
        return sum(float(table[:, 0].sum()) for table in some) > 1e-9

    # Answers

    def scores(self, features: Sequence[np.ndarray], available: np.ndarray) -> np.ndarray:
        """Scores before the link.

        Parameters
        ----------
        features : list of M arrays of shape (n, F)
            NaN where nothing is known.
        available : array of shape (n, M)
            Bool.

        Returns
        -------
        array of shape (n, C)
            float64; NaN where there is no model.
        """
        scores = np.full((len(available), self.kept.targets.shape[1]), np.nan)
        for rows, model, terms in self._terms(features, available):
            total = model.constant.expand(len(rows), -1)
            for _, term in terms:
                total = total + term
            scores[rows] = _array(total)
            if self.trees is not None:
                added = self.trees.scores([part[rows] for part in features])
                scores[rows] += model.factors[-1] * added @ model.coupling
        return scores

    def fold_scores(self, features: Sequence[np.ndarray], available: np.ndarray) -> np.ndarray:
        """Scores before the link of the models without each fold.

        Parameters
        ----------
        features : list of M arrays of shape (n, F)
            NaN where nothing is known.
        available : array of shape (n, M)
            Bool.

        Returns
        -------
        array of shape (B, n, C)
            float64; NaN where there is no model.
        """
        shape = (self.n_folds, len(available), self.kept.targets.shape[1])
        scores = np.full(shape, np.nan)
        for rows, model, designs in self.designs(features, available):
            total = np.zeros((shape[0], len(rows), shape[2]))
            for factor, solution, design in zip(
                model.factors[: len(self.heads)], model.solutions, designs, strict=True
            ):
                if solution is not None and design is not None:
                    total += factor * _array(design @ solution.fold_coef)
            if self.trees is not None:
                added = self.trees.fold_scores([part[rows] for part in features])
                total += model.factors[-1] * added
            scores[:, rows] = total @ model.coupling
        return scores

    def designs(
        self, features: Sequence[np.ndarray], available: np.ndarray
    ) -> Iterator[tuple[np.ndarray, PatternModel, list[Tensor | None]]]:
        """Rows of each set of modalities, its model, and what its coefficients are multiplied by.

        Parameters
        ----------
        features : list of M arrays of shape (n, F)
            NaN where nothing is known.
        available : array of shape (n, M)
            Bool.

        Yields
        ------
        rows : int array of shape (k,)
            Those of one set; rows without a model are left out.
        model : PatternModel
            Of that set.
        designs : list of K Tensors of shape (k, P) or None
            Of each head.
        """
        for rows, model, coordinates in self._grouped(features, available):
            designs: list[Tensor | None] = []
            for head, solution, parts in zip(self.heads, model.solutions, coordinates, strict=True):
                own = head.members(model.members)
                designs.append(
                    None if solution is None else head.system.design([parts[m] for m in own])
                )
            yield rows, model, designs

    def contributions(
        self, features: Sequence[np.ndarray], available: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What each modality adds to each score, and the constant.

        Parameters
        ----------
        features : list of M arrays of shape (n, F)
            NaN where nothing is known.
        available : array of shape (n, M)
            Bool.

        Returns
        -------
        contributions : array of shape (n, M, C)
            0 for what is silent.
        constant : array of shape (n, C)
            The sum of both is what `scores` gives; NaN where there is no model.
        """
        contributions = np.zeros((*available.shape, self.kept.targets.shape[1]))
        for rows, _, terms in self._terms(features, available):
            for m, term in terms:
                contributions[rows, m] += _array(term)
        return contributions, self.scores(features, available) - contributions.sum(1)

    def _terms(
        self, features: Sequence[np.ndarray], available: np.ndarray
    ) -> Iterator[tuple[np.ndarray, PatternModel, list[tuple[int, Tensor]]]]:
        """Rows of each set of modalities, its model, and what each modality adds, ``(k, C)``."""
        for start in range(0, len(available), _CHUNK):
            piece = slice(start, start + _CHUNK)
            with torch.inference_mode(), threads(self.n_threads), self._place():
                few = [part[piece] for part in features]
                bases = [head.bases(few) for head in self.heads]
            for rows, model in self.models_of(available[piece]):
                index = slice(None) if len(rows) == len(few[0]) else _tensor(rows)
                with torch.inference_mode(), threads(self.n_threads):
                    terms = [
                        (m, base[m][index] @ weights)
                        for base, maps in zip(bases, model.direct, strict=True)
                        for m, weights in maps.items()
                    ]
                yield rows + start, model, terms

    def models_of(self, available: np.ndarray) -> Iterator[tuple[np.ndarray, PatternModel]]:
        """Rows of each set of modalities and its model; rows without a model are left out.

        Parameters
        ----------
        available : array of shape (n, M)
            Bool.

        Yields
        ------
        rows : int array of shape (k,)
            Those of one set.
        model : PatternModel
            Of that set.
        """
        patterns, which = np.unique(available, axis=0, return_inverse=True)
        for p, pattern in enumerate(patterns):
            model = self.model(tuple(np.flatnonzero(pattern).tolist()))
            if model is not None:
                yield np.flatnonzero(which.ravel() == p), model

    def _grouped(
        self, features: Sequence[np.ndarray], available: np.ndarray
    ) -> Iterator[tuple[np.ndarray, PatternModel, list[list[Tensor]]]]:
        for start in range(0, len(available), _CHUNK):
            piece = slice(start, start + _CHUNK)
            with torch.inference_mode(), threads(self.n_threads), self._place():
                few = [part[piece] for part in features]
                coordinates = [head.coordinates(few) for head in self.heads]
            for rows, model in self.models_of(available[piece]):
                index = _tensor(rows)
                whole = len(rows) == len(few[0])
                with torch.inference_mode():
                    parts = [[c if whole else c[index] for c in one] for one in coordinates]
                    yield rows + start, model, parts

    def prior(self) -> np.ndarray:
        """Mean of the targets in training, ``(C,)``.

        Returns
        -------
        array of shape (C,)
            Weighted.
        """
        return self.total[1:] / max(self.total[0], 1e-300)

    # Rows that come and go

    def add(self, rows: TrainingRows) -> None:
        """Learn from more rows, as if they had been there from the first; kernels stay.

        Parameters
        ----------
        rows : TrainingRows
            k rows.
        """
        self._change(rows, 1.0)
        self.kept = TrainingRows(
            [],
            *(np.concatenate(both) for both in zip(self.kept[1:], rows[1:], strict=True)),
        )
        with self._place(), torch.inference_mode():
            for head in self.heads:
                if self.is_dual:
                    for m, kernel in enumerate(head.maps):
                        if kernel is not None:
                            kernel.append(_tensor(rows.features[m][:, head.columns[m]]))
                    self._build(head, self.kept)
                    continue
                new = self._ridge_rows(head.coordinates(rows.features), rows)
                assert isinstance(head.system, PrimalSystem)
                head.system.add(new)
                head.rows = head.rows.join(new).take(_tensor(self._smallest(self.kept.keys)))
        self._update()

    def forget(self, index: np.ndarray) -> None:
        """Take kept rows away, as if they had never been there; kernels stay.

        Parameters
        ----------
        index : int array of shape (k,)
            Positions among the kept rows.
        """
        gone = self.kept.take(index)
        self._change(gone, -1.0)
        left = np.setdiff1d(np.arange(len(self.kept.keys)), index)
        self.kept = self.kept.take(left)
        with self._place(), torch.inference_mode():
            for head in self.heads:
                if self.is_dual:
                    for kernel in head.maps:
                        if kernel is not None:
                            kernel.keep(_tensor(left))
                    self._build(head, self.kept)
                    continue
                assert isinstance(head.system, PrimalSystem)
                head.system.add(head.rows.take(_tensor(index)), -1.0)
                head.rows = head.rows.take(_tensor(left))
        self._update()

    def merge(self, other: PatternModels) -> None:
        """Learn from the rows of another, whose kernels are the same.

        Parameters
        ----------
        other : PatternModels
            With the same fingerprint.
        """
        if self.is_dual:
            widths = [sum(map(len, by_kind.values())) for by_kind in self.columns]
            n = len(other.kept.keys)
            features = [np.full((n, width), np.nan, np.float32) for width in widths]
            for head in other.heads:
                for m, kernel in enumerate(head.maps):
                    if kernel is not None:
                        features[m][:, head.columns[m]] = _array(kernel.landmark_features())
            self.add(TrainingRows(features, *other.kept[1:]))
            return
        self.total = self.total + other.total
        self.n_rows += other.n_rows
        keys = np.concatenate([self.kept.keys, other.kept.keys])
        chosen = _tensor(self._smallest(keys))
        for head, theirs in zip(self.heads, other.heads, strict=True):
            assert isinstance(head.system, PrimalSystem)
            assert isinstance(theirs.system, PrimalSystem)
            head.system.merge(theirs.system)
            head.rows = head.rows.join(theirs.rows).take(chosen)
        self.kept = TrainingRows(
            [], *(np.concatenate(b) for b in zip(self.kept[1:], other.kept[1:], strict=True))
        )
        self._update()

    def _change(self, rows: TrainingRows, sign: float) -> None:
        sums = np.concatenate([[rows.weight.sum()], (rows.weight[:, None] * rows.targets).sum(0)])
        self.total = self.total + sign * sums
        self.n_rows += int(sign) * len(rows.keys)
        if not self.n_rows:  # no rounding is left of what was there
            self.total = np.zeros_like(self.total)

    def _place(self) -> Any:
        return nullcontext() if self.device == "cpu" else torch.device(self.device)


def _as_slice(columns: list[int]) -> list[int] | slice:
    """The same columns, without a copy where they follow one another."""
    if columns and columns == list(range(columns[0], columns[-1] + 1)):
        return slice(columns[0], columns[-1] + 1)
    return columns


def _tensor(array: np.ndarray) -> Tensor:
    return torch.as_tensor(np.ascontiguousarray(array))


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
