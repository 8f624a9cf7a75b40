"""Handler: how the runner computes one layer; the base of the classes in the *_step(s).py files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nst.backend.cpu.engine import Blocked, Engine, GateBits
from nst.backend.cpu.gradients import Gradients
from nst.backend.cpu.per_channel import ChannelMap
from nst.backend.cpu.twins import Twins
from nst.backend.operations import BlobLike, MemoryLike, Step

Blobs = Sequence[BlobLike]
Flags = Sequence[bool]


@dataclass(frozen=True)
class Pooled:
    """The gradient of a map that is still that of its pooled half, and the gate that spreads it."""

    gradient: Blocked
    gate: GateBits
    spread: Callable[[], None]
    """Writes the gradient of the map itself, for a layer that cannot read it in halves."""


@dataclass(frozen=True)
class Poolable:
    """A rectified convolution that can pool what it writes."""

    write: Callable[[Blocked, GateBits], None]
    """Fills the pooled map, and the gate with its winners."""
    remake: Callable[[], None]
    """Writes the map itself after all, for somebody who asks for it."""


@dataclass
class Waiting:
    """Half of a fused pair, put off until the other half comes. `finish(True)` runs it fused with a ReLU."""

    memory: MemoryLike
    finish: Callable[[bool], None]
    partners: tuple[type, ...]
    """Operations that may be the other half; before any other one it is finished alone."""
    map: ChannelMap | None = None
    """What a Scale goes on from."""
    pooled: Pooled | None = None
    """What a convolution may read instead of the gradient."""
    poolable: Poolable | None = None
    """How to run it fused with a ReLU and a 2x2 maximum pooling."""


@dataclass
class Runtime:
    """What the handlers of one net share."""

    engine: Engine
    twins: Twins
    gradients: Gradients
    bf16: bool = False
    """Whether convolutions multiply in bf16 where they can."""
    waiting: Waiting | None = None

    def take(self, memory: MemoryLike) -> Waiting | None:
        """What waits on this memory, if anything; it is the caller's from now on."""
        waiting = self.waiting
        if waiting is None or waiting.memory is not memory:
            return None
        self.waiting = None
        return waiting

    def flush_unless(self, operation: object, memory: MemoryLike) -> None:
        """Runs what waits, unless it waits for this operation on this memory."""
        waiting = self.waiting
        if waiting is not None and not (
            waiting.memory is memory and isinstance(operation, waiting.partners)
        ):
            self.flush()

    def flush(self) -> None:
        """Runs what waits, by itself."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.finish(False)


class Handler(ABC):
    """One layer on the engine. Both directions return False to leave the layer to its own code."""

    def __init__(self, runtime: Runtime, step: Step) -> None:
        self.runtime, self.step = runtime, step
        self.engine, self.twins, self.gradients = (
            runtime.engine,
            runtime.twins,
            runtime.gradients,
        )
        self.operation: Any = step.operation

    @abstractmethod
    def forward(self, bottom: Blobs, top: Blobs, params: Blobs) -> bool:
        """Computes the tops, or says that the layer has to."""

    @abstractmethod
    def backward(
        self, top: Blobs, propagate_down: Flags, bottom: Blobs, params: Blobs, wanted: Flags
    ) -> bool:
        """Computes the gradients that are wanted, or says that the layer has to."""
