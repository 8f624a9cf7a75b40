"""The log of the solvers on stdout, line by line as Caffe's: old log parsers read it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


@contextmanager
def solver_log(console: Console) -> Iterator[None]:
    """While active, the solvers' log and all warnings go to the console."""
    handler = _LogLines(console)
    package, solvers = logging.getLogger("nst"), logging.getLogger("nst.solvers")
    level = solvers.level
    package.addHandler(handler)
    solvers.setLevel(logging.INFO)
    try:
        yield
    finally:
        package.removeHandler(handler)
        solvers.setLevel(level)


class _LogLines(logging.Handler):
    """`I1123 03:09:10.339541 6955 solver] text`, the head of glog's lines."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING and not record.name.startswith("nst.solvers"):
            return
        stamp = time.strftime("%m%d %H:%M:%S", time.localtime(record.created))
        micro = int(record.created % 1 * 1e6)
        source = record.name.removeprefix("nst.")
        line = f"{record.levelname[0]}{stamp}.{micro:06d} {os.getpid()} {source}] {record.getMessage()}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
