"""Random choices of the data layers, drawn as Caffe draws them.

A data layer does not use the net's stream itself: it takes one word of it as the seed of its own
(caffe_rng_rand), so that what it reads does not depend on who else draws.
"""

from __future__ import annotations

from typing import Any

from nst.core import RandomSource

_WORD_MAX = 2**32 - 1


def new_stream(rng: RandomSource) -> RandomSource:
    """A stream seeded by the next word of another."""
    return RandomSource(int(rng.words(1)[0]))


def shuffle(stream: RandomSource, items: list[Any]) -> None:
    """Shuffles in place, last to first (caffe::shuffle)."""
    for i in range(len(items) - 1, 0, -1):
        j = _uniform_int(stream, i)
        items[i], items[j] = items[j], items[i]


def _uniform_int(stream: RandomSource, most: int) -> int:
    """A number from 0 to `most`: buckets of equal size, what lies beyond is drawn again (boost)."""
    bucket = _WORD_MAX // (most + 1) + (_WORD_MAX % (most + 1) == most)
    while True:
        number = int(stream.words(1)[0]) // bucket
        if number <= most:
            return number
