"""Write the tables of the pages beside this file from the CSV files beside it.

A table follows a comment such as

    <!-- table: dsads.csv; dataset: dsads; metrics: macro_f1, ece -->

and has one row a method. ``shares`` are the shares of missing sensors that it shows (``none`` where
a metric has no share: then there is one column a metric), ``omit`` the methods that stay in the CSV
file alone, separated by ``|``. Run ``python docs/benchmarks/tables.py`` after a CSV file has
changed; a test compares the two.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

HERE = Path(__file__).parent
MARKER = re.compile(r"^<!-- table: (.*?) -->\n+((?:\|.*\n)*)\n*", re.M)
COLUMNS = ["dataset", "method", "share_missing", "metric", "mean", "sd", "folds", "commit"]
LABELS = {
    "accuracy": "accuracy",
    "auprc": "AUPRC",
    "auroc": "AUROC",
    "batch_1000_ms": "batch of 1,000, ms",
    "batch_1_ms": "batch of 1, ms",
    "clock_seconds": "clock, s",
    "cosine": "cosine similarity",
    "coverage_90_band": "truth in the 90 % band",
    "coverage_90": "truth in the 90 % set",
    "crps": "CRPS",
    "doubt_of_imputation": "doubt of the imputation, nats",
    "ece": "ECE",
    "ece_without_temperature": "ECE without temperature",
    "energy": "energy score",
    "f1": "F1",
    "fit_seconds": "fit, s",
    "forecast_mae": "MAE of the forecast",
    "forward_1_ms": "forward, batch of 1, ms",
    "forward_1_of_loops": "of the loops",
    "forward_64_ms": "forward, batch of 64, ms",
    "forward_64_of_loops": "of the loops",
    "gflop_batch_32": "GFLOP, batch of 32",
    "largest_difference": "largest difference",
    "macro_f1": "macro-F1",
    "macro_f1_additive": "additive noise",
    "macro_f1_first_quarter": "first quarter hidden",
    "macro_f1_last_quarter": "last quarter hidden",
    "macro_f1_random": "random noise",
    "macro_f1_spikes": "noise and spikes",
    "macs_m": "MACs a sample, M",
    "mae": "MAE",
    "memory_mb": "peak memory, MB",
    "mmac_batch_32": "MMAC, batch of 32",
    "nll": "log loss",
    "parameters_k": "parameters, k",
    "parameters_m": "parameters, M",
    "predict_ms": "predict, ms a sample",
    "processor_ms": "processor, ms",
    "processor_seconds": "processor, s",
    "rmse": "RMSE",
    "samples_trained_on": "samples trained on",
    "set_size": "classes in the set",
    "share_nearer": "nearer than nearest filling",
    "share_improved": "share improved",
    "step_64_ms": "training step, batch of 64, ms",
    "step_64_of_loops": "of the loops",
    "torso + right_arm + left_arm + right_leg + left_leg": "all",
    "bvp + acc + eda + temp + hr": "all",
    "ece_plain": "ECE without the temperature",
    "times_the_matrix_products": "times its matrix products",
    "value": "value",
}


def read(name: str) -> list[dict[str, str]]:
    """The rows of a CSV file beside this file."""
    with (HERE / name).open(newline="") as file:
        return list(csv.DictReader(file))


def table(options: str) -> str:
    """The Markdown table that the text of a marker asks for."""
    name, *rest = options.split("; ")
    wanted = dict(part.split(": ", 1) for part in rest)
    metrics = wanted["metrics"].split(", ")
    shares = wanted.get("shares", "0, 0.2, 0.4, 0.6").split(", ")
    shares = [""] if shares == ["none"] else shares
    omit = wanted.get("omit", "").split(" | ")
    rows = [row for row in read(name) if row["dataset"] == wanted["dataset"]]
    cells = {(row["method"], row["metric"], row["share_missing"]): row for row in rows}
    columns = [(metric, share) for metric in metrics for share in shares]
    head = ["method"] + [_head(metric, share, shares) for metric, share in columns]
    lines = [[*head, "folds", "commit"], ["---"] * (len(head) + 2)]
    for method in dict.fromkeys(row["method"] for row in rows):
        found = [cells.get((method, *column)) for column in columns]
        source = next((row for row in found if row is not None), None)
        if source is not None and method not in omit:
            commits = ", ".join(dict.fromkeys(row["commit"] for row in found if row is not None))
            lines.append([method, *map(_entry, found), source["folds"], commits])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _head(metric: str, share: str, shares: list[str]) -> str:
    label = LABELS.get(metric, metric)
    return _short(share) if share != shares[0] else f"{label}, {_short(share)}".removesuffix(", ")


def _entry(row: dict[str, str] | None) -> str:
    if row is None:
        return ""
    return _short(row["mean"]) + (f" ({_short(row['sd'])})" if row["sd"] else "")


def _short(number: str) -> str:
    return re.sub(r"^(-?)0\.", r"\1.", number)


def render(page: str) -> str:
    """The text of a page with each of its tables made anew, and an empty line after each."""
    text = MARKER.sub(lambda m: f"<!-- table: {m[1]} -->\n\n{table(m[1])}\n", page)
    return text.rstrip("\n") + "\n"


def main() -> None:
    """Rewrite all pages."""
    for path in sorted(HERE.glob("*.md")):
        path.write_text(render(path.read_text()))


if __name__ == "__main__":
    main()
