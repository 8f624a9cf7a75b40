"""serial_blas: one thread of BLAS inside, as many as before outside."""

from __future__ import annotations

import numpy as np
import threadpoolctl

from nst.backend import Backend, get_backend
from nst.backend.interface import Backend as Contract


def threads() -> list[int]:
    pools = threadpoolctl.threadpool_info()
    return [pool["num_threads"] for pool in pools if pool["user_api"] == "blas"]


def test_inside_the_blas_of_the_host_has_one_thread() -> None:
    backend = get_backend("numpy")
    before = threads()

    with backend.serial_blas():
        inside = threads()
        values = np.linalg.eigvalsh(np.diag([3.0, 1.0, 2.0]))

    assert set(inside) <= {1}
    assert threads() == before
    np.testing.assert_allclose(values, [1, 2, 3])


def test_it_can_be_entered_on_every_backend_and_again(backend: Backend) -> None:
    with backend.serial_blas(), backend.serial_blas():
        pass


def test_a_backend_without_host_arrays_needs_none_of_its_own() -> None:
    with Contract.serial_blas(get_backend("numpy")) as nothing:
        assert nothing is None
