"""LRN, Gram matrices, splits, concatenations and sums on the engine."""

from __future__ import annotations

import math
from functools import partial

from nst.backend.cpu.engine import Blocked, address, blocks
from nst.backend.cpu.handler import Blobs, Flags, Handler, Runtime, Waiting
from nst.backend.cpu.library import ACCUMULATE
from nst.backend.cpu.twins import extent_of, fits, is_feature_map, whole_blocks
from nst.backend.operations import BlobLike, Rectify, Step


class NormaliseHandler(Handler):
    def __init__(self, runtime: Runtime, step: Step) -> None:
        super().__init__(runtime, step)
        self.scale: Blocked | None = None

    def forward(self, bottom: Blobs, top: Blobs, params: Blobs) -> bool:
        x, y = bottom[0], top[0]
        if not is_feature_map(x):
            return False
        source = self._whole(self.twins.read(x.data_memory, x))
        target = self.twins.target(y.data_memory, y)
        written = target if target.is_whole else self._like(target)
        if self.scale is None or not fits(self.scale, x.shape):
            self.scale = self.engine.blocked(x.shape[0], x.shape[1], extent_of(x.shape))
        rule = self.operation
        self.engine.call(
            "nst_lrn",
            *(source.address, self.scale.address, written.address, *self._sizes(x)),
            *(rule.size, rule.alpha, rule.beta, rule.k),
        )
        if written is not target:
            self.engine.scale(1.0, written, target)
        self.twins.wrote(y.data_memory, y, target)
        return True

    def backward(
        self, top: Blobs, propagate_down: Flags, bottom: Blobs, params: Blobs, wanted: Flags
    ) -> bool:
        x, y = bottom[0], top[0]
        if self.scale is None or not fits(self.scale, x.shape):
            return False
        operands = [
            self.twins.read(x.data_memory, x),
            self.twins.read(y.data_memory, y),
            self.scale,
            self.gradients.read(y),
        ]
        whole = [self._whole(operand) for operand in operands]
        if propagate_down[0]:
            self.gradients.write(x, lambda target: self._spread(whole, target, x))
        return True

    def _whole(self, values: Blocked) -> Blocked:
        """The values with images one after the other: of several, a range of a joined map has gaps."""
        if values.is_whole:
            return values
        copy = self._like(values)
        self.engine.scale(1.0, values, copy)
        return copy

    def _like(self, values: Blocked) -> Blocked:
        return self.engine.blocked(values.images, values.channels, values.extent)

    def _spread(self, operands: list[Blocked], target: Blocked, x: BlobLike) -> None:
        rule = self.operation
        self.engine.call(
            "nst_lrn_backward",
            *(operand.address for operand in operands),
            *(target.address, *self._sizes(x), rule.size, rule.alpha, rule.beta),
        )

    def _sizes(self, x: BlobLike) -> tuple[int, int, int]:
        return x.shape[0], x.shape[1], math.prod(x.shape[2:])


class GramHandler(Handler):
    def forward(self, bottom: Blobs, top: Blobs, params: Blobs) -> bool:
        x, y = bottom[0], top[0]
        if not is_feature_map(x):
            return False
        source = self.twins.read(x.data_memory, x)
        matrices = self.twins.overwrite_planar(y.data_memory, y)
        for n in range(x.shape[0]):
            self.engine.call(
                "nst_gram",
                *(source.address + n * source.image_stride * 4, address(matrices[n])),
                *(x.shape[1], math.prod(x.shape[2:]), self._scale(x)),
            )
        return True

    def backward(
        self, top: Blobs, propagate_down: Flags, bottom: Blobs, params: Blobs, wanted: Flags
    ) -> bool:
        x, y = bottom[0], top[0]
        if not is_feature_map(x):
            return False
        if propagate_down[0]:
            self.gradients.contribute(x, partial(self._spread, x, y))
        return True

    def _spread(self, x: BlobLike, y: BlobLike, target: Blocked, adds: bool) -> None:
        source = self.twins.read(x.data_memory, x)
        matrices = self.twins.planar(y.diff_memory, y)
        scale = self._scale(x) if self.operation.scales_gradient else 1.0
        for n in range(x.shape[0]):
            self.engine.call(
                "nst_gram_backward",
                *(address(matrices[n]), source.address + n * source.image_stride * 4),
                *(target.address + n * target.image_stride * 4,),
                *(x.shape[1], math.prod(x.shape[2:]), scale, ACCUMULATE if adds else 0),
            )

    def _scale(self, x: BlobLike) -> float:
        rule = self.operation
        divisor = math.prod(x.shape[2:]) if rule.per_pixel else 1
        return float(rule.scale) / (divisor * (x.shape[1] if rule.per_channel else 1))


