"""The log of the solvers on stdout, line by line as Caffe's: old log parsers read it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from nst.pycaffe.glog import glog_line


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
    """The solvers' log, and warnings of all parts."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING and not record.name.startswith("nst.solvers"):
            return
        line = glog_line(record)
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
