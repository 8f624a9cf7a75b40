"""cuDNN builds our graphs for GPUs that are only described. Needs its wheel, but neither GPU nor driver."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from backend.cuda.wheel import cudnn_wheel

ROOT = Path(__file__).resolve().parents[3]

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the stub driver is an ELF library"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler for the stub driver"),
]


def plans(tmp_path: Path, *options: str) -> list[dict[str, object]]:
    """What tools/cuda_plans says; in a process of its own, whose libcuda is a stub."""
    report = tmp_path / "plans.json"
    tool = [sys.executable, str(ROOT / "tools/cuda_plans"), str(cudnn_wheel())]
    run = subprocess.run(
        [*tool, *options, "--json", str(report)], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stdout + run.stderr
    rows: list[dict[str, object]] = json.loads(report.read_text())
    return rows


@pytest.mark.parametrize("gpu", ["T4", "A100", "H200"])
def test_every_task_that_the_engine_needs_has_a_plan(gpu: str, tmp_path: Path) -> None:
    options = [
        "--precision",
        "fp32",
        "fp16",
        "--layer",
        "conv1_1",
        "conv3_2",
        "--size",
        "77",
        "131",
    ]
    rows = plans(tmp_path, "--gpu", gpu, *options)

    assert len(rows) == 2 * 2 * 6
    assert all(row["engine"] is not None for row in rows if row["needed"])


def test_strict_fp32_takes_other_engines_than_tf32(tmp_path: Path) -> None:
    rows = plans(tmp_path, "--gpu", "H200", "--precision", "fp32", "tf32", "--layer", "conv3_2")
    engines = {(row["precision"], row["task"]): row["engine"] for row in rows}

    for task in ("FORWARD", "FORWARD_BIAS_RELU", "DATA"):
        assert engines["fp32", task] != engines["tf32", task]


def test_a_plan_survives_being_written_and_read(tmp_path: Path) -> None:
    rows = plans(tmp_path, "--gpu", "H200", "--precision", "fp16", "--layer", "conv3_2", "--reload")

    assert all(row["reloaded"] for row in rows if row["task"] != "DATA_GATED")
