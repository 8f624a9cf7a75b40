"""Neural style transfer on a Caffe-style layer framework.

    import nst
    net = nst.Net("net.prototxt", phase=nst.TEST, weights="w.caffemodel", backend="auto")
    solver = nst.get_solver("solver.prototxt")
    result = nst.style_transfer("content.jpg", "style.jpg", size=512)

pycaffe's names are here: most scripts run after `import nst as caffe`. Those that use caffe.layers say
`import nst.pycaffe as caffe` (docs/coming-from-caffe.md).

Nothing is loaded before it is used (PEP 562): `import nst` alone takes milliseconds.
"""

from __future__ import annotations

import importlib
import typing

if typing.TYPE_CHECKING:
    from nst.backend import available_backends, get_backend
    from nst.core import TEST, TRAIN, Blob, Layer
    from nst.errors import (
        BackendError,
        BackendUnavailable,
        Diverged,
        FileError,
        ImageError,
        NetError,
        NstError,
        PrototxtError,
        ShapeError,
        SnapshotError,
        SolverError,
        UsageError,
        WeightsError,
    )
    from nst.proto import LayerParameter, NetParameter, SolverParameter
    from nst.pycaffe import (
        AdaDeltaSolver,
        AdaGradSolver,
        AdamSolver,
        Classifier,
        Detector,
        LBFGSSolver,
        NesterovSolver,
        Net,
        NetSpec,
        RMSPropSolver,
        SGDSolver,
        allow_python_layers,
        get_solver,
        init_log,
        install_as_caffe,
        layer_type_list,
        log,
        params,
        set_device,
        set_mode_cpu,
        set_mode_gpu,
        set_random_seed,
        to_proto,
    )
    from nst.style import StyleResult, style_transfer

__version__ = "0.1.0"

__all__ = [
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "BackendError",
    "BackendUnavailable",
    "Blob",
    "Classifier",
    "Detector",
    "Diverged",
    "FileError",
    "ImageError",
    "LBFGSSolver",
    "Layer",
    "LayerParameter",
    "NesterovSolver",
    "Net",
    "NetError",
    "NetParameter",
    "NetSpec",
    "NstError",
    "PrototxtError",
    "RMSPropSolver",
    "SGDSolver",
    "ShapeError",
    "SnapshotError",
    "SolverError",
    "SolverParameter",
    "StyleResult",
    "UsageError",
    "WeightsError",
    "allow_python_layers",
    "available_backends",
    "get_backend",
    "get_solver",
    "init_log",
    "install_as_caffe",
    "layer_type_list",
    "log",
    "params",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_random_seed",
    "style_transfer",
    "to_proto",
]

_HOMES = {
    "backend": ("available_backends", "get_backend"),
    "core": ("TEST", "TRAIN", "Blob", "Layer"),
    "errors": (
        *("BackendError", "BackendUnavailable", "Diverged", "FileError", "ImageError", "NetError"),
        *("NstError", "PrototxtError", "ShapeError", "SnapshotError", "SolverError", "UsageError"),
        "WeightsError",
    ),
    "proto": ("LayerParameter", "NetParameter", "SolverParameter"),
    "pycaffe": (
        *("AdaDeltaSolver", "AdaGradSolver", "AdamSolver", "Classifier", "Detector", "LBFGSSolver"),
        *("NesterovSolver", "Net", "NetSpec", "RMSPropSolver", "SGDSolver", "allow_python_layers"),
        *("get_solver", "init_log", "install_as_caffe", "layer_type_list", "log", "params"),
        *("set_device", "set_mode_cpu", "set_mode_gpu", "set_random_seed", "to_proto"),
    ),
    "style": ("StyleResult", "style_transfer"),
}
"""Package -> the names of `__all__` that it holds."""

_PACKAGES = {*_HOMES, "cli", "io", "layers", "net", "solvers"}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if (
    not typing.TYPE_CHECKING
):  # type checkers read the imports above, and so still see misspelled names

    def __getattr__(name: str) -> object:
        """Loads a public name, or a package of the program, the first time it is asked for."""
        if name in _PACKAGES:
            if name in ("io", "proto"):
                importlib.import_module(
                    "nst.pycaffe"
                )  # it lends caffe.io's and caffe.proto's names
            return importlib.import_module(f"nst.{name}")
        for package, names in _HOMES.items():
            if name in names:
                value = getattr(importlib.import_module(f"nst.{package}"), name)
                globals()[name] = value
                return value
        raise AttributeError(f"module 'nst' has no attribute {name!r}")
