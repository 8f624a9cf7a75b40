"""`nst train`: `caffe train` with its flags, its log and its signals."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nst.cli.backend_choice import choose_backend
from nst.cli.caffe_flags import (
    add_caffe_flag,
    add_device_flags,
    add_state_flags,
    apply_gpu_flag,
    names,
)
from nst.cli.log_lines import solver_log
from nst.cli.plot import check_plot_path, need_matplotlib
from nst.cli.signals import on_signals
from nst.cli.training_history import TrainingHistory
from nst.cli.writable import check_writable
from nst.errors import UsageError
from nst.io.prototxt import read_solver
from nst.proto import SolverParameter
from nst.pycaffe.solver import get_solver
from nst.solvers import Solver

_EFFECTS = ("stop", "snapshot", "none")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "train",
        help="train a net, from scratch, from weights or from a snapshot",
        description="Trains as a solver file says. Ctrl-C stops after the iteration, with a snapshot.",
    )
    add_caffe_flag(parser, "solver", type=Path, required=True, metavar="FILE", help="solver file")
    add_caffe_flag(parser, "snapshot", metavar="FILE", help="go on from this .solverstate")
    add_caffe_flag(
        parser, "weights", type=names, metavar="FILE,...", help="start from these weights"
    )
    add_state_flags(parser)
    for name, default in (("sigint", "stop"), ("sighup", "snapshot")):
        add_caffe_flag(
            parser,
            f"{name}-effect",
            choices=_EFFECTS,
            default=default,
            help=f"what {name.upper()} does; default: {default}",
        )
    add_device_flags(parser)
    parser.add_argument("--history", type=Path, metavar="FILE.csv", help="write every iteration")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw losses and tests")
    parser.add_argument("--allow-python", action="store_true", help="let PYTHON layers run code")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Trains to max_iter or until stopped. Raises NstError."""
    if args.snapshot and args.weights:
        raise UsageError("train: give a snapshot to go on from or weights to start from, not both")
    if args.plot is not None:
        need_matplotlib()
        check_plot_path(args.plot)
    for path in (args.history, args.plot):
        if path is not None:
            check_writable(path)
    apply_gpu_flag(args)
    console = Console()
    with solver_log(console):
        param = _settings(args)
        backend, reason = choose_backend(args)
        console.print(f"training on {reason}", markup=False, highlight=False, soft_wrap=True)
        solver = get_solver(param, backend=backend, allow_python=args.allow_python)
        history = TrainingHistory(solver) if args.history or args.plot else None
        try:
            with on_signals(_handlers(args, solver)), _bar(console, solver):
                solver.solve(args.snapshot)
        finally:
            if history is not None:
                history.write(args.history, args.plot, args.solver.stem)
    return 0


def _settings(args: argparse.Namespace) -> SolverParameter:
    """The solver file with its paths made relative to the working folder, and what the flags change."""
    param = read_solver(args.solver)
    home = args.solver.parent
    for name in ("net", "train_net"):
        if param.HasField(name):
            setattr(param, name, _beside(getattr(param, name), home))
    param.test_net[:] = [_beside(name, home) for name in param.test_net]
    if args.weights or args.snapshot:
        param.weights[:] = args.weights or []
    else:
        entries = [name for entry in param.weights for name in entry.split(",")]
        param.weights[:] = [_beside(name.strip(), home) for name in entries]
    if not param.snapshot_prefix:
        param.snapshot_prefix = str(args.solver.with_suffix(""))
    elif Path(param.snapshot_prefix).is_dir():
        param.snapshot_prefix = str(Path(param.snapshot_prefix) / args.solver.stem)
    param.train_state.level = args.level
    param.train_state.stage.extend(args.stage)
    return param


def _beside(name: str, home: Path) -> str:
    """A file that the solver file names: beside it, else, as in Caffe, in the working folder."""
    return str(home / name) if (home / name).is_file() else name


def _handlers(args: argparse.Namespace, solver: Solver) -> dict[signal.Signals, Callable[[], None]]:
    effects: dict[str, Callable[[], None]] = {
        "stop": solver.request_stop,
        "snapshot": solver.request_snapshot,
        "none": lambda: None,
    }
    handlers = {signal.SIGINT: effects[args.sigint_effect]}
    if hasattr(signal, "SIGHUP"):  # not on Windows
        handlers[signal.SIGHUP] = effects[args.sighup_effect]
    return handlers


def _bar(console: Console, solver: Solver) -> Any:
    """A bar below the log on a terminal; nothing elsewhere."""
    if not console.is_terminal:
        return nullcontext()
    bar = Progress(
        TextColumn("loss {task.fields[loss]}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        expand=True,
    )
    task = bar.add_task("", total=solver.param.max_iter, loss="")
    solver.on_iteration.append(
        lambda record: bar.update(
            task, completed=record.iteration, loss=f"{record.smoothed_loss:.5g}"
        )
    )
    return bar
