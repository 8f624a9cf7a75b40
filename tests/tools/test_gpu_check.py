"""tools/gpu_check where there is no GPU: its dry run, failing stages, its report and verdicts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REPO = Path(__file__).resolve().parents[2]
TOOL = REPO / "tools" / "gpu_check"


@pytest.fixture(autouse=True)
def tools_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPO / "tools"))


def dry_run(folder: Path, *flags: str) -> tuple[dict[str, Any], str]:
    """(record, report) of a dry run."""
    command = [sys.executable, str(TOOL), "--dry-run", "--output", str(folder), *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return json.loads((folder / "dry-run.json").read_text()), (folder / "dry-run.md").read_text()


def test_a_dry_run_goes_through_its_stages_and_says_that_it_proves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("backend.cuda.host_device", reason="needs the engine's stand-in device")
    record, text = dry_run(tmp_path, "--only", "environment,gradient")
    states = {name: stage["status"] for name, stage in record["stages"].items()}
    assert states == {"environment": "ok", "gradient": "ok"}
    assert "**Dry run**" in text and "No number here means anything" in text
    errors = {
        row["precision"]: row["gradient_error"] for row in record["stages"]["gradient"]["rows"]
    }
    assert errors["fp32"] < 1e-4 and errors["fp16"] < 0.05


@pytest.mark.slow
def test_every_stage_runs_dry(tmp_path: Path) -> None:
    pytest.importorskip("backend.cuda.host_device", reason="needs the engine's stand-in device")
    record, _ = dry_run(tmp_path)
    bad = {n: s["error"][-500:] for n, s in record["stages"].items() if s["status"] != "ok"}
    assert not bad and len(record["stages"]) > 15


def test_a_stage_that_fails_or_hangs_is_reported_and_keeps_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpu_checks import stages
    from gpu_checks.stages import Stage, run_isolated

    program = tmp_path / "stage.py"
    program.write_text(
        "import sys, time\n"
        "path = sys.argv[sys.argv.index('--rows') + 1]\n"
        "print('{\"value\": 1}\\n{\"val', end='', file=open(path, 'w'), flush=True)\n"
        "time.sleep(60) if 'hang' in sys.argv else 1 / 0\n"
    )

    def nothing(*_: object) -> None: ...

    stage = Stage("a", "a stage", 60, nothing)
    seen: list[str] = []
    failed = run_isolated(stage, [str(program)], tmp_path, 60, lambda now: seen.append(now.status))
    assert failed.status == "failed" and "ZeroDivisionError" in failed.error
    assert failed.rows == [{"value": 1}]
    monkeypatch.setattr(stages, "PROGRESS_SECONDS", 0.3)
    stopped = run_isolated(
        stage, [str(program), "hang"], tmp_path, 1.5, lambda now: seen.append(now.status)
    )
    assert stopped.status == "stopped" and stopped.seconds < 20
    assert stopped.rows == [{"value": 1}] and set(seen) == {"running"}


def test_unknown_stages_are_refused(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(TOOL),
        "--dry-run",
        "--only",
        "gradiant",
        "--output",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "no stage gradiant" in done.stderr


# ---- the report -----------------------------------------------------------------------------------------


def record_of(**stages: list[dict[str, Any]]) -> dict[str, Any]:
    done = {n: {"status": "ok", "seconds": 1.0, "rows": r, "error": ""} for n, r in stages.items()}
    return {"gpu": "NVIDIA T", "dry": False, "command": "c", "started": "s", "stages": done}


def timed(contender: str, *ms: float, size: int = 1024) -> dict[str, Any]:
    seconds = [value / 1e3 for value in ms]
    return {"size": size, "contender": contender, "ms": float(np.median(ms)), "seconds": seconds}


def measured(record: dict[str, Any], what: str) -> dict[str, Any]:
    from gpu_checks.verdicts import verdicts

    return next(row for row in verdicts(record) if row["what"].startswith(what))


def test_speed_is_judged_by_ratios_within_a_round_and_the_best_peer() -> None:
    rows = [
        timed("nst fp16", 1.0, 2.0, 4.0),
        timed("nst tf32", 2.0, 4.0, 8.0),
        timed("torch fp16", 1.4, 2.8, 5.6),
        timed("torch tf32", 4.0, 8.0, 16.0),
    ]
    compiled = [timed("nst fp16", 1.0, 1.0), timed("torch fp16+compile", 1.2, 1.2)]
    record = record_of(iteration_1024=rows, compiled_1024=compiled)
    half = measured(record, "best fp16 against PyTorch's, 1024")
    assert half["measured"] == pytest.approx(1.2) and half["met"] is False
    wide = measured(record, "best fp32/TF32 against PyTorch's, 1024")
    assert wide["measured"] == pytest.approx(2.0) and wide["met"] is True
    assert "met" not in measured(record, "best fp16 against PyTorch's, 512")


def test_what_was_not_measured_counts_as_neither_met_nor_missed() -> None:
    from gpu_checks.report import markdown
    from gpu_checks.verdicts import verdicts

    record = record_of()
    assert all("met" not in row for row in verdicts(record))
    assert "GPU check: NVIDIA T" in markdown(record)


def test_errors_and_bits_are_judged() -> None:
    record = record_of(
        gradient=[
            {"precision": "fp16", "gradient_error": 0.04},
            {"precision": "fp16", "gradient_error": 0.06},
            {"precision": "fp32", "gradient_error": 1e-5},
        ],
        determinism=[{"equal": True}, {"equal": False}],
        suites=[{"suite": "a", "passed": 5, "failed": 1, "first_failures": "t"}],
        painting=[
            {"rule": "Adam", "precision": "fp32", "end_loss": 2.0, "seconds": 9.0},
            {"rule": "Adam", "precision": "fp16", "end_loss": 2.02, "seconds": 0.3},
        ],
    )
    assert measured(record, "fp16 gradient")["met"] is False
    assert measured(record, "fp32 gradient")["met"] is True
    assert measured(record, "same bits")["measured"] == "1 of 2"
    assert measured(record, "kernels and layers")["met"] is False
    assert measured(record, "fp16 end loss")["measured"] == pytest.approx(0.01)
    assert measured(record, "200 iterations")["met"] is True


def test_the_report_shows_contenders_that_could_not_be_built_and_errors_of_stages() -> None:
    from gpu_checks.report import markdown

    rows = [
        timed("nst fp16", 2.0),
        {"size": 1024, "contender": "torch fp16", "error": "no | torch"},
    ]
    record = record_of(
        iteration_1024=rows,
        ceilings=[
            {"what": "matrix product, fp16", "tflops": 790.0},
            {"what": "copy", "gb_per_s": 4300.0},
        ],
    )
    record["stages"]["memory"] = {"status": "failed", "seconds": 2.0, "rows": [], "error": "Boom"}
    text = markdown(record)
    assert "no / torch" in text and "## memory: failed" in text and "Boom" in text
    share = float(re.search(r"\| nst fp16 \| 2 \|.*\| (\d+) \|", text)[1])
    assert 110 < share < 125  # 2.37 ms is the floor that the study counted for these ceilings


def test_floating_point_operations_are_those_of_the_study() -> None:
    from gpu_checks.vgg import LAYERS, iteration_flop, roofline_seconds

    per_pixel = sum(layer.flop(1024) for layer in LAYERS) / 1024**2
    assert per_pixel == 722_304
    assert iteration_flop(1024) / 1024**2 == 2 * (722_304 + 34_816)
    floors = [roofline_seconds(size, 790e12, 4.3e12, 2) * 1e3 for size in (256, 512, 1024, 2048)]
    np.testing.assert_allclose(floors, [0.15, 0.59, 2.37, 9.5], rtol=0.05)
