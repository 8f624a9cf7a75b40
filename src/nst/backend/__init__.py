"""Devices: `get_backend("numpy" | "cpu" | "cuda" | "auto")` and why each is or is not there."""

from __future__ import annotations

from nst.backend.choice import Availability, availability, available_backends, get_backend
from nst.backend.geometry import ConvGeometry, PoolGeometry
from nst.backend.interface import Array, Backend

__all__ = [
    "Array",
    "Availability",
    "Backend",
    "ConvGeometry",
    "PoolGeometry",
    "availability",
    "available_backends",
    "get_backend",
]
