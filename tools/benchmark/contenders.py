"""Who takes part: makes a contender from its name."""

from __future__ import annotations

from benchmark import our_nets
from benchmark.iterations import Iterations
from nst.backend.cpu import CpuBackend
from nst.backend.numpy_backend import NumpyBackend

TRAINING = "train:"
"""A net named so runs training iterations; its size is the number of pictures in a batch."""


def make(contender: str, name: str, size: int, threads: int) -> Iterations:
    """Builds a contender: cpu, cpu:<instruction set>, cpu:bf16, numpy, numpy:float64, torch or
    torch:channels_last."""
    kind, _, form = contender.partition(":")
    if name.startswith(TRAINING):
        return _training(kind, form, name.removeprefix(TRAINING), size, threads)
    if kind == "torch":
        from benchmark import torch_nets  # takes seconds to import

        return torch_nets.make(name, size, threads, channels_last=form == "channels_last")
    if kind == "numpy":
        return our_nets.make(name, size, NumpyBackend(), form or "float32")
    return our_nets.make(name, size, _cpu(threads, form))


def _cpu(threads: int, form: str) -> CpuBackend:
    if form == "bf16":
        return CpuBackend(threads).at_precision(form)
    return CpuBackend(threads, form or None)


def _training(kind: str, form: str, name: str, batch: int, threads: int) -> Iterations:
    if kind == "torch":
        from benchmark import torch_training

        return torch_training.make(name, batch, threads, channels_last=form == "channels_last")
    from benchmark import training

    return training.ours(name, batch, CpuBackend(threads, form or None))
