"""The nouns: Blob, Layer and its contract, fillers, shape arithmetic, random numbers."""

from __future__ import annotations

from nst.core.blob import Blob, Memory
from nst.core.layer import TEST, TRAIN, Arity, Layer, LayerContext, NotDifferentiable
from nst.core.random import RandomSource
from nst.core.shapes import Shape

__all__ = [
    "TEST",
    "TRAIN",
    "Arity",
    "Blob",
    "Layer",
    "LayerContext",
    "Memory",
    "NotDifferentiable",
    "RandomSource",
    "Shape",
]
