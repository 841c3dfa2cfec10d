"""Part of the table ``speed``: MAESTRO as published, at the size of its WESAD, against loops."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable
from typing import Any

from ..inspection._costs import macs_of
from ._speed_products import matmul_rates, products, seconds_of
from ._tables import markdown, median_and_range

__all__ = ["CHANNELS", "N_TOKENS", "preset_cells", "preset_text", "work_preset"]

Cell = dict[str, Any]
Row = dict[str, Any]

CHANNELS = (3, 1, 1, 1, 1, 3, 1, 1, 1, 1)  # MAESTRO's WESAD: 10 modalities, 14 channels
N_TOKENS = 128
_STEP, _MANY, _ONE = "training step, batch 64", "forward, batch 64", "forward, batch 1"
_REQUIRED = {_STEP: 0.4, _MANY: 0.5, _ONE: 0.4}
_AIM_PRODUCTS = 1.2
_BATCH = 64
_MODALITY_DROPOUT = 0.4  # as in the settings, at the end of the curriculum


def _preset(n: int) -> tuple[Any, list[Any], list[Any]]:
    """The network of ``from_paper("wesad")``, and symbols of n samples: values and observed."""
    import numpy as np

    from ..estimators import MaestroClassifier
    from ..panel import Panel
    from ..training import PanelDataset

    draw = np.random.default_rng(0).normal
    values = {f"m{i}": draw(size=(n, c, 2 * N_TOKENS)) for i, c in enumerate(CHANNELS)}
    X = Panel(values, rates=dict.fromkeys(values, 2.0))
    clf = MaestroClassifier.from_paper("wesad", random_state=0)
    # One step, for the module that the estimator builds.
    clf.set_params(clf__max_epochs=1, clf__validation_fraction=0.0, clf__patience=None)
    clf.fit(X[:4], np.arange(4) % 2)
    net = clf[-1].nets_[0].module_.requires_grad_()
    net.modality_dropout.p.fill_(_MODALITY_DROPOUT)
    arguments = PanelDataset(clf[0].transform(X)).__getitems__(np.arange(n))[0].arguments
    return net, arguments["values"], arguments["observed"]


def _largest_difference(nets: dict[str, Any], values: list[Any], observed: list[Any]) -> float:
    """Of predictions and gradients in float64, as a share; raises if it is one."""
    import torch

    part = [o[:4].clone() for o in observed]
    part[-1][1], part[0][2:] = False, False  # missing sensors too
    predictions, gradients = [], []
    for net in nets.values():
        exact = copy.deepcopy(net).double().eval()
        out = exact([v[:4] for v in values], part)
        predictions.append(out if isinstance(out, torch.Tensor) else out.prediction)
        predictions[-1].square().sum().backward()
        shared = getattr(exact, "net", exact)
        gradients.append(torch.cat([p.grad.flatten() for p in shared.patches.time.parameters()]))
    pairs = (predictions, gradients)
    different = max(float((a - b).detach().abs().max() / b.detach().abs().max()) for a, b in pairs)
    if not different < 1e-6:
        raise RuntimeError(f"The loops give other numbers than the network, by {different:g}.")
    return different


def _stepper(net: Any, values: list[Any], observed: list[Any]) -> Callable[[], None]:
    """One training step: forward, backward, Adam."""
    import torch

    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    target = torch.arange(len(values[0])) % 2

    def step() -> None:
        net.train()
        optimiser.zero_grad(set_to_none=True)
        out = net(values, observed)
        prediction = out if isinstance(out, torch.Tensor) else out.prediction
        torch.nn.functional.cross_entropy(prediction, target).backward()
        optimiser.step()

    return step


def _predictor(net: Any, values: list[Any], observed: list[Any]) -> Callable[[], None]:
    """Predictions without gradients."""
    import torch

    def predict() -> None:
        net.eval()
        with torch.no_grad():
            net(values, observed)

    return predict


def work_preset(cell: Cell) -> list[Row]:
    """Steps and forward passes of both, and matrix products, in turn, in one process."""
    import torch

    from ._reference_maestro import LoopMaestro

    torch.set_num_threads(1)
    net, values, observed = _preset(_BATCH)
    nets = {"ours": net, "loop": LoopMaestro(copy.deepcopy(net))}
    difference = _largest_difference(nets, values, observed)
    one = [v[:1] for v in values], [o[:1] for o in observed]
    calls = {
        (what, name): make(network, *batch)
        for what, make, batch in (
            (_STEP, _stepper, (values, observed)),
            (_MANY, _predictor, (values, observed)),
            (_ONE, _predictor, one),
        )
        for name, network in nets.items()
    }
    with torch.no_grad():
        macs = 3.0 * macs_of(lambda: net.eval()(values, observed))
    rates = matmul_rates(
        products(len(CHANNELS), N_TOKENS, _BATCH, net.intra[0].inner.weight.shape[-1])
    )
    for call in calls.values():
        call()
    rows = []
    for i in range(cell["rounds"]):
        row: Row = {"round": i, "difference": difference, "macs": macs}
        for (what, name), call in calls.items():
            row[f"{name}, {what}"] = seconds_of(call)[0]
        row["rate"] = rates()[0]
        rows.append(row)
    return rows


def preset_cells(quick: bool) -> list[Cell]:
    """The one cell of this part."""
    return [{"part": "preset", "batch": _BATCH, "rounds": 3 if quick else 20}]


def preset_text(rows: list[Row]) -> list[str]:
    """A table of processor seconds and ratios, and what was reached."""
    if not rows:
        return []
    lines = []
    for what, required in _REQUIRED.items():
        ours, loop = ([row[f"{name}, {what}"] for row in rows] for name in ("ours", "loop"))
        ratios = [a / b for a, b in zip(ours, loop, strict=True)]
        reached = "reached" if statistics.median(ratios) <= required else "NOT reached"
        shown = [median_and_range([1e3 * x for x in of], 1) for of in (ours, loop)]
        lines.append([what, *shown, median_and_range(ratios, 3), f"{required:g}: {reached}"])
    times = [row[f"ours, {_STEP}"] * row["rate"] / row["macs"] for row in rows]
    reached = "reached" if statistics.median(times) <= _AIM_PRODUCTS else "NOT reached"
    return [
        f'MaestroClassifier.from_paper("wesad"): {len(rows)} rounds, both and matrix products in '
        "turn; processor milliseconds, median (least-most). Outputs and gradients are equal up to "
        f"{rows[0]['difference']:.0e} in float64.",
        markdown(["", "ours, ms", "loop, ms", "ours / loop, paired", "required at most"], lines),
        f"Training step / its matrix products: {median_and_range(times, 2)}; aim "
        f"{_AIM_PRODUCTS:g}: {reached}.",
    ]
