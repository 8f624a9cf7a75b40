"""What the CUDA kernels take of a multiprocessor, by nvcc's word: registers, stack, spills. Needs no GPU."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from nst.backend.cuda.kernels import COMPILE_OPTIONS, STORAGES

_REPORT = re.compile(
    r"entry function 'nst_(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill.*?Used (\d+) registers",
    re.DOTALL,
)


@dataclass(frozen=True)
class Resources:
    """Of one kernel, per thread."""

    kernel: str
    stack: int
    """Bytes: arrays that are indexed at run time, and saved registers."""
    spilled: int
    """Bytes of registers that did not fit."""
    registers: int


def resources(nvcc: str, source: str, storage: str, architecture: int) -> list[Resources]:
    """Compiles a source with `ptxas -v`; one entry per kernel. Raises RuntimeError if it does not compile."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernels.cu")
        path.write_text(source)
        command = [nvcc, *COMPILE_OPTIONS, f"-DNST_STORAGE={STORAGES[storage]}"]
        command += [f"-arch=sm_{architecture}", "-cubin", "-Xptxas", "-v"]
        command += ["-o", str(path.with_suffix(".cubin")), str(path)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    text = done.stdout + done.stderr
    return [Resources(name, *map(int, numbers)) for name, *numbers in _REPORT.findall(text)]
