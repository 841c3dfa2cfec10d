"""Table ``speed``: a training step of Maestro against loops and against its matrix products."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ..inspection._costs import macs_of
from ._cells import run_cells
from ._costs import peak_memory
from ._speed_preset import CHANNELS as _CHANNELS
from ._speed_preset import N_TOKENS as _N_TOKENS
from ._speed_preset import preset_cells, preset_text, work_preset
from ._speed_products import matmul_rates, products, seconds_of
from ._tables import Settings, Table, failures, markdown, median_and_range, page

__all__ = ["TABLE"]

Cell = dict[str, Any]
Row = dict[str, Any]

_BATCH, _BUDGET = 64, 5.0
_REQUIRED_TIME, _REQUIRED_MEMORY, _REQUIRED_PRODUCTS = 0.35, 0.4, 2.5
_LENGTHS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384)
_MODALITIES = (2, 4, 8, 16, 32, 64)
_OURS, _LOOP = "ours", "loop"


def _network(channels: tuple[int, ...], n_tokens: int, name: str) -> Any:
    """Ours at the size of the paper, or the loops with the same weights."""
    import torch

    from ..nn import Maestro
    from ..panel import Modality, Schema
    from ._reference_maestro import LoopMaestro

    modalities = (Modality(f"m{i}", c, n_tokens, rate=1.0) for i, c in enumerate(channels))
    torch.manual_seed(0)
    # One token a timepoint, budgets inside and across, no fixed features: what the paper describes.
    paper: dict[str, Any] = {"n_heads": 8, "modality_dropout": 0.4, "dropout": 0.1}
    net = Maestro(Schema(tuple(modalities)), 2, patch_length=1, cross_budget=_BUDGET, **paper)
    return net if name == _OURS else LoopMaestro(net)


def _batch(channels: tuple[int, ...], n_tokens: int, n: int) -> tuple[list[Any], list[Any]]:
    import torch

    torch.manual_seed(1)
    values = [torch.randn(n, n_tokens, c) for c in channels]
    return values, [torch.ones(n, n_tokens, c, dtype=torch.bool) for c in channels]


def _stepper(net: Any, channels: tuple[int, ...], n_tokens: int, n: int) -> Callable[[], None]:
    """One training step: forward, backward, Adam. Once on two samples before it is handed out."""
    import torch

    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    net.train()

    def step(values: list[Any], observed: list[Any]) -> None:
        optimiser.zero_grad(set_to_none=True)
        out = net(values, observed)
        prediction = out if isinstance(out, torch.Tensor) else out.prediction
        target = torch.arange(len(prediction)) % 2
        torch.nn.functional.cross_entropy(prediction, target).backward()
        optimiser.step()

    step(*_batch(channels, n_tokens, 2))
    return partial(step, *_batch(channels, n_tokens, n))


def _same_outputs() -> float:
    """Largest difference of predictions and gradients, as a share; raises if it is one."""
    import torch

    ours = _network(_CHANNELS, _N_TOKENS, _OURS).double().eval()
    loop = _network(_CHANNELS, _N_TOKENS, _LOOP).double().eval()
    values, observed = _batch(_CHANNELS, _N_TOKENS, 4)
    observed[3][1], observed[0][2:] = False, False  # missing sensors too
    values = [x.double() for x in values]
    results = [ours(values, observed).prediction, loop(values, observed)]
    for prediction in results:
        prediction.square().sum().backward()
    results += [ours.intra[0].qkv.weight.grad]
    results += [torch.cat([layers[0].qkv.weight.grad for layers in loop.intra])]
    different = max(
        float((a - b).detach().abs().max() / b.detach().abs().max())
        for a, b in (results[:2], results[2:])
    )
    if not different < 1e-6:
        raise RuntimeError(f"The loops give other numbers than the network, by {different:g}.")
    return different


def _step_cell(cell: Cell) -> list[Row]:
    """Steps of both and matrix products, in turn, in one process."""
    import torch

    torch.set_num_threads(1)
    difference = _same_outputs()
    size = (_CHANNELS, _N_TOKENS, _BATCH)
    net = _network(_CHANNELS, _N_TOKENS, _OURS)
    with torch.no_grad():
        macs = 3.0 * macs_of(lambda: net.eval()(*_batch(*size)))
    steps = {_OURS: _stepper(net, *size)}
    steps[_LOOP] = _stepper(_network(_CHANNELS, _N_TOKENS, _LOOP), *size)
    rates = matmul_rates(products(len(_CHANNELS), _N_TOKENS, _BATCH, 128))
    for step in steps.values():
        step()
    rows = []
    for i in range(cell["rounds"]):
        row: Row = {"round": i, "difference": difference, "macs": macs}
        for name, step in steps.items():
            row[f"{name}_cpu_s"], row[f"{name}_wall_s"] = seconds_of(step)
        row["rate"], row["large_rate"] = rates()
        rows.append(row)
    return rows


def _cost_cell(cell: Cell) -> list[Row]:
    """Peak memory and time of steps of one network, in a process of its own."""
    import torch

    torch.set_num_threads(1)
    channels = _CHANNELS if cell["modalities"] == len(_CHANNELS) else (1,) * cell["modalities"]
    net = _network(channels, cell["tokens"], cell["network"])
    step = _stepper(net, channels, cell["tokens"], cell["batch"])
    with peak_memory() as memory:
        taken = [seconds_of(step) for _ in range(cell["steps"])]
    cpu = [seconds for seconds, _ in taken]
    return [{"peak_mb": memory.peak_mb, "cpu_s": min(cpu), "cpu_s_most": max(cpu)}]


def _work(cell: Cell) -> list[Row]:
    if cell["part"] == "preset":
        return work_preset(cell)
    return _step_cell(cell) if cell["part"] == "step" else _cost_cell(cell)


def _cells(quick: bool) -> list[Cell]:
    cells: list[Cell] = preset_cells(quick)
    cells.append({"part": "step", "batch": _BATCH, "rounds": 5 if quick else 20})
    size = {"modalities": len(_CHANNELS), "tokens": _N_TOKENS, "batch": _BATCH}
    for repeat in range(1 if quick else 5):
        for name in (_OURS, _LOOP):
            cells.append({"part": "memory", "network": name, **size, "steps": 3, "repeat": repeat})
    steps = 1 if quick else 3
    for name in (_OURS, _LOOP):
        for n in _LENGTHS[: 5 if quick else None]:
            size = {"modalities": 2, "tokens": n, "batch": 4}
            cells.append({"part": "length", "network": name, **size, "steps": steps})
        for m in _MODALITIES[: 4 if quick else None]:
            size = {"modalities": m, "tokens": _N_TOKENS, "batch": 8}
            cells.append({"part": "modalities", "network": name, **size, "steps": steps})
    return cells


def _run(settings: Settings) -> str:
    rows = run_cells(
        _cells(settings.quick), _work, table="speed", out=settings.out, isolate=settings.isolate
    )
    parts = [
        f"A training step (forward, backward, Adam) of Maestro at the size of its WESAD: "
        f"{len(_CHANNELS)} modalities, {sum(_CHANNELS)} channels, {_N_TOKENS} tokens each, width "
        f"64, 2 + 2 layers, batch {_BATCH}; one thread. Loop: one modality after another, keys "
        "gathered for each query, one expert after another. First as published, with symbols, "
        "missing tokens and hidden layers of 256; then with numbers and hidden layers of 128.",
        *failures(rows),
    ]
    if settings.quick:
        parts.append("SHORTENED: few rounds, short lengths; says that it runs, not how fast.")
    done = [row for row in rows if "error" not in row]
    parts += preset_text([row for row in done if row["part"] == "preset"])
    parts += _step_text([row for row in done if row["part"] == "step"])
    done = [row for row in done if "peak_mb" in row]
    parts += _memory_text([row for row in done if row["part"] == "memory"])
    for part, column in (("length", "tokens"), ("modalities", "modalities")):
        parts += _growth_text([row for row in done if row["part"] == part], column)
    if settings.out is not None:
        _figure(done, settings.out / "speed.png")
    return page(parts)


def _word(value: float, required: float) -> str:
    return f"required at most {required:g}: {'reached' if value <= required else 'NOT reached'}"


def _step_text(rows: list[Row]) -> list[str]:
    if not rows:
        return []
    ratios = [row["ours_cpu_s"] / row["loop_cpu_s"] for row in rows]
    lines = [
        [
            name,
            median_and_range([row[f"{name}_cpu_s"] for row in rows], 2),
            median_and_range([row[f"{name}_wall_s"] for row in rows], 2),
            median_and_range([row[f"{name}_cpu_s"] * row["rate"] / row["macs"] for row in rows], 2),
            median_and_range(
                [row[f"{name}_cpu_s"] * row["large_rate"] / row["macs"] for row in rows], 2
            ),
        ]
        for name in (_OURS, _LOOP)
    ]
    header = ["step", "processor, s", "clock, s", "times its products", "the same at 1024 cubed"]
    rate = statistics.median(row["rate"] for row in rows) / 1e9
    large = statistics.median(row["large_rate"] for row in rows) / 1e9
    ratio = statistics.median(ratios)
    times = statistics.median(row["ours_cpu_s"] * row["rate"] / row["macs"] for row in rows)
    return [
        f"{len(rows)} rounds, ours, loop and matrix products in turn: median (least-most). "
        f"Products: {rows[0]['macs'] / 1e9:.1f} GMAC a step (three times a forward pass) at "
        f"{rate:.0f} GMAC/s, measured on the network's own products, and at {large:.0f} GMAC/s, on "
        "a square of 1024. Outputs and gradients of the two are equal up to "
        f"{rows[0]['difference']:.0e} in float64.",
        markdown(header, lines),
        f"Time, ours / loop, paired: {median_and_range(ratios, 3)}; "
        f"{_word(ratio, _REQUIRED_TIME)}.",
        f"Time, ours / products: {times:.2f}; {_word(times, _REQUIRED_PRODUCTS)}.",
    ]


def _memory_text(rows: list[Row]) -> list[str]:
    peaks = {
        name: [row["peak_mb"] for row in rows if row["network"] == name] for name in (_OURS, _LOOP)
    }
    if not all(peaks.values()):
        return []
    ratio = statistics.median(peaks[_OURS]) / statistics.median(peaks[_LOOP])
    return [
        f"Peak memory above that of the process before the step, MB: ours "
        f"{median_and_range(peaks[_OURS], 0)}, loop {median_and_range(peaks[_LOOP], 0)}, "
        f"{len(peaks[_OURS])} processes each. Ours / loop {ratio:.3f}; "
        f"{_word(ratio, _REQUIRED_MEMORY)}."
    ]


def _growth_text(rows: list[Row], column: str) -> list[str]:
    if not rows:
        return []
    sizes = sorted({row[column] for row in rows})
    row_of = {(row["network"], row[column]): row for row in rows}
    lines, exponents = [], []
    for name in (_OURS, _LOOP):
        for key, digits, unit in (("cpu_s", 2, "s"), ("peak_mb", 0, "MB")):
            points = [(n, row_of[name, n][key]) for n in sizes if (name, n) in row_of]
            cells = {n: f"{x:.{digits}f}" for n, x in points}
            lines.append([f"{name}, {unit}", *(cells.get(n, "-") for n in sizes)])
            half = points[len(points) // 2 - 1 :]
            exponents.append(
                f"{name}, {unit} {_exponent(points):.2f} ({_exponent(half):.2f} of the larger half)"
            )
    size = rows[0]
    fixed = (
        f"{size['modalities']} modalities, batch {size['batch']}, tokens of each"
        if column == "tokens"
        else f"{size['tokens']} tokens each, batch {size['batch']}, modalities"
    )
    return [
        f"A step at growing size: {fixed}.",
        markdown([column, *map(str, sizes)], lines),
        f"Growth as a power of {column}: " + "; ".join(exponents) + ".",
    ]


def _exponent(points: list[tuple[int, float]]) -> float:
    """Slope of a straight line through the logarithms."""
    if len(points) < 2:
        return math.nan
    x, y = ([math.log(p[i]) for p in points] for i in (0, 1))
    return statistics.linear_regression(x, y).slope


def _figure(rows: list[Row], path: Path) -> None:
    """Time and memory against tokens and modalities, both axes logarithmic."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            "The figure of the table speed requires matplotlib: pip install 'mts-fusion[plot]'."
        ) from None
    figure = Figure(figsize=(9, 7), layout="constrained")
    axes = figure.subplots(2, 2)
    labels = {"cpu_s": "step (processor seconds)", "peak_mb": "peak memory (MB)"}
    for j, (part, column) in enumerate((("length", "tokens"), ("modalities", "modalities"))):
        for i, key in enumerate(("cpu_s", "peak_mb")):
            axis = axes[i, j]
            for name, style in ((_OURS, "-"), (_LOOP, "--")):
                points = sorted(
                    (row[column], row[key])
                    for row in rows
                    if row["part"] == part and row["network"] == name
                )
                if points:
                    axis.plot(*zip(*points, strict=True), style, marker="o", label=name)
            if axis.lines:
                x, y = axis.lines[0].get_data()
                axis.plot(x, [y[-1] * n / x[-1] for n in x], ":", color="gray", label="linear")
                axis.legend(fontsize="small")
            axis.set(xscale="log", yscale="log", xlabel=column, ylabel=labels[key])
            sizes = sorted({row[column] for row in rows if row["part"] == part})
            axis.set_xticks(sizes, [str(n) for n in sizes], fontsize="small")
            axis.set_xticks([], minor=True)
    axes[0, 0].set(xlabel="tokens of each of 2 modalities")
    axes[1, 0].set(xlabel="tokens of each of 2 modalities")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


TABLE = Table(
    summary="a training step of Maestro against loops, its matrix products, and growing sizes",
    run=_run,
    seeds=(0,),
)
