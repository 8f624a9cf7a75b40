"""What pycaffe keeps as process-wide mode: here only what this door's nets and solvers start from.

There is no global mode in `nst`: a net lives on the backend that it was given. Caffe scripts set one, so this
door remembers a backend and a seed and hands them to the nets and solvers that are made *afterwards* through
`nst.pycaffe` without naming their own. Nothing outside this package looks at it.
"""

from __future__ import annotations

import logging
import os
import sys

from nst.backend import Backend, availability, get_backend
from nst.errors import UsageError
from nst.layers import LAYERS

_log = logging.getLogger("nst.pycaffe")


class _Defaults:
    """What nets and solvers start from; a seed of None is a fresh one each time."""

    backend: str = "auto"
    seed: int | None = None
    allow_python: bool = False


def set_mode_cpu() -> None:
    """Nets and solvers made from now on live on the fastest backend without a GPU: cpu, else numpy."""
    name = next(name for name in ("cpu", "numpy") if availability(name).available)
    _Defaults.backend = name
    _log.info("set_mode_cpu: backend '%s'", name)


def set_mode_gpu() -> None:
    """Nets and solvers made from now on live on the GPU.

    Raises BackendUnavailable at once where there is none; Caffe aborts at the first forward.
    """
    get_backend("cuda")
    _Defaults.backend = "cuda"


def set_device(device_id: int) -> None:
    """Makes one GPU the only one that this process sees; call it before `set_mode_gpu` and before any net.

    Raises UsageError for a number that is not there, and for another than 0 once the GPU is in use.
    """
    if device_id != 0 and "cupy" in sys.modules:
        raise UsageError(
            f"set_device: the GPU is in use already (got {device_id}, expected 0). Call set_device "
            f"first, or start the program with CUDA_VISIBLE_DEVICES={device_id}"
        )
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    known = None if visible is None else visible.split(",")
    if device_id < 0 or (known is not None and device_id >= len(known)):
        raise UsageError(
            f"set_device: got {device_id}, expected the number of a GPU (CUDA_VISIBLE_DEVICES is {visible})"
        )
    if device_id != 0:
        # Read by the CUDA runtime when it starts, which has not happened yet.
        os.environ["CUDA_VISIBLE_DEVICES"] = known[device_id] if known else str(device_id)


def set_random_seed(seed: int) -> None:
    """Nets made from now on draw from this seed: fillers and dropout masks are Caffe's, bit for bit.

    Every net starts its own stream, so two equal nets get equal weights; in Caffe the second net goes on
    where the first one stopped. A solver file's own `random_seed` wins.
    """
    _Defaults.seed = int(seed)


def allow_python_layers(allow: bool = True) -> None:
    """Lets the Python layers of nets made from now on run their code, as Caffe always does."""
    _Defaults.allow_python = allow


def choose_backend(backend: str | Backend) -> Backend:
    """The backend that a net or solver of this door lives on; "auto" follows set_mode_*."""
    if not isinstance(backend, str):
        return backend
    return get_backend(_Defaults.backend if backend == "auto" else backend)


def choose_seed(seed: int | None) -> int | None:
    """The seed given, else the one of set_random_seed, else None."""
    return _Defaults.seed if seed is None else seed


def choose_allow_python(allow: bool) -> bool:
    """Whether Python layers may run: for this net, or by allow_python_layers for all."""
    return allow or _Defaults.allow_python


def layer_type_list() -> list[str]:
    """The names of all layer types, in alphabetical order."""
    return sorted(layer.type for layer in LAYERS)
