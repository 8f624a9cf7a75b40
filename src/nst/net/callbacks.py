"""Callbacks of a net: functions that are told a layer's number before or after it runs."""

from __future__ import annotations

from collections.abc import Callable

LayerCallback = Callable[[int], None]


class Callbacks(list[LayerCallback]):
    """Functions to call with a layer's number; `net.before_forward(f)` adds one, as in pycaffe."""

    def __call__(self, callback: LayerCallback) -> None:
        self.append(callback)
