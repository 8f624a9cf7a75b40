"""The report of tools/gpu_check as Markdown, from the JSON that the stages filled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gpu_checks.verdicts import ceiling, ratio, roofline_share, rows_of, verdicts
from gpu_checks.vgg import iteration_flop

Record = dict[str, Any]

HEAD = """\
VGG19 up to conv5_1 with five Gram matrices and one content term, random weights, batch 1: forward, losses,
backward to the picture and Adam's step. Contenders live in one process and run in turn; times are medians,
ratios medians of the ratios within a round (quartiles in brackets). PyTorch runs channels_last with
`cudnn.benchmark` and fused Adam; its half precision keeps Gram matrices and losses in float32."""


def markdown(record: Record) -> str:
    """The whole report; stages that did not run are said to be missing."""
    gpu = record.get("gpu", "no GPU")
    lines = [f"# GPU check: {gpu}", ""]
    if record["dry"]:
        lines += [
            "**Dry run**: on the processor that stands in for a GPU. No number here means anything.",
            "",
        ]
    lines += [f"Made by `{record['command']}`, {record['started']}.", "", HEAD, ""]
    lines += _table("What had to be shown", verdicts(record), ("what", "wanted", "measured", "met"))
    lines += _stages(record) + _environment(record) + _iterations(record)
    lines += _table(
        "Gradient of the picture against float64",
        rows_of(record, "gradient"),
        ("size", "precision", "against", "gradient_error", "loss_error"),
    )
    lines += _table(
        "The same bits",
        [*rows_of(record, "determinism"), *rows_of(record, "recorded")],
        ("precision", "what", "equal"),
    )
    lines += _table(
        "Painting at 512 px",
        rows_of(record, "painting"),
        ("rule", "precision", "iterations", "seconds", "first_loss", "end_loss"),
    )
    lines += _table(
        "The default job at 512 px: preset fine on the embedded network",
        rows_of(record, "default_job"),
        ("precision", "turn", "seconds", "iterations", "end_loss"),
    )
    lines += _table(
        "First picture at 512 px, from the start of Python",
        rows_of(record, "first_picture"),
        ("precision", "caches", "built_s", "first_picture_s"),
    )
    columns = ("size", "precision", "bytes_per_pixel", "megabytes", "pool_megabytes")
    lines += _table("Memory", rows_of(record, "memory"), columns)
    lines += _layers(record) + _kernels(record) + _suites(record) + _errors(record)
    return "\n".join(lines).rstrip() + "\n"


def _environment(record: Record) -> list[str]:
    rows = rows_of(record, "environment")
    rates = [{"item": row["what"], "value": _rate(row)} for row in rows_of(record, "ceilings")]
    return _table("Machine, and its ceilings in this run", [*rows, *rates], ("item", "value"))


def _rate(row: Record) -> str:
    return f"{row['tflops']:.0f} TFLOP/s" if "tflops" in row else f"{row['gb_per_s']:.0f} GB/s"


def _stages(record: Record) -> list[str]:
    rows = [
        {"stage": name, "status": stage["status"], "seconds": round(stage["seconds"], 1)}
        for name, stage in record["stages"].items()
    ]
    return _table("Stages", rows, ("stage", "status", "seconds"))


def _iterations(record: Record) -> list[str]:
    lines: list[str] = []
    for name, stage in record["stages"].items():
        timed = [row for row in stage["rows"] if "contender" in row]
        if not (name.startswith(("iteration", "compiled")) and timed):
            continue
        base = next((row for row in timed if row["contender"] == "nst fp16" and "ms" in row), None)
        rows = [_iteration_row(record, row, base) for row in timed]
        columns = ("contender", "ms", "times nst fp16", "TFLOP/s", "% of roofline")
        lines += _table(f"{name}: {timed[0]['size']} x {timed[0]['size']}", rows, columns)
    return lines


def _iteration_row(record: Record, row: Record, base: Record | None) -> Record:
    if "ms" not in row:
        return {"contender": row["contender"], "ms": row["error"][:120]}
    seconds, size = row["ms"] / 1e3, row["size"]
    result = {"contender": row["contender"], "ms": row["ms"]}
    result["TFLOP/s"] = iteration_flop(size) / seconds / 1e12
    if base is not None:
        middle, low, high = ratio(row["seconds"], base["seconds"])
        result["times nst fp16"] = f"{middle:.2f} ({low:.2f}-{high:.2f})"
    share = roofline_share(record, row)
    if share is not None:
        result["% of roofline"] = round(100 * share)
    return result


def _layers(record: Record) -> list[str]:
    columns = ("size", "precision", "layer", "task", "engine", "workspace_mb", "us", "tflops")
    return _table("Layers", rows_of(record, "layer_table"), columns)


def _kernels(record: Record) -> list[str]:
    copy = ceiling(record, "copy")
    rows = []
    for row in rows_of(record, "kernel_rates"):
        share = {} if copy is None else {"% of copy": round(100e9 * row["gb_per_s"] / copy)}
        rows.append({**row, **share})
    return _table(
        "Our kernels, maps of 64 channels at 1024 px in fp16",
        rows,
        ("kernel", "us", "gb_per_s", "% of copy"),
    )


def _suites(record: Record) -> list[str]:
    columns = ("suite", "passed", "failed", "skipped", "first_failures")
    return _table("The test suite on the GPU", rows_of(record, "suites"), columns)


def _errors(record: Record) -> list[str]:
    lines = []
    for name, stage in record["stages"].items():
        if stage["error"]:
            lines += [f"## {name}: {stage['status']}", "", "```", stage["error"].strip(), "```", ""]
    return lines


def _table(title: str, rows: Sequence[Record], columns: Iterable[str]) -> list[str]:
    """A titled table of the columns that occur; nothing for no rows."""
    shown = [column for column in columns if any(column in row for row in rows)]
    if not rows:
        return []
    lines = [f"## {title}", "", f"| {' | '.join(shown)} |", "|---" * len(shown) + "|"]
    lines += [f"| {' | '.join(_cell(row.get(column)) for column in shown)} |" for row in rows]
    return [*lines, ""]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).replace("|", "/").replace("\n", "<br>")
