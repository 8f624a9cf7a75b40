"""Blob: lazily made memory, reshaping, sharing."""

from __future__ import annotations

import numpy as np
import pytest

from nst.backend import Backend
from nst.core import Blob
from nst.errors import BackendError, ShapeError


def test_new_memory_is_zero_and_data_is_the_blobs_own(backend: Backend) -> None:
    blob = Blob(backend, (2, 3))

    blob.data[0, 1] = 5

    assert blob.to_host().tolist() == [[0, 5, 0], [0, 0, 0]]


def test_memory_for_the_gradient_is_made_when_it_is_first_asked_for(backend: Backend) -> None:
    blob = Blob(backend, (2, 3))

    before = blob.has_diff
    blob.diff[...] = 1

    assert (before, blob.has_diff) == (False, True)


def test_shrinking_keeps_the_memory_and_growing_starts_new_zeros(backend: Backend) -> None:
    blob = Blob(backend, (2, 3))
    blob.data[...] = 7

    blob.reshape(3)
    kept = blob.to_host().tolist()
    blob.reshape(7)

    assert kept == [7, 7, 7]
    assert blob.to_host().tolist() == [0] * 7


def test_data_and_diff_cannot_be_assigned(backend: Backend) -> None:
    blob = Blob(backend, (2,))

    with pytest.raises(AttributeError):
        blob.data = np.zeros(2)  # type: ignore[misc]


def test_shared_data_is_one_memory_even_before_it_is_made(backend: Backend) -> None:
    a, b = Blob(backend, (2, 3)), Blob(backend, (6,))
    b.share_data(a)

    b.data[...] = 4

    assert a.to_host().tolist() == [[4, 4, 4], [4, 4, 4]]
    assert a.diff_memory is not b.diff_memory


def test_sharing_needs_equal_counts(backend: Backend) -> None:
    a, b = Blob(backend, (2, 3), name="a"), Blob(backend, (5,), name="b")

    with pytest.raises(
        ShapeError, match=r"blob 'b': cannot share memory with blob 'a' \(got shape"
    ):
        b.share_data(a)


def test_a_negative_size_is_refused(backend: Backend) -> None:
    with pytest.raises(ShapeError, match=r"negative size \(got shape \(1, -3\)\)"):
        Blob(backend, (1, -3))


def test_a_shape_beyond_all_memory_is_refused_before_memory_is_asked_for(backend: Backend) -> None:
    blob = Blob(backend, (2, 3), name="x")

    with pytest.raises(
        ShapeError, match=r"blob 'x': .*got 2199023255552 .*at most 1099511627776\)"
    ):
        blob.reshape(2**21, 2**20)
    assert blob.shape == (2, 3)


def test_memory_that_is_not_there_is_an_error_with_its_size(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(shape: tuple[int, ...], dtype: object) -> None:
        raise MemoryError

    monkeypatch.setattr(backend, "zeros", refuse)

    with pytest.raises(
        BackendError, match=r"out of memory \(asked for 40\.0 GB for a blob of shape"
    ):
        _ = Blob(backend, (100000, 100000)).data


def test_legacy_names_fill_missing_axes_with_1_and_refuse_five(backend: Backend) -> None:
    blob = Blob(backend, (2, 3))

    assert (blob.num, blob.channels, blob.height, blob.width) == (2, 3, 1, 1)
    blob.reshape(1, 1, 1, 1, 1)
    with pytest.raises(ShapeError, match="at most 4 axes"):
        _ = blob.num


def test_pending_values_are_fetched_before_anyone_looks(backend: Backend) -> None:
    blob = Blob(backend, (2,))
    blob.data[...] = 1
    calls = []

    def fill() -> None:
        calls.append(1)
        blob.data_memory.raw((2,), backend, np.float32)[...] = 9

    blob.data_memory.pending = fill
    blob.data_memory.exposed = False

    assert blob.to_host().tolist() == [9, 9]
    assert blob.to_host().tolist() == [9, 9]
    assert calls == [1]
    assert blob.data_memory.exposed


def test_more_axes_than_caffe_has_are_refused(backend: Backend) -> None:
    with pytest.raises(ShapeError, match=r"too many axes \(got 33, expected at most 32\)"):
        Blob(backend, (1,) * 33)
