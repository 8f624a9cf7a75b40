"""Matrix products by cuBLAS, on a handle of our own.

CuPy refuses its own cuBLAS calls while a stream is being captured; a handle with its own workspace and
stream may be captured. Matrices are row-major here: a row-major product is the column-major product of the
transposes with its factors exchanged.
"""

from __future__ import annotations

import ctypes as ct
import weakref
from dataclasses import dataclass

from nst.errors import BackendError

_P, _I, _L = ct.c_void_p, ct.c_int, ct.c_longlong
_REAL_32F, _REAL_64F, _REAL_16F, _REAL_16BF = 0, 1, 2, 14
"""cudaDataType_t: CUDA_R_32F, CUDA_R_64F, CUDA_R_16F, CUDA_R_16BF."""
_COMPUTE_32F, _COMPUTE_64F, _COMPUTE_FAST_TF32 = 68, 70, 77
"""cublasComputeType_t: CUBLAS_COMPUTE_32F, _64F, _32F_FAST_TF32."""
_HOST_POINTERS, _DEVICE_POINTERS = 0, 1
"""cublasPointerMode_t."""
_DEFAULT_ALGORITHM = -1
"""CUBLAS_GEMM_DEFAULT."""

DATA_TYPES = {"fp32": _REAL_32F, "fp64": _REAL_64F, "fp16": _REAL_16F, "bf16": _REAL_16BF}

_GEMM = [
    *(_P, _I, _I, _I, _I, _I, _P),  # handle, op A, op B, m, n, k, alpha
    *(_P, _I, _I, _L, _P, _I, _I, _L),  # A, type, leading dimension, stride; B likewise
    *(_P, _P, _I, _I, _L),  # beta, C, type, leading dimension, stride
    *(_I, _I, _I),  # matrices, compute type, algorithm
]
_FUNCTIONS: dict[str, list[object]] = {
    "cublasCreate_v2": [ct.POINTER(_P)],
    "cublasDestroy_v2": [_P],
    "cublasSetStream_v2": [_P, _P],
    "cublasSetWorkspace_v2": [_P, _P, ct.c_size_t],
    "cublasSetPointerMode_v2": [_P, _I],
    "cublasGemmStridedBatchedEx": list(_GEMM),
}


@dataclass(frozen=True)
class Matrix:
    """A row-major matrix, or the transpose of one, in memory; `stride` elements further lies the next one."""

    address: int
    storage: str
    pitch: int
    """Elements from one row in memory to the next."""
    transposed: bool = False
    """Whether the rows in memory are the columns of what is meant."""
    stride: int = 0


class Cublas:
    """One handle. All work goes to the stream that it was given."""

    def __init__(self, library: ct.CDLL, stream: int, workspace: tuple[int, int]) -> None:
        """workspace: address and bytes of scratch memory that nobody else uses."""
        self.library = library
        for name, arguments in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = _I, arguments
        handle = _P()
        _check(library.cublasCreate_v2(ct.byref(handle)), "cublasCreate")
        self._handle = handle
        weakref.finalize(self, library.cublasDestroy_v2, handle)
        # The stream first: setting it gives the workspace back to cuBLAS's own.
        _check(library.cublasSetStream_v2(handle, stream), "cublasSetStream")
        _check(library.cublasSetWorkspace_v2(handle, *workspace), "cublasSetWorkspace")

    def multiply(
        self,
        a: Matrix,
        b: Matrix,
        out: Matrix,
        sizes: tuple[int, int, int],
        *,
        alpha: float | int = 1.0,
        beta: float | int = 0.0,
        matrices: int = 1,
        tf32: bool = False,
        on_device: bool = False,
    ) -> None:
        """out = alpha * a @ b + beta * out for `matrices` products.

        sizes: (m, n, k) of out (m, n), a (m, k), b (k, n). With `on_device`, alpha and beta are addresses of
        floats on the device, read when the product runs.
        """
        m, n, k = sizes
        is_double = out.storage == "fp64"
        scalar = ct.c_double if is_double else ct.c_float
        kept = scalar(alpha), scalar(beta)
        on_host = ct.addressof(kept[0]), ct.addressof(kept[1])
        pointers = (int(alpha), int(beta)) if on_device else on_host
        mode = _DEVICE_POINTERS if on_device else _HOST_POINTERS
        _check(self.library.cublasSetPointerMode_v2(self._handle, mode), "cublasSetPointerMode")
        compute = _COMPUTE_64F if is_double else _COMPUTE_FAST_TF32 if tf32 else _COMPUTE_32F
        status = self.library.cublasGemmStridedBatchedEx(
            *(self._handle, int(b.transposed), int(a.transposed), n, m, k, pointers[0]),
            *_operand(b),
            *_operand(a),
            *(pointers[1], *_operand(out), matrices, compute, _DEFAULT_ALGORITHM),
        )
        _check(status, f"cublasGemmStridedBatchedEx ({m} x {n} x {k}, {a.storage})")


def _operand(matrix: Matrix) -> tuple[int, int, int, int]:
    return matrix.address, DATA_TYPES[matrix.storage], matrix.pitch, matrix.stride


_STATUS = {
    1: "NOT_INITIALIZED",
    3: "ALLOC_FAILED",
    7: "INVALID_VALUE",
    8: "ARCH_MISMATCH",
    11: "MAPPING_ERROR",
    13: "EXECUTION_FAILED",
    14: "INTERNAL_ERROR",
    15: "NOT_SUPPORTED",
}


def _check(status: int, what: str) -> None:
    if status != 0:
        name = f"CUBLAS_STATUS_{_STATUS.get(status, status)}"
        raise BackendError(f"cuBLAS: {what} failed ({name})")
