"""The recipe that a picture carries: enough to make it again, and nothing about whose machine made it."""

from __future__ import annotations

import argparse
from pathlib import Path

from nst.cli.versions import versions
from nst.io.prototxt import format_message
from nst.io.recipe import Recipe
from nst.proto import SolverParameter
from nst.style.batch import FINGERPRINT, run_fingerprint
from nst.style.job import StyleJob, picture_fields
from nst.style.run import StyleResult


def recipe_of(
    args: argparse.Namespace, job: StyleJob, result: StyleResult, run: str | None = None
) -> Recipe:
    """Command, settings as prototxt, versions, hashes, seed, backend and outcome of a finished run.

    `run` is the fingerprint, if it is not that of the job alone.
    """
    last = result.history[-1]
    return Recipe(
        command=args.command,
        options={"solver": format_message(_without_folders(job.settings)), "threads": args.threads},
        versions=versions(),
        files=job.files,
        seed=job.seed,
        backend=job.backend.name,
        results={
            "iterations": len(result.history),
            "loss": last.record.loss,
            "height": last.size[0],
            "width": last.size[1],
            "stopped": result.stop_reason,
            FINGERPRINT: run or run_fingerprint(job),
            "recoveries": [str(recovery) for recovery in result.recoveries],
        },
    )


def _without_folders(settings: SolverParameter) -> SolverParameter:
    bare = SolverParameter()
    bare.CopyFrom(settings)
    style = bare.style_transfer_param
    style.output = Path(style.output).name
    for name in ("frames", "flow_files"):
        if style.HasField("video") and getattr(style.video, name):
            setattr(style.video, name, Path(getattr(style.video, name)).name)
    holders = [(bare, "net"), (bare, "snapshot_prefix"), *picture_fields(style)]
    for message, name in holders:
        if getattr(message, name):
            setattr(message, name, Path(getattr(message, name)).name)
    bare.weights[:] = [",".join(Path(p).name for p in entry.split(",")) for entry in bare.weights]
    return bare
