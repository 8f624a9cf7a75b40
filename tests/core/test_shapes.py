"""Shape arithmetic against brute force."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nst.core import shapes
from nst.errors import ShapeError

SIZES = st.integers(1, 40)
SMALL = st.integers(1, 7)


@given(size=SIZES, kernel=SMALL, stride=SMALL, pad=st.integers(0, 6), dilation=st.integers(1, 3))
def test_conv_out_counts_the_windows_that_fit(
    size: int, kernel: int, stride: int, pad: int, dilation: int
) -> None:
    reach = dilation * (kernel - 1) + 1
    starts = [s for s in range(-pad, size + pad, stride) if s + reach <= size + pad]

    assert max(0, shapes.conv_out(size, kernel, stride, pad, dilation)) == len(starts)


@given(size=SIZES, kernel=SMALL, stride=SMALL, pad=st.integers(0, 6), dilation=st.integers(1, 3))
def test_deconv_out_is_the_smallest_size_that_conv_out_leads_back_from(
    size: int, kernel: int, stride: int, pad: int, dilation: int
) -> None:
    out = shapes.deconv_out(size, kernel, stride, pad, dilation)

    assert shapes.conv_out(out, kernel, stride, pad, dilation) == size
    assert shapes.conv_out(out - 1, kernel, stride, pad, dilation) == size - 1


@given(size=SIZES, kernel=SMALL, stride=SMALL)
def test_pool_out_covers_the_last_column(size: int, kernel: int, stride: int) -> None:
    out = shapes.pool_out(size, kernel, stride, 0)

    if size >= kernel:
        assert (out - 1) * stride + kernel >= size
        assert (out - 2) * stride + kernel < size


@pytest.mark.parametrize(
    ("args", "expected"),
    [((6, 3, 2, 0), 3), ((5, 3, 2, 1), 3), ((5, 2, 2, 0), 3), ((1, 2, 2, 0), 1), ((4, 2, 2, 1), 3)],
)
def test_pool_out_matches_values_seen_on_the_real_caffe(
    args: tuple[int, int, int, int], expected: int
) -> None:
    assert shapes.pool_out(*args) == expected


def test_pool_out_floors_on_request() -> None:
    assert shapes.pool_out(5, 2, 2, 0, ceil=False) == 2


def test_an_axis_out_of_range_is_refused_in_caffes_words() -> None:
    assert shapes.canonical_axis(-1, (2, 3, 4)) == 2
    with pytest.raises(
        ShapeError, match=r"layer 'a': axis 7 out of range for 4-D blob with shape \(2, 3, 6, 6\)"
    ):
        shapes.canonical_axis(7, (2, 3, 6, 6), layer="a")
