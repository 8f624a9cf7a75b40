"""Ctrl-C and SIGTERM while something runs: the first asks it to end well, the second ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[], None]


@contextmanager
def stop_on_signals(stop: Handler) -> Iterator[None]:
    """Calls `stop` on the first Ctrl-C or SIGTERM; the second raises KeyboardInterrupt."""
    once = Once(stop)
    with on_signals({signal.SIGINT: once, signal.SIGTERM: once}):
        yield


@contextmanager
def on_signals(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    """Calls a handler per signal while active.

    Outside the main thread, where Python has no signals, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        handlers[signal.Signals(number)]()

    before = {number: signal.signal(number, handle) for number in handlers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Once:
    """Calls something the first time, and aborts the second time."""

    def __init__(self, stop: Handler) -> None:
        self._stop = stop
        self._asked = False

    def __call__(self) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        self._stop()
