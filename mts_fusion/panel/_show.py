"""How a Panel shows itself: a line, or a row of a table, for each modality or sample."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from ._frames import as_frame

__all__ = ["as_html", "as_text", "modality_table", "sample_table"]

_HEAD = ["modality", "channels", "length", "rate", "values", "missing"]


def modality_table(panel: Any) -> Any:
    """A frame with a row for each modality of a panel."""
    keys = ["channels", "timepoints", "clock", "rate_hz", "missing_fraction", "absent_fraction"]
    rows: dict[str, list[Any]] = {key: [] for key in [*keys, "mean", "std", "channel_names"]}
    available, observed = panel.available, panel.observed
    for column, m in enumerate(panel.schema):
        values = panel.values[m.name]
        measured = values[observed[m.name]]
        has_level = m.vocabulary is None and measured.size
        clock = "irregular" if m.irregular else "unknown" if m.rate is None else "regular"
        rows["channels"].append(m.n_channels)
        rows["timepoints"].append(m.n_timepoints)
        rows["clock"].append(clock)
        rows["rate_hz"].append(np.nan if m.rate is None else m.rate)
        rows["missing_fraction"].append(1 - measured.size / values.size if values.size else np.nan)
        rows["absent_fraction"].append(1 - available[:, column].mean() if len(panel) else np.nan)
        rows["mean"].append(measured.mean(dtype=float) if has_level else np.nan)
        rows["std"].append(measured.std(dtype=float) if has_level else np.nan)
        rows["channel_names"].append(None if m.channels is None else ", ".join(m.channels))
    return as_frame(rows, index=list(panel.schema.names), index_name="modality")


def sample_table(panel: Any) -> Any:
    """A frame with the fraction of missing values of each sample and modality."""
    n = len(panel)
    rows = {
        name: 1 - observed.reshape(n, -1).mean(1) if n else []
        for name, observed in panel.observed.items()
    }
    ids = range(n) if panel.sample_ids is None else panel.sample_ids
    return as_frame(rows, index=list(ids), index_name="sample")


def _table(panel: Any) -> list[list[str]]:
    rows = []
    observed = panel.observed
    for m in panel.schema:
        mask = observed[m.name]
        missing = f"{1 - mask.mean():.1%}" if mask.size else "-"
        rate = ("irregular" if m.irregular else "-") if m.rate is None else f"{m.rate:g} Hz"
        kind = "numbers" if m.vocabulary is None else f"{m.vocabulary.size} symbols"
        rows.append([m.name, str(m.n_channels), str(m.n_timepoints), rate, kind, missing])
    return rows


def _title(panel: Any) -> str:
    title = f"Panel of {len(panel)} samples"
    ids = panel.sample_ids
    if ids is None or not len(ids):
        return title
    return f"{title}, {ids[0]}" + (f" to {ids[-1]}" if len(ids) > 1 else "")


def as_text(panel: Any) -> str:
    """A panel as lines of text."""
    rows = [_HEAD, *_table(panel)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    lines = [
        "  ".join(
            cell.ljust(width) if i in (0, 4) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return _title(panel) + "\n" + "\n".join(lines)


def as_html(panel: Any) -> str:
    """A panel as a table of a notebook."""
    cells = "".join(f"<th>{name}</th>" for name in _HEAD)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in _table(panel)
    )
    return (
        f"<table><caption>{html.escape(_title(panel))}</caption>"
        f"<thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
    )
