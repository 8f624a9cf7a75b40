"""What a run takes of a GPU's memory: known before, and never more than was said."""

from __future__ import annotations

import pytest
from backend.cuda.host_device import HostDevice
from support.style_jobs import interrupted_job

from nst.backend.cuda.backend import CudaBackend
from nst.backend.cuda.program.program import CudaProgram
from nst.core import RandomSource
from nst.errors import UsageError
from nst.net import Net
from nst.style.augmented_net import augmented_net
from nst.style.forecast import fitted


def backend(bytes_free: int = 1 << 40) -> CudaBackend:
    return CudaBackend(HostDevice(bytes_free=bytes_free))


def test_a_run_that_fits_is_left_alone() -> None:
    job = interrupted_job("lbfgs", backend())

    assert fitted(job) is job


def test_the_history_is_cut_where_that_helps() -> None:
    extra = "lbfgs_corrections: 400 style_transfer_param { sizes: [16, 24] iterations: [500, 500] }"
    job = interrupted_job("lbfgs", backend(600_000), extra)

    shorter = fitted(job)

    assert 5 <= shorter.settings.lbfgs_corrections < 400
    assert "remembers" in shorter.notes[-1]


@pytest.mark.parametrize("kind", ["lbfgs", "adam"])
def test_a_size_that_does_not_fit_is_refused_with_the_largest_that_does(kind: str) -> None:
    wide = "style_transfer_param { sizes: [16, 512] iterations: [2, 2] }"
    message = r"needs .* of the GPU, .* are free\)\. The largest size that fits is (\d+)"

    with pytest.raises(UsageError, match=message) as refused:
        fitted(interrupted_job(kind, backend(4_000_000), wide))

    largest = int(str(refused.value).rsplit(" ", 1)[1])
    fitting = f"style_transfer_param {{ sizes: [16, {largest}] iterations: [2, 2] }}"
    assert 32 < largest < 512
    fitted(interrupted_job(kind, backend(4_000_000), fitting))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_what_was_said_is_what_is_taken(precision: str) -> None:
    device = HostDevice()
    cuda = CudaBackend(device, precision=precision)
    job = interrupted_job("adam", cuda)
    param = augmented_net(job.net, job.objective, (45, 61))
    net = Net(param, backend=cuda, rng=RandomSource(0), recycle_gradients=True)
    said = cuda.program_bytes(net.program_layers() or [])

    net.forward_backward()

    program = net._compilation.current
    assert isinstance(program, CudaProgram) and program.run is not None
    assert program.run.arena_bytes <= said
