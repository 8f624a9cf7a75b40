"""The compiled half of the CPU engine: finding the right shared library, and its C interface in ctypes.

The package holds one library per instruction set (`libnst_cpu_<isa>.so`), all with the interface of
native/nst_cpu.h. The widest one that this processor runs is loaded; `NST_CPU_ISA` asks for another.
"""

from __future__ import annotations

import ctypes as ct
import os
from pathlib import Path

from nst.errors import BackendUnavailable

HERE = Path(__file__).parent
ABI_VERSION = 2
INSTRUCTION_SETS = ("avx512", "avx2", "baseline", "neon")
"""Widest first; `baseline` is x86-64-v2 (SSE4.2)."""

HOW_TO_BUILD = (
    "Install a wheel for this platform, or a C++17 compiler and CMake and then nst-caffe from source "
    "(in a checkout: cmake -S . -B build/cpu -DNST_CPU_IN_PLACE=ON && cmake --build build/cpu)"
)


class Conv(ct.Structure):
    """`nst_conv`: a 2-D convolution seen from its forward direction."""

    _fields_ = [
        (name, ct.c_int64)
        for name in (
            *("images", "in_channels", "out_channels", "in_h", "in_w", "out_h", "out_w"),
            *("kernel_h", "kernel_w", "stride_h", "stride_w", "pad_h", "pad_w"),
            *("dilation_h", "dilation_w", "in_stride", "out_stride"),
        )
    ]


class Pool(ct.Structure):
    """`nst_pool`: a pooling over blocked arrays."""

    _fields_ = [
        (name, ct.c_int64)
        for name in (
            *("images", "channels", "in_h", "in_w", "out_h", "out_w", "kernel_h", "kernel_w"),
            *("stride_h", "stride_w", "pad_h", "pad_w", "in_stride", "out_stride"),
        )
    ]


class Gate(ct.Structure):
    """`nst_gate`: one bit per value of a blocked map."""

    _fields_ = [("bits", ct.c_void_p), ("image_stride", ct.c_int64)]


class Border(ct.Structure):
    """`nst_border`: maps and the same maps with a border around them."""

    _fields_ = [
        (name, ct.c_int64)
        for name in (
            *("images", "channels", "in_h", "in_w", "out_h", "out_w"),
            *("in_stride", "out_stride"),
        )
    ]


class Channels(ct.Structure):
    """`nst_channels`: a step with one number per channel."""

    _fields_ = [
        (name, ct.c_int64)
        for name in (
            *("images", "channels", "pixels"),
            *("x_stride", "gradient_stride", "gate_stride", "out_stride"),
        )
    ]


class Affine(ct.Structure):
    """`nst_affine`: (x - center) * factor + offset."""

    _fields_ = [(name, ct.c_void_p) for name in ("center", "factor", "offset")]


class Spread(ct.Structure):
    """`nst_spread`: (gradient - mean - (x - center) * slope) * factor."""

    _fields_ = [(name, ct.c_void_p) for name in ("center", "slope", "mean", "factor")]


RELU, ACCUMULATE, POOLED = 1, 2, 4
"""Flags of a convolution: `NST_RELU`, `NST_ACCUMULATE`, `NST_POOLED`."""

TAPS, EXPANDED, BF16 = 0, 1, 2
"""Forms of Winograd filters: `NST_TAPS`, `NST_EXPANDED`, `NST_BF16`."""

_ENGINE = _PTR = ct.c_void_p
_INT, _LONG, _FLOAT = ct.c_int, ct.c_int64, ct.c_float
_CONV, _POOL, _CHANNELS = ct.POINTER(Conv), ct.POINTER(Pool), ct.POINTER(Channels)
_AFFINE, _SPREAD, _BORDER = ct.POINTER(Affine), ct.POINTER(Spread), ct.POINTER(Border)
_GATE = ct.POINTER(Gate)

_QUERIES: dict[str, tuple[object, list[object]]] = {
    "nst_abi_version": (_INT, []),
    "nst_isa": (ct.c_char_p, []),
    "nst_lanes": (_INT, []),
    "nst_best_isa": (ct.c_char_p, []),
    "nst_has_bf16": (_INT, []),
    "nst_engine_create": (_ENGINE, [_INT]),
    "nst_engine_destroy": (None, [_ENGINE]),
    "nst_engine_threads": (_INT, [_ENGINE]),
    "nst_error": (ct.c_char_p, [_ENGINE]),
    "nst_allocate": (_PTR, [_LONG]),
    "nst_release": (None, [_PTR]),
    "nst_winograd_filter_floats": (_LONG, [_CONV, _INT, _INT, _INT]),
    "nst_conv_filter_floats": (_LONG, [_CONV]),
    "nst_first_filter_floats": (_LONG, [_CONV, _INT]),
}
"""Functions that cannot fail: name -> (result, arguments)."""

