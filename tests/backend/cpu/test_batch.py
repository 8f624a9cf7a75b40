"""Batch: calls wait and run in order, and everything that they point at is still there."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from nst.backend.cpu import CpuBackend
from nst.backend.cpu.batch import Batch
from nst.backend.cpu.engine import address
from nst.errors import BackendError


@pytest.fixture
def batch() -> Batch:
    return Batch(CpuBackend(2).engine)


def double(batch: Batch, x: np.ndarray) -> None:
    batch.call("nst_scale", 2.0, address(x), address(x), x.size)


def test_calls_wait_until_somebody_settles(batch: Batch) -> None:
    x = np.ones(40, np.float32)
    with batch.open():
        double(batch, x)
        double(batch, x)
        assert (x == 1).all()
    assert (x == 1).all()
    batch.settle()
    assert (x == 4).all()
    batch.settle()
    assert (x == 4).all()


def test_a_call_outside_runs_behind_those_that_wait(batch: Batch) -> None:
    x, y = np.ones(40, np.float32), np.zeros(40, np.float32)
    with batch.open():
        double(batch, x)
    batch.call("nst_scale", 10.0, address(x), address(y), x.size)
    assert (y == 20).all()


def test_what_is_made_while_calls_wait_lives_until_they_have_run(batch: Batch) -> None:
    x, result = np.ones(2**20, np.float32), np.zeros(2**20, np.float32)
    with batch.open():
        part = batch.array((x.size,))
        batch.call("nst_scale", 3.0, address(x), address(part), x.size)
        batch.call("nst_scale", 2.0, address(part), address(result), x.size)
        del part
    gc.collect()
    batch.settle()
    assert (result == 6).all()


def test_calls_run_before_anything_takes_the_place_of_what_they_use(batch: Batch) -> None:
    x = np.ones(40, np.float32)
    with batch.open():
        double(batch, x)
        batch.array((8,))
        assert (x == 2).all()


def test_an_inner_product_is_there_when_it_is_asked_for(batch: Batch) -> None:
    x = batch.blocked(1, 16, (3, 5))
    x.array[...] = 1
    with batch.open():
        batch.scale(2.0, x, x)
        assert batch.dot(x, x) == 4 * x.array.size


def test_after_an_error_nothing_waits(batch: Batch) -> None:
    x = np.ones(40, np.float32)
    with pytest.raises(ZeroDivisionError), batch.open():
        double(batch, x)
        raise ZeroDivisionError
    batch.settle()
    assert (x == 1).all()


def test_a_call_that_fails_is_named(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, *arguments: object) -> None:
        raise BackendError(f"cpu: {name}: out of memory")

    x = np.ones(40, np.float32)
    with batch.open():
        double(batch, x)
    monkeypatch.setattr(batch._engine, "call", refuse)
    with pytest.raises(BackendError, match="nst_scale: out of memory"):
        batch.settle()
    monkeypatch.undo()
    batch.settle()
    assert (x == 1).all()
