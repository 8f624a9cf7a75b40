"""Neural style transfer: jobs, the twelve steps, presets, and runs over a schedule of sizes."""

from __future__ import annotations

from nst.style.api import style_transfer
from nst.style.job import StyleJob, load_job
from nst.style.run import Progress, StyleResult, StyleRun, run_job

__all__ = [
    "Progress",
    "StyleJob",
    "StyleResult",
    "StyleRun",
    "load_job",
    "run_job",
    "style_transfer",
]
