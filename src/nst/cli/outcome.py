"""How a command ends: exit code 0, 1 or 2, and one line on stderr when it is not 0.

| code | meaning                                                                                |
|------|----------------------------------------------------------------------------------------|
| 0    | done, or stopped by the user with the result saved                                     |
| 1    | the run failed: diverged, device, disk or memory; the result so far is saved if there is one |
| 2    | bad input or usage: nothing was computed                                               |
| 130  | aborted at once by a second Ctrl-C                                                     |
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from nst.errors import BackendError, BackendUnavailable, NstError, SolverError, did_you_mean

DONE, FAILED, BAD_INPUT, ABORTED = 0, 1, 2, 130


class RunFailed(Exception):
    """A run that began and could not be brought to its end; the text is for the user."""


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, with the nearest flag where one was mistyped."""

    def __init__(self, *args: object, **options: object) -> None:
        options.setdefault("allow_abbrev", False)
        super().__init__(*args, **options)  # type: ignore[arg-type]  # as ArgumentParser takes them

    def parse_args(  # type: ignore[override]  # no namespace: nobody here passes one
        self, args: Sequence[str] | None = None
    ) -> argparse.Namespace:
        found, unknown = self.parse_known_args(args)
        if unknown:
            near = did_you_mean(unknown[0].split("=")[0], _flags_of(self, found))
            self.error(f"unrecognized arguments: {' '.join(unknown)}.{near}".rstrip("."))
        return found

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: error: {message.removeprefix('argument ')}", file=sys.stderr)
        raise SystemExit(BAD_INPUT)


def guarded(prog: str, command: Callable[[], int], *, debug: bool, tell_notes: bool = False) -> int:
    """Runs a command; turns what it raises into an exit code and one line on stderr.

    With `debug`, warnings and the log of the package go to stderr, and the traceback comes first.
    With `tell_notes`, warnings of the log are printed as notes on stderr once the command is done.
    """
    with _logging(debug) as notes:
        try:
            code = command()
            for note in notes if tell_notes and not debug else ():
                print(f"{prog}: note: {note}", file=sys.stderr)
            return code
        except SystemExit as stop:  # argparse: --help, or an error already printed
            return stop.code if isinstance(stop.code, int) else DONE
        except KeyboardInterrupt:
            return _tell(prog, "aborted", ABORTED)
        except BrokenPipeError:
            # The reader of stdout left (`nst presets | head`); nothing more can be told to it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED
        except Exception as error:
            if debug:
                traceback.print_exc()
            return _tell(prog, *_verdict(error, debug))


def _verdict(error: Exception, debug: bool) -> tuple[str, int]:
    if isinstance(error, RunFailed):
        return str(error), FAILED
    if isinstance(error, NstError):
        failed = isinstance(error, (SolverError, BackendError))
        return str(error), FAILED if failed and not isinstance(error, BackendUnavailable) else 2
    if isinstance(error, MemoryError):
        detail = f" ({error})" if str(error) else ""
        return f"out of memory{detail}. A smaller --size needs less", FAILED
    hint = "" if debug else "; run with --debug for the traceback"
    return f"unexpected {type(error).__name__}: {error}{hint}", FAILED


def _tell(prog: str, message: str, code: int) -> int:
    print(f"{prog}: error: {' '.join(message.split())}", file=sys.stderr)
    return code


@contextmanager
def _logging(debug: bool) -> Iterator[list[str]]:
    """Keeps the log and Python's warnings off stderr, or sends all of it there; yields the warnings."""
    logger = logging.getLogger("nst")
    notes: list[str] = []
    handler: logging.Handler = logging.StreamHandler() if debug else _Collector(notes)
    level, show = logger.level, warnings.showwarning
    logger.addHandler(handler)
    if debug:
        logger.setLevel(logging.INFO)
    else:
        warnings.showwarning = lambda *args, **options: None
    try:
        yield notes
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        warnings.showwarning = show


class _Collector(logging.Handler):
    """Keeps the text of warnings."""

    def __init__(self, notes: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._notes = notes

    def emit(self, record: logging.LogRecord) -> None:
        self._notes.append(record.getMessage())


def _flags_of(parser: argparse.ArgumentParser, found: argparse.Namespace) -> list[str]:
    """All flags of a parser and of the sub-parsers that were chosen."""
    flags: list[str] = []
    for action in parser._actions:
        flags += action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            chosen = action.choices.get(getattr(found, action.dest, None) or "")
            flags += _flags_of(chosen, found) if chosen else []
    return flags
