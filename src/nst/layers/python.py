"""Python: a layer whose class is found in a Python module; off unless the net is told to allow it.

Formula   whatever the class computes
Bottoms   any number
Tops      any number
Params    python_param { module: imported by name  layer: the class in it  param_str = "": handed over as it
          is }; `share_in_parallel` changes nothing here
Blobs     what the class adds with self.blobs.add_blob(*shape), zeros at first
Gradient  the class's own business
Errors    not allowed, no such module or class (setup); what the class raises comes through unchanged
Source    Caffe PythonLayer. The class has setup, reshape, forward(bottom, top) and backward(top,
          propagate_down, bottom); self.param_str, self.phase and self.blobs are set before setup
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from nst.core import Arity, Blob, Layer, Shape
from nst.errors import did_you_mean


class BlobVec(list[Blob]):
    """The parameter blobs of a user's layer; pycaffe's name."""

    def __init__(self, make: Callable[[Shape], Blob]) -> None:
        super().__init__()
        self._make = make

    def add_blob(self, *shape: int) -> Blob:
        """Appends a blob of zeros and returns it."""
        blob = self._make(shape)
        self.append(blob)
        return blob


class UserLayer:
    """Base for classes that PYTHON layers run; `caffe.Layer` of pycaffe. Inheriting from it is optional."""

    param_str: str
    phase: int
    blobs: BlobVec

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Called once, before the first reshape."""

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Gives the tops their shapes: top[0].reshape(*shape). Called before every forward."""

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Writes top data."""

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        """Writes bottom diffs."""


class Python(Layer):
    type = "Python"
    bottoms = Arity.at_least(0)
    tops = Arity.at_least(0)
    allows_in_place = True
    reshapes_every_time = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.python_param
        if not self.context.allow_python:
            raise self.net_error(
                f"Python layers run code (got module {p.module!r}, class {p.layer!r}) and are off. "
                "If you trust the net, allow them: --allow-python, or allow_python=True"
            )
        self.user = self._find_class()()
        self.user.param_str = p.param_str
        self.user.phase = self.phase
        self.user.blobs = BlobVec(self.add_param)
        self.is_set_up = False

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        """Unknown before the class has seen its blobs: scalars."""
        return [()] * len(self.param.top)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The class's own reshape, after its setup the first time: pycaffe's setup wants the blobs."""
        if not self.is_set_up:
            self.user.setup(bottom, top)
            self.is_set_up = True
        self.user.reshape(bottom, top)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.user.forward(bottom, top)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        self.user.backward(top, propagate_down, bottom)

    def _find_class(self) -> Callable[[], Any]:
        p = self.param.python_param
        try:
            module = importlib.import_module(p.module)
        except ModuleNotFoundError as error:
            raise self.net_error(
                f"{error} (got module {p.module!r}). It must be on PYTHONPATH"
            ) from error
        found: Callable[[], Any] | None = getattr(module, p.layer, None)
        if found is None:
            raise self.net_error(
                f"module {p.module!r} has no class {p.layer!r}.{did_you_mean(p.layer, vars(module))}"
            )
        return found
