"""The CPU engine: compiled kernels in a blocked layout, chosen by instruction set at run time.

native/         C++17 sources, one library per instruction set
library.py      finding and declaring them
threads.py      how many threads this process may use
engine.py       threads, scratch memory, blocked arrays
convolution.py  which kernel, and its packed filters
backend.py      CpuBackend, one operation at a time
"""

from __future__ import annotations

from nst.backend.cpu.backend import CpuBackend

__all__ = ["CpuBackend"]
