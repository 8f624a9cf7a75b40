"""What Caffe tells through glog: what nets and solvers do, on stderr, when it is asked for."""

from __future__ import annotations

import logging
import os
import sys
import time

from nst.errors import UsageError

_SEVERITIES = (logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
_LEAST_SEVERITY = "GLOG_minloglevel"  # glog's own spelling
_package = logging.getLogger("nst")
_log = logging.getLogger("nst.pycaffe")


def init_log(level: int = 0, stderr: bool = True) -> None:
    """Shows what nets and solvers tell, from glog's severity `level` on: 0 info, 1 warning, 2 error.

    The environment variable GLOG_minloglevel silences more, at any time. `stderr` is for scripts that pass
    it: there is no other place. Raises UsageError for another level.
    """
    if level not in range(len(_SEVERITIES)):
        raise UsageError(f"init_log: got level {level}, expected 0 to 3")
    if not any(isinstance(handler, _GlogLines) for handler in _package.handlers):
        _package.addHandler(_GlogLines())
    _package.setLevel(_SEVERITIES[level])


def log(message: str) -> None:
    """Adds a line to the log."""
    _log.info("%s", message)


def glog_line(record: logging.LogRecord) -> str:
    """`I1123 03:09:10.339541 6955 net] text`: severity, time, process, part of the package."""
    stamp = time.strftime("%m%d %H:%M:%S", time.localtime(record.created))
    micro = int(record.created % 1 * 1e6)
    source = record.name.removeprefix("nst.")
    head = f"{record.levelname[0]}{stamp}.{micro:06d} {os.getpid()} {source}]"
    return f"{head} {record.getMessage()}"


class _GlogLines(logging.Handler):
    """One line per record on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        least = os.environ.get(_LEAST_SEVERITY, "0")
        if least.isdecimal() and record.levelno < _SEVERITIES[min(int(least), 3)]:
            return
        print(glog_line(record), file=sys.stderr)
