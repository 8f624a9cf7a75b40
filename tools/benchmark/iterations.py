"""What every contender offers: the iterations that are timed.

forward   the feature net and its Gram matrices
both      forward, Gram and content losses, and backward to the picture: one evaluation of a style run without
          the optimiser's own step
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Iterations:
    """The timed calls; `both` returns the loss, `gradient` what it left."""

    forward: Callable[[], object]
    both: Callable[[], float]
    gradient: Callable[[], Any]