_CALLS: dict[str, list[object]] = {
    "nst_engine_trim": [],
    "nst_positive_gate": [_PTR, *[_LONG] * 4, _GATE],
    "nst_to_blocked": [_PTR, _PTR, *[_LONG] * 5],
    "nst_to_planar": [_PTR, _PTR, *[_LONG] * 5],
    "nst_winograd_pack": [_CONV, _INT, _INT, _INT, _PTR, _PTR],
    "nst_winograd": [_CONV, _INT, _INT, _INT, _PTR, _GATE, *[_PTR] * 3, _INT],
    "nst_conv_pack": [_CONV, _INT, _PTR, _PTR],
    "nst_conv_run": [_CONV, _INT, _PTR, _GATE, *[_PTR] * 3, _INT],
    "nst_first_pack": [_CONV, _INT, _PTR, _PTR],
    "nst_first_forward": [_CONV, _PTR, _GATE, *[_PTR] * 3, _INT],
    "nst_first_backward": [_CONV, _PTR, _GATE, *[_PTR] * 2],
    "nst_conv_weight_gradient": [_CONV, *[_PTR] * 4],
    "nst_first_weight_gradient": [_CONV, *[_PTR] * 4],
    "nst_max_pool": [_POOL, _PTR, _PTR, _PTR],
    "nst_max_pool_backward": [_POOL, _PTR, _PTR, _PTR],
    "nst_max_pool_gated": [_POOL, _PTR, _PTR, _GATE, _INT],
    "nst_max_pool_gated_backward": [_POOL, _PTR, _GATE, _PTR],
    "nst_avg_pool": [_POOL, _PTR, _PTR],
    "nst_avg_pool_backward": [_POOL, _PTR, _PTR],
    "nst_border_forward": [_BORDER, *[_PTR] * 4],
    "nst_border_backward": [_BORDER, *[_PTR] * 4],
    "nst_lrn": [*[_PTR] * 3, *[_LONG] * 4, *[_FLOAT] * 3],
    "nst_lrn_backward": [*[_PTR] * 5, *[_LONG] * 4, *[_FLOAT] * 2],
    "nst_gram": [_PTR, _PTR, _LONG, _LONG, _FLOAT],
    "nst_gram_backward": [*[_PTR] * 3, _LONG, _LONG, _FLOAT, _INT],
    "nst_gemm": [*[_LONG] * 3, _PTR, _LONG, _LONG, _PTR, _LONG, _LONG, _PTR, _LONG, _INT],
    "nst_channel_moments": [_CHANNELS, *[_PTR] * 3],
    "nst_channel_affine": [_CHANNELS, _PTR, _AFFINE, _PTR, _INT],
    "nst_channel_gradient": [_CHANNELS, *[_PTR] * 7],
    "nst_channel_spread": [_CHANNELS, _PTR, _PTR, _SPREAD, _PTR],
    "nst_dot": [_PTR, _PTR, _LONG, _PTR],
    "nst_axpby": [_FLOAT, _PTR, _FLOAT, _PTR, _PTR, _LONG],
    "nst_axpby_relu": [_FLOAT, _PTR, _FLOAT, _PTR, _PTR, _LONG],
    "nst_scale": [_FLOAT, _PTR, _PTR, _LONG],
    "nst_relu": [_PTR, _FLOAT, _PTR, _LONG],
    "nst_relu_backward": [_PTR, _PTR, _FLOAT, _PTR, _LONG],
    "nst_axpy_dot": [_FLOAT, *[_PTR] * 4, _LONG, _PTR],
    "nst_sgd_step": [*[_PTR] * 3, _LONG, _FLOAT, _FLOAT],
    "nst_adam_step": [*[_PTR] * 4, _LONG, *[_FLOAT] * 4],
}
"""Functions of an engine that return a status: name -> arguments after the engine."""


def installed() -> list[str]:
    """Instruction sets whose libraries are there, widest first."""
    return [isa for isa in INSTRUCTION_SETS if library_path(isa).is_file()]


def library_path(isa: str) -> Path:
    return HERE / f"libnst_cpu_{isa}.so"


def load(isa: str | None = None) -> ct.CDLL:
    """Loads the library of `isa`, by default of `NST_CPU_ISA` or the widest that this processor runs.

    Raises BackendUnavailable if there is none, if the processor lacks the instructions, or if the file is of
    another version.
    """
    found = installed()
    if not found:
        raise BackendUnavailable(
            f"the compiled CPU engine is missing (looked for {HERE / 'libnst_cpu_*.so'}). {HOW_TO_BUILD}"
        )
    asked = isa or os.environ.get("NST_CPU_ISA")
    best = _declare(found[-1]).nst_best_isa().decode()
    runnable = [name for name in found if _rank(name) >= _rank(best)]
    if asked is None:
        return _declare(runnable[0])
    if asked not in runnable:
        raise BackendUnavailable(
            f"the CPU engine has no usable library for instruction set {asked!r} "
            f"(this processor supports up to {best!r}, built are {', '.join(found)})"
        )
    return _declare(asked)


def why_no_bf16(library: ct.CDLL) -> str | None:
    """What a loaded library lacks for products in bf16; None if it has them and this processor too."""
    if library.nst_lanes() < 16:
        return f"the {library.nst_isa().decode()} kernels have no bf16; the avx512 ones do"
    if not library.nst_has_bf16():
        return "this processor has no bf16 multiply-add (AVX512_BF16)"
    return None


def _rank(isa: str) -> int:
    return INSTRUCTION_SETS.index(isa)


def _declare(isa: str) -> ct.CDLL:
    path = library_path(isa)
    try:
        library = ct.CDLL(str(path))
    except OSError as error:
        raise BackendUnavailable(f"{path}: cannot be loaded ({error}). {HOW_TO_BUILD}") from error
    try:
        for name, (result, arguments) in _QUERIES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        for name, arguments in _CALLS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = _INT, [_ENGINE, *arguments]
    except AttributeError as error:
        raise BackendUnavailable(
            f"{path}: built for another version of nst ({error}). {HOW_TO_BUILD}"
        ) from error
    if library.nst_abi_version() != ABI_VERSION:
        raise BackendUnavailable(
            f"{path}: built for another version of nst (got interface {library.nst_abi_version()}, "
            f"expected {ABI_VERSION}). {HOW_TO_BUILD}"
        )
    return library
