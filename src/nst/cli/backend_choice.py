"""The backend that the flags ask for."""

from __future__ import annotations

import argparse

from nst.backend import Backend, availability, get_backend
from nst.errors import UsageError


def choose_backend(args: argparse.Namespace) -> tuple[Backend, str]:
    """The backend of `--backend` and `--threads`, and a line that says what was chosen and why."""
    if args.threads is not None and args.threads < 1:
        raise UsageError(f"--threads: must be at least 1 (got {args.threads})")
    backend = get_backend(args.backend, threads=args.threads)
    state = availability(backend.name)
    chosen = "the best one here" if args.backend == "auto" else "asked for"
    if args.threads is not None and backend.name != "cpu":
        chosen += "; --threads has no effect on it"
    return backend, f"{backend.name}, {chosen}: {state.reason}"
