"""The test suite's own parity checks on the GPU: kernels, single operations, every layer, gradients."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable

from gpu_checks.stages import ROOT, Rows, Scale

SUITES = {
    "kernels": ("tests/backend/cuda", "gpu"),
    "layers, Caffe's numbers": ("tests/layers/test_oracle.py", "cuda"),
    "layers, gradients": ("tests/layers/test_gradients.py", "cuda"),
    "layers, the rest": ("tests/layers", "cuda and not test_oracle and not test_gradients"),
}
WORKERS = 8
_RESULT = re.compile(
    r"^\[gw\d+\].*?(PASSED|FAILED|ERROR|SKIPPED) (\S+)|^(\S+::.*?) (PASSED|FAILED|ERROR|SKIPPED)"
)


def suites(scale: Scale, rows: Rows) -> None:
    """Each suite's counts; what fails is named. A dry run takes a few kernels on the processor."""
    chosen = {"kernels": ("tests/backend/cuda/test_map_kernels.py", "processor and relu")}
    for name, (path, keyword) in (chosen if scale.dry else SUITES).items():
        counts, failures = Counter(), []
        for outcome, test in _run(path, keyword, parallel=not scale.dry, gpu=not scale.dry):
            counts[outcome] += 1
            if outcome in ("FAILED", "ERROR"):
                failures.append(test)
        rows.add(
            suite=name,
            passed=counts["PASSED"],
            failed=counts["FAILED"] + counts["ERROR"],
            skipped=counts["SKIPPED"],
            first_failures="\n".join(failures[:20]),
        )


def _run(path: str, keyword: str, *, parallel: bool, gpu: bool) -> Iterable[tuple[str, str]]:
    """(outcome, test) of every test, as they end."""
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", path, "-k", keyword]
    command += ["-n", str(WORKERS)] if parallel and _has_xdist() else []
    command += ["--require-gpu", "--tb=short", "--maxfail=200"] if gpu else []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            found = _RESULT.match(line)
            if found:
                yield (found[1], found[2]) if found[1] else (found[4], found[3])
            elif line.startswith("E  "):
                print(line.rstrip(), file=sys.stderr)


def _has_xdist() -> bool:
    try:
        import xdist
    except ImportError:
        return False
    return bool(xdist.__version__)
