"""Batch: an engine whose calls wait for each other, so that what is around the kernels runs without them.

A kernel sweeps the caches; Python after it is ten times as slow as Python after Python. A net's runner
therefore lets a whole run of layers describe their calls first, and only when somebody needs a result are
they made, one right after the other. Addresses in a call that waits must stay good: buffers of blobs and
layers outlive the run. Calls that wait run before memory is made, in case it takes the place of some that
they use; what a layer makes is kept until it is through and all its calls have run. Whoever passes memory
of less life, or reads a result, settles.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nst.backend.cpu.engine import Engine, FloatArray


class Batch(Engine):
    """Calls of one net on an engine that others use too."""

    def __init__(self, engine: Engine) -> None:
        self.library, self.isa, self.threads = engine.library, engine.isa, engine.threads
        self._handle, self._engine = engine._handle, engine
        self.defers = True
        """False: every call runs at once, for a profiler."""
        self._is_open = False
        self._calls: list[tuple[str, tuple[object, ...]]] = []
        self._made: list[FloatArray] = []
        """By the layer that describes its calls: it may settle, and then describe more that use them."""
        self._kept: list[FloatArray] = []
        """By layers before it."""

    @contextmanager
    def open(self) -> Iterator[None]:
        """Within it calls wait; afterwards those that are made run at once, behind those that wait."""
        self._is_open = self.defers
        try:
            yield
        except BaseException:
            self._calls.clear()
            raise
        finally:
            self._is_open = False
            self._kept += self._made
            self._made.clear()

    def call(self, name: str, *arguments: object) -> None:
        if self._is_open:
            self._calls.append((name, arguments))
        else:
            self.settle()
            self._engine.call(name, *arguments)

    def settle(self) -> None:
        calls, self._calls = self._calls, []
        for name, arguments in calls:
            self._engine.call(name, *arguments)
        self._kept.clear()

    def array(self, shape: tuple[int, ...]) -> FloatArray:
        self.settle()
        made = super().array(shape)
        if self._is_open:
            self._made.append(made)
        return made
