"""`nst time`: how long each layer takes forward and backward, as `caffe time` tells it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import track

from nst.cli.backend_choice import choose_backend
from nst.cli.caffe_flags import add_caffe_flag, add_device_flags, add_state_flags, apply_gpu_flag
from nst.cli.table import print_table
from nst.core import TEST, TRAIN
from nst.errors import UsageError
from nst.io.prototxt import read_net
from nst.net import Net

_PHASES = {"train": TRAIN, "test": TEST}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "time",
        help="time a net layer by layer",
        description="Times every layer of a net, forward and backward. Layers that need no backward "
        "pass get none; --force-backward asks for all that have a gradient.",
    )
    add_caffe_flag(parser, "model", type=Path, required=True, metavar="NET", help="a prototxt file")
    add_caffe_flag(parser, "iterations", type=int, default=50, metavar="N", help="default: 50")
    add_caffe_flag(
        parser,
        "phase",
        type=str.lower,
        choices=list(_PHASES),
        default="train",
        help="default: train, as in Caffe",
    )
    add_state_flags(parser)
    parser.add_argument("--forward-only", action="store_true", help="no backward pass")
    parser.add_argument("--force-backward", action="store_true", help="gradients of the inputs too")
    add_device_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Builds, warms up, times, prints. Raises NstError."""
    if args.iterations < 1:
        raise UsageError(f"--iterations: must be at least 1 (got {args.iterations})")
    apply_gpu_flag(args)
    backend, reason = choose_backend(args)
    param = read_net(args.model)
    param.force_backward = param.force_backward or args.force_backward
    net = Net(
        param, backend=backend, phase=_PHASES[args.phase], level=args.level, stages=args.stage
    )
    print(f"net '{net.name}', {args.phase} phase, {args.iterations} iterations on {reason}")
    if not args.forward_only and not any(net.backward_plan.layers):
        print("no layer needs a backward pass, since there is no loss; --force-backward times it")
    clock = LayerClock(net)
    clock.run(backward=not args.forward_only)  # memory is made and kernels are chosen in the first
    clock.reset()
    console = Console(stderr=True)
    quiet = not console.is_terminal
    for _ in track(
        range(args.iterations), "timing", console=console, transient=True, disable=quiet
    ):
        clock.run(backward=not args.forward_only)
    _print(net, clock, args)
    return 0


class LayerClock:
    """Seconds spent in each layer, summed over the runs."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.reset()

    def reset(self) -> None:
        """Forgets all times."""
        self.forward = [0.0] * len(self.net.layers)
        self.backward = [0.0] * len(self.net.layers)

    def run(self, *, backward: bool) -> None:
        """One pass, layer by layer, waiting for the device after each."""
        numbers = range(len(self.net.layers))
        for i in numbers:
            self.forward[i] += self._timed(self.net.forward_from_to, i)
        if backward:
            for i in reversed(numbers):
                self.backward[i] += self._timed(self.net.backward_from_to, i)

    def _timed(self, work: Callable[[int, int], object], layer: int) -> float:
        began = time.perf_counter()
        work(layer, layer)
        self.net.backend.synchronize()
        return time.perf_counter() - began


def _print(net: Net, clock: LayerClock, args: argparse.Namespace) -> None:
    def milliseconds(seconds: float) -> str:
        return f"{1e3 * seconds / args.iterations:.3f}"

    rows = [
        (
            layer.name,
            layer.type,
            "x".join(map(str, net.tops_of(i)[0].shape)) if net.tops_of(i) else "",
            milliseconds(clock.forward[i]),
            milliseconds(clock.backward[i]) if net.backward_plan.layers[i] else "-",
        )
        for i, layer in enumerate(net.layers)
    ]
    forward, backward = sum(clock.forward), sum(clock.backward)
    if args.forward_only:
        print_table(("layer", "type", "top", "forward ms"), [row[:4] for row in rows], right=(3,))
    else:
        titles = ("layer", "type", "top", "forward ms", "backward ms")
        print_table(titles, rows, right=(3, 4))
    print(f"Average Forward pass: {milliseconds(forward)} ms.")
    if not args.forward_only:
        print(f"Average Backward pass: {milliseconds(backward)} ms.")
        print(f"Average Forward-Backward: {milliseconds(forward + backward)} ms.")
