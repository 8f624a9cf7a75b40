"""The test suite's own parity checks on the GPU: kernels, single operations, every layer, gradients."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec

from gpu_checks.stages import ROOT, Rows, Scale

SUITES = {
    "kernels": ["tests/backend/cuda"],
    "layers, Caffe's numbers": ["tests/layers/test_oracle.py"],
    "layers, gradients": ["tests/layers/test_gradients.py", "tests/layers/test_gradcheck.py"],
    "layers, nets, solvers": ["tests/layers", "tests/net", "tests/core", "tests/solvers"],
}
"""What is collected; of it, the tests with the marker gpu."""
WORKERS = 8
_OUTCOME = "(PASSED|FAILED|ERROR|SKIPPED)"
_RESULT = re.compile(rf"\[gw\d+\].*?{_OUTCOME} (\S+::.*)|(\S+::.*?) {_OUTCOME}")


def suites(scale: Scale, rows: Rows) -> None:
    """Each suite's counts; what fails is named. A dry run takes a few kernels on the processor."""
    for name, paths in SUITES.items():
        if scale.dry:
            picked = ["tests/backend/cuda/test_map_kernels.py", "-k", "processor and relu"]
        else:
            picked = [*paths, "-m", "gpu", "--require-gpu", "--maxfail=100"]
            picked += ["-n", str(WORKERS)] if find_spec("xdist") else []
        counts, failures = Counter(), []
        for outcome, test in _run(picked):
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
        if scale.dry:
            return


def _run(picked: list[str]) -> Iterator[tuple[str, str]]:
    """(outcome, test) of every test, as they end. Raises RuntimeError if none did."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-v",
        "--tb=short",
        "-p",
        "no:cacheprovider",
        *picked,
    ]
    command += [
        "-o",
        "filterwarnings=default",
    ]  # another machine's packages may warn of other things
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    lines: list[str] = []
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=environment,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            found = _RESULT.match(line)
            if found:
                yield (found[1], found[2].strip()) if found[1] else (found[4], found[3])
            elif line.startswith("E  "):
                print(line.rstrip(), file=sys.stderr)
    if process.returncode not in (0, 1):
        raise RuntimeError("pytest ended early:\n" + "".join(lines[-40:]))
