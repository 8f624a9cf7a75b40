"""A run in a process of its own, for the kill tests: `kill_worker.py KIND BACKEND SNAPSHOT`.

Writes a snapshot after every iteration and prints each iteration, until it is killed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from support.style_jobs import interrupted_job

from nst.backend import get_backend
from nst.style.run import Progress, StyleRun
from nst.style.run_snapshot import SnapshotFile


def main(kind: str, backend: str, path: str) -> None:
    def tell(progress: Progress, run: StyleRun) -> None:
        print(progress.done, flush=True)
        time.sleep(0.01)

    job = interrupted_job(kind, get_backend(backend))
    StyleRun(job, [tell], snapshots=SnapshotFile(Path(path), every=1)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
