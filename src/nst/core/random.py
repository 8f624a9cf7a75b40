"""Random numbers as Caffe draws them: MT19937 from one seed, so that equal seeds give equal nets.

`set_random_seed(s)` of Caffe is the stream of `numpy.random.RandomState(s)`'s raw 32-bit words (seen on the
real program); uniform values and dropout masks are bit-exact, gaussian ones are not (boost's ziggurat is not
portable across boost versions), see docs/numerics.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_WORD_MAX = np.float32(2**32 - 1)


class RandomSource:
    """The one stream of random numbers of a net or solver; passed in, never global."""

    def __init__(self, seed: int | None = None) -> None:
        self._generator = np.random.RandomState(seed)

    def words(self, count: int) -> NDArray[np.uint32]:
        """Raw 32-bit words of the Mersenne twister."""
        return self._generator.randint(0, 2**32, size=count, dtype=np.uint32)

    def uniform(self, low: float, high: float, count: int) -> NDArray[np.float32]:
        """float32 values in [low, high], as boost::uniform_real draws them in caffe_rng_uniform."""
        low32, high32 = np.float32(low), np.float32(high)
        above = np.nextafter(high32, np.float32(np.finfo(np.float32).max))
        unit = self.words(count).astype(np.float32) / _WORD_MAX
        return np.asarray(unit * (above - low32) + low32, np.float32)

    def gaussian(self, mean: float, std: float, count: int) -> NDArray[np.float32]:
        """float32 normal values; same distribution as Caffe's, not the same numbers."""
        return self._generator.normal(mean, std, count).astype(np.float32)

    def keep_mask(self, keep_probability: float, count: int) -> NDArray[np.bool_]:
        """True with the given probability; Caffe's caffe_rng_bernoulli, bit for bit."""
        threshold = np.float32(keep_probability) * _WORD_MAX
        return np.asarray(self.words(count).astype(np.float32) <= threshold, np.bool_)

    def shuffle(self, items: list[Any]) -> None:
        """Shuffles in place."""
        self._generator.shuffle(items)

    def state(self) -> bytes:
        """The whole state of the stream, for a snapshot; `restore` takes it back."""
        state: Any = self._generator.get_state(legacy=False)
        twister = state["state"]
        head = np.array([twister["pos"], state["has_gauss"]], np.int64).tobytes()
        cached = np.array([state["gauss"]], np.float64).tobytes()
        return bytes(head + cached + np.asarray(twister["key"], np.uint32).tobytes())

    def restore(self, state: bytes) -> None:
        """Continues the stream where `state()` was taken."""
        position, has_gauss = np.frombuffer(state[:16], np.int64)
        cached = np.frombuffer(state[16:24], np.float64)[0]
        keys = np.frombuffer(state[24:], np.uint32)
        self._generator.set_state(("MT19937", keys, int(position), int(has_gauss), float(cached)))
