"""Threads: results do not depend on their number, they survive fork, and limits are honoured."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from backend.cpu.oracle import normal

from nst.backend.cpu import CpuBackend
from nst.backend.cpu.threads import available_threads
from nst.backend.geometry import ConvGeometry, PoolGeometry

ONE = ConvGeometry((1, 1), (1, 1), (0, 0), (1, 1))
THREE = ConvGeometry((3, 3), (1, 1), (1, 1), (1, 1))
FIVE = ConvGeometry((5, 5), (2, 2), (2, 2), (1, 1))


def conv(
    channels: int, outputs: int, side: int, g: ConvGeometry
) -> Callable[[CpuBackend], np.ndarray]:
    def run(cpu: CpuBackend) -> np.ndarray:
        rng = np.random.default_rng(0)
        x = normal(rng, 1, channels, side, side + 3)
        w = normal(rng, outputs, channels, *g.kernel)
        shape = tuple((s + 2 * g.pad[0] - g.kernel[0]) // g.stride[0] + 1 for s in x.shape[2:])
        out = np.empty((1, outputs, *shape), np.float32)
        cpu.conv(x, w, normal(rng, outputs), g, out)
        dx, dw = np.empty_like(x), np.zeros_like(w)
        cpu.conv_backward_data(out, w, g, dx)
        cpu.conv_backward_weights(x, out, g, dw)
        return np.concatenate([a.ravel() for a in (out, dx, dw)])

    return run


def gram(channels: int, positions: int) -> Callable[[CpuBackend], np.ndarray]:
    def run(cpu: CpuBackend) -> np.ndarray:
        x = normal(np.random.default_rng(0), 1, channels, positions)
        out = np.empty((1, channels, channels), np.float32)
        cpu.gram(x, 0.5, out)
        dx = np.empty_like(x)
        cpu.gram_backward(out, x, 0.5, dx)
        return np.concatenate([out.ravel(), dx.ravel()])

    return run


def mean_pool(cpu: CpuBackend) -> np.ndarray:
    x = normal(np.random.default_rng(0), 1, 20, 33, 31)
    geometry = PoolGeometry((3, 3), (2, 2), (0, 0))
    out, dx = np.empty((1, 20, 16, 15), np.float32), np.empty_like(x)
    cpu.avg_pool(x, geometry, out)
    cpu.avg_pool_backward(out, geometry, dx)
    return np.concatenate([out.ravel(), dx.ravel()])


def dot(cpu: CpuBackend) -> np.ndarray:
    x = normal(np.random.default_rng(0), 200_003)
    return np.array([cpu.dot(x, x)])


def matmul(cpu: CpuBackend) -> np.ndarray:
    rng = np.random.default_rng(0)
    out = np.empty((150, 130), np.float32)
    cpu.matmul(normal(rng, 150, 1100), normal(rng, 1100, 130), out)
    return out


def weights(
    images: int, channels: int, outputs: int, size: int, geometry: ConvGeometry
) -> Callable[[CpuBackend], np.ndarray]:
    def run(cpu: CpuBackend) -> np.ndarray:
        rng = np.random.default_rng(0)
        side = (size + 2 * geometry.pad[0] - geometry.kernel[0]) // geometry.stride[0] + 1
        kernel = np.zeros((outputs, channels, *geometry.kernel), np.float32)
        x, dy = normal(rng, images, channels, size, size), normal(rng, images, outputs, side, side)
        cpu.conv_backward_weights(x, dy, geometry, kernel)
        return kernel

    return run


WORK = {
    "winograd 6x6": conv(64, 40, 50, THREE),
    "winograd 4x4 expanded on the fly": conv(512, 40, 20, THREE),
    "winograd 6x6 expanded on the fly": conv(512, 40, 40, THREE),
    "pointwise": conv(40, 70, 41, ONE),
    "picture": conv(3, 64, 60, THREE),
    "strided 5x5": conv(40, 70, 30, FIVE),
    "winograd weights": weights(3, 40, 50, 40, THREE),
    "winograd weights, few tiles": weights(1, 200, 200, 8, THREE),
    "strided weights": weights(2, 40, 70, 30, FIVE),
    "narrow Gram": gram(64, 5000),
    "wide Gram": gram(512, 700),
    "mean pooling": mean_pool,
    "dot": dot,
    "matmul": matmul,
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK.keys())
def test_results_are_the_same_bits_for_any_number_of_threads(
    work: Callable[[CpuBackend], np.ndarray],
) -> None:
    one = work(CpuBackend(1))
    np.testing.assert_array_equal(work(CpuBackend(2)), one)
    np.testing.assert_array_equal(work(CpuBackend(3)), one)


@pytest.mark.parametrize("work", WORK.values(), ids=WORK.keys())
def test_results_are_the_same_bits_from_run_to_run(
    work: Callable[[CpuBackend], np.ndarray],
) -> None:
    cpu = CpuBackend(2)
    np.testing.assert_array_equal(work(cpu), work(cpu))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork, which this system lacks")
def test_an_engine_works_in_a_forked_child_and_still_in_the_parent() -> None:
    cpu = CpuBackend(3)
    expected = WORK["winograd 6x6"](cpu)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # newer Pythons warn of threads and fork
        child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(WORK["winograd 6x6"](cpu), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_array_equal(WORK["winograd 6x6"](cpu), expected)


def test_the_number_of_threads_can_be_chosen() -> None:
    assert CpuBackend(3).engine.threads == 3


def test_a_cgroup_quota_limits_the_threads(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    assert available_threads(tmp_path) == 1


def test_a_cgroup_of_version_1_limits_the_threads(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("50000\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert available_threads(tmp_path) == 1


@pytest.mark.parametrize("text", ["max 100000\n", "6400000 100000\n"])
def test_without_a_tighter_quota_the_affinity_decides(tmp_path: Path, text: str) -> None:
    (tmp_path / "cpu.max").write_text(text)
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert available_threads(tmp_path) == min(cpus or 1, 64)
