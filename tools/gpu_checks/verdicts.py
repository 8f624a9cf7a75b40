"""What the engine has to show on a GPU, and whether this run shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpu_checks.vgg import roofline_seconds

Record = dict[str, Any]


def rows_of(record: Record, stage: str) -> list[Record]:
    """The rows of a stage; none if it did not run."""
    found: list[Record] = record["stages"].get(stage, {}).get("rows", [])
    return found


def ceiling(record: Record, what: str) -> float | None:
    """A measured rate in FLOP/s or bytes/s, or None."""
    for row in rows_of(record, "ceilings"):
        if row["what"] == what:
            return row["tflops"] * 1e12 if "tflops" in row else row["gb_per_s"] * 1e9
    return None


def ratio(seconds: Sequence[float], base: Sequence[float]) -> tuple[float, float, float]:
    """Median and quartiles of how many times longer one takes than the other, round by round."""
    pairs = [a / b for a, b in zip(seconds, base, strict=False)]
    low, middle, high = np.quantile(pairs, (0.25, 0.5, 0.75))
    return float(middle), float(low), float(high)


def roofline_share(record: Record, row: Record) -> float | None:
    """How much of the least time an iteration takes, by the ceilings of the same run; None without them."""
    words = row["contender"].replace("+", " ").split()
    precision = "fp16" if words[1] == "bf16" else words[1]
    flop, copy = ceiling(record, f"matrix product, {precision}"), ceiling(record, "copy")
    if flop is None or copy is None:
        return None
    item = 2 if precision == "fp16" else 4
    return roofline_seconds(row["size"], flop, copy, item) / (row["ms"] / 1e3)


def verdicts(record: Record) -> list[Record]:
    """One row per demand; `met` is missing where nothing was measured."""
    rows = [
        _least("fp32 gradient error", 1e-3, _gradient_error(record, "fp32")),
        _least("fp16 gradient error", 0.05, _gradient_error(record, "fp16")),
        _least("fp16 end loss against fp32, Adam", 0.02, _end_loss(record)),
        _least("200 iterations at 512 px, fp16, s", 0.4, _painting_seconds(record)),
        _all("same bits from run to run", [*rows_of(record, "determinism")]),
        _all("recorded graph equals its launches", rows_of(record, "recorded")),
        _suites(record),
    ]
    for size in (512, 1024):
        wide = _speedup(record, size, ("nst fp32", "nst tf32"), ("fp32", "tf32"))
        rows.append(_most(f"best fp32/TF32 against PyTorch's, {size} px", 1.5, wide))
        half = _speedup(record, size, ("nst fp16", "nst bf16"), ("fp16",))
        rows.append(_most(f"best fp16 against PyTorch's, {size} px", 1.3, half))
    rows.append(_most("% of the roofline at 1024 px, fp16", 60, _roofline(record)))
    return rows


def _least(what: str, limit: float, value: float | None) -> Record:
    met = {} if value is None else {"measured": float(value), "met": value <= limit}
    return {"what": what, "wanted": f"at most {limit:g}", **met}


def _most(what: str, limit: float, value: float | None) -> Record:
    met = {} if value is None else {"measured": float(value), "met": value >= limit}
    return {"what": what, "wanted": f"at least {limit:g}", **met}


def _all(what: str, rows: Sequence[Record]) -> Record:
    equal = [bool(row["equal"]) for row in rows]
    met = {"measured": f"{sum(equal)} of {len(equal)}", "met": all(equal)} if equal else {}
    return {"what": what, "wanted": "all", **met}


def _suites(record: Record) -> Record:
    rows = rows_of(record, "suites")
    failed = sum(row["failed"] for row in rows)
    text = f"{failed} of {failed + sum(row['passed'] for row in rows)} fail"
    met = {"measured": text, "met": failed == 0} if rows else {}
    return {"what": "kernels and layers, the suite on the GPU", "wanted": "none fails", **met}


def _gradient_error(record: Record, precision: str) -> float | None:
    rows = rows_of(record, "gradient")
    found = [row["gradient_error"] for row in rows if row["precision"] == precision]
    return max(found, default=None)


def _end_loss(record: Record) -> float | None:
    rows = rows_of(record, "painting")
    ends = {row["precision"]: row["end_loss"] for row in rows if row["rule"] == "Adam"}
    if not {"fp16", "fp32"} <= ends.keys():
        return None
    return abs(ends["fp16"] / ends["fp32"] - 1)


def _painting_seconds(record: Record) -> float | None:
    for row in rows_of(record, "painting"):
        if row["rule"] == "Adam" and row["precision"] == "fp16":
            return float(row["seconds"])
    return None


def _speedup(record: Record, size: int, ours: Sequence[str], peers: Sequence[str]) -> float | None:
    """Best of ours against the best of PyTorch's, over the stages that timed both."""
    found = []
    for stage in (f"iteration_{size}", f"compiled_{size}"):
        rows = [row for row in rows_of(record, stage) if "seconds" in row]
        mine = _fastest(rows, lambda row: row["contender"] in ours)
        other = _fastest(rows, lambda row: _peer_precision(row) in peers)
        if mine and other:
            found.append(ratio(other["seconds"], mine["seconds"])[0])
    return min(found, default=None)


def _fastest(rows: Sequence[Record], belongs: Callable[[Record], bool]) -> Record | None:
    return min((row for row in rows if belongs(row)), key=lambda row: row["ms"], default=None)


def _peer_precision(row: Record) -> str | None:
    name, _, kind = str(row["contender"]).partition(" ")
    return kind.split("+")[0] if name == "torch" else None


def _roofline(record: Record) -> float | None:
    for row in rows_of(record, "iteration_1024"):
        if row.get("contender") == "nst fp16" and "ms" in row:
            share = roofline_share(record, row)
            return None if share is None else 100 * share
    return None
