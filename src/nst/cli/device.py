"""`nst device`: the processors and GPUs of this machine, and what can be computed on them."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

from nst.backend import available_backends
from nst.backend.cpu.threads import available_threads
from nst.cli.caffe_flags import add_caffe_flag
from nst.cli.info import cpu_features
from nst.errors import UsageError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("device", help="the processors and GPUs of this machine")
    add_caffe_flag(
        parser, "gpu", metavar="ID|all", default="all", help="only the GPU of that number"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints what is there. Raises UsageError for a GPU that is not."""
    print(
        f"cpu: {_processor()}, {available_threads()} threads, {' '.join(cpu_features())}".rstrip()
    )
    gpus = nvidia_gpus()
    if args.gpu != "all" and args.gpu not in map(str, range(len(gpus))):
        raise UsageError(f"--gpu: no such GPU (got {args.gpu!r}, here: {len(gpus)})")
    for number, name in enumerate(gpus):
        if args.gpu in ("all", str(number)):
            print(f"gpu {number}: {name}")
    if not gpus:
        print("gpu: no NVIDIA driver is loaded")
    for state in available_backends():
        print(f"backend {state.name}: {'yes' if state.available else 'no'}, {state.reason}")
    return 0


def nvidia_gpus(driver: Path = Path("/proc/driver/nvidia/gpus")) -> list[str]:
    """Names of the GPUs that the NVIDIA driver tells, in the order of their bus addresses."""
    found = []
    for path in sorted(driver.glob("*/information")):
        lines = path.read_text(errors="replace").splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
        found.append(f"{models[0] if models else 'unknown'} at {path.parent.name}")
    return found


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    lines = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
