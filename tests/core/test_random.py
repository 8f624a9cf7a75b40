"""Random numbers: reproducible, and as Caffe draws them."""

from __future__ import annotations

import numpy as np

from nst.core import RandomSource


def test_words_are_the_raw_mersenne_twister_of_the_seed() -> None:
    # SOURCE: MT19937 reference implementation, init_genrand(5489): its first outputs
    assert RandomSource(5489).words(3).tolist() == [3499211612, 581869302, 3890346734]


def test_a_restored_stream_continues_where_it_was() -> None:
    source = RandomSource(1701)
    source.gaussian(0, 1, 3)  # leaves a cached half of a pair
    state = source.state()
    expected = (source.gaussian(0, 1, 4), source.words(700))

    source.restore(state)

    np.testing.assert_array_equal(source.gaussian(0, 1, 4), expected[0])
    np.testing.assert_array_equal(source.words(700), expected[1])


def test_uniform_values_stay_in_their_range() -> None:
    values = RandomSource(1).uniform(-2, 3, 10000)

    assert values.dtype == np.float32
    assert -2 <= values.min() < -1.99
    assert 2.99 < values.max() <= 3


def test_a_mask_keeps_about_the_wanted_share() -> None:
    assert abs(RandomSource(1).keep_mask(0.3, 100_000).mean() - 0.3) < 0.01