class ForkHandler(Handler):
    """Split: forward shares memory by the layer's own code; backward sums."""

    def forward(self, bottom: Blobs, top: Blobs, params: Blobs) -> bool:
        return False

    def backward(
        self, top: Blobs, propagate_down: Flags, bottom: Blobs, params: Blobs, wanted: Flags
    ) -> bool:
        if not propagate_down[0]:
            return True
        if not is_feature_map(bottom[0]) or not self._any_blocked(top):
            return False
        self.gradients.collect(bottom[0], list(top))
        return True

    def _any_blocked(self, top: Blobs) -> bool:
        return any(
            self.gradients.has_part(blob) or self.twins.is_fresh(blob.diff_memory, blob)
            for blob in top
        )


class JoinHandler(Handler):
    """Concat of whole channel blocks. From the second run on the bottoms are written in place: each one's
    home is its range of the top."""

    def forward(self, bottom: Blobs, top: Blobs, params: Blobs) -> bool:
        y = top[0]
        if not self._accepts(bottom, y):
            return False
        target = self.twins.target(y.data_memory, y)
        for x, first in self._ranges(bottom):
            source = self.twins.read(x.data_memory, x)
            place = target.block_range(first, x.shape[1])
            if source.address != place.address:
                self.engine.scale(1.0, source, place)
            if self.operation.holds_parts:
                self.twins.of(x.data_memory).home = place
        self.twins.wrote(y.data_memory, y, target)
        return True

    def backward(
        self, top: Blobs, propagate_down: Flags, bottom: Blobs, params: Blobs, wanted: Flags
    ) -> bool:
        if not self._accepts(bottom, top[0]):
            return False
        gradient, shared = self.gradients.in_its_buffer(top[0]), False
        for (x, first), needed in zip(self._ranges(bottom), propagate_down, strict=True):
            if needed:
                part = gradient.block_range(first, x.shape[1])
                shared |= self.gradients.pass_on(x, part)
        if shared:
            self.gradients.retire(top[0])
        return True

    def _accepts(self, bottom: Blobs, y: BlobLike) -> bool:
        return is_feature_map(y) and all(whole_blocks(x.shape[1]) for x in bottom)

    def _ranges(self, bottom: Blobs) -> list[tuple[BlobLike, int]]:
        """Each bottom and the first block of its range."""
        result, first = [], 0
        for x in bottom:
            result.append((x, first))
            first += blocks(x.shape[1])
        return result


class AddHandler(Handler):
    """Eltwise SUM; with two bottoms the ReLU after it is part of the same pass."""

    def forward(self, bottom: Blobs, top: Blobs, params: Blobs) -> bool:
        y = top[0]
        if not is_feature_map(y):
            return False
        finish = partial(self._forward, list(bottom), y)
        if self.operation.rectified:
            self.runtime.waiting = Waiting(y.data_memory, finish, (Rectify,))
        else:
            finish(False)
        return True

    def _forward(self, bottom: list[BlobLike], y: BlobLike, rectify: bool) -> None:
        sources = [self.twins.read(x.data_memory, x) for x in bottom]
        target, factors = self.twins.target(y.data_memory, y), self.operation.factors
        total, share = sources[0], factors[0]
        for i in range(1, len(sources)):
            last = rectify and i == len(sources) - 1
            self.engine.combine(share, total, factors[i], sources[i], target, rectify=last)
            total, share = target, 1.0
        self.twins.wrote(y.data_memory, y, target)

    def backward(
        self, top: Blobs, propagate_down: Flags, bottom: Blobs, params: Blobs, wanted: Flags
    ) -> bool:
        if not is_feature_map(top[0]):
            return False
        gradient = self.gradients.read(top[0])
        for factor, needed, x in zip(self.operation.factors, propagate_down, bottom, strict=True):
            if needed:
                self.gradients.write(x, partial(self.engine.scale, factor, gradient))
        return True
