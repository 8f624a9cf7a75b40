"""GPUs by description: cuDNN builds plans for them on a machine that has none.

The descriptions use cuDNN's own names of device properties (cudnnBackend DEVICEPROP, cuDNN >= 9.8). They
were written by hand from data sheets; a real GPU may tell slightly different numbers. `load_without_gpu`
lets libcudnn load on a machine without a driver; call it in a process of its own, since it stands in for
libcuda.so.1.
"""

from __future__ import annotations

import ctypes as ct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nst.backend.cuda import library

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Gpu:
    """What distinguishes one GPU from another in its description."""

    name: str
    capability: int
    """Compute capability times 100."""
    processors: int
    shared_memory: int
    """Bytes that one block may have (opt-in)."""
    blocks_per_processor: int
    threads_per_processor: int
    clocks_khz: tuple[int, int]
    """Processor, memory."""
    bus_bits: int
    l2_bytes: int
    memory_bytes: int

    def properties(self) -> dict[str, Any]:
        """The description that cuDNN reads."""
        return {
            "cudaDeviceId": 0,
            "deviceName": self.name,
            "deviceVer": self.capability,
            "driverVer": 13000,
            "isTccDriver": 0,
            "maxGridSize": [2147483647, 65535, 65535],
            "maxBlockSize": [1024, 1024, 64],
            "regsPerBlock": 65536,
            "multiProcessorCount": self.processors,
            "smCountOrigin": 0,
            "warpSize": 32,
            "maxSharedMemoryPerBlock": 49152,
            "maxSharedMemoryPerBlockOptin": self.shared_memory,
            "oversizedSharedMemoryPerBlock": 0,
            "reservedSharedMemoryPerBlock": 1024,
            "maxRegistersPerSM": 65536,
            "maxCtasPerSM": self.blocks_per_processor,
            "maxThreadsPerBlock": 1024,
            "maxThreadsPerSM": self.threads_per_processor,
            "pciDeviceId": 0,
            "supportCoopLaunch": 1,
            "smClockRateKHz": self.clocks_khz[0],
            "memClockRateKHz": self.clocks_khz[1],
            "memoryBusWidth": self.bus_bits,
            "l2CacheSize": self.l2_bytes,
            "totalGlobalMem": self.memory_bytes,
        }


GPUS = {
    "T4": Gpu("Tesla T4", 750, 40, 65536, 16, 1024, (1590000, 5001000), 256, 4 << 20, 15843721216),
    "A100": Gpu(
        *("NVIDIA A100-SXM4-80GB", 800, 108, 166912, 32, 2048, (1410000, 1593000)),
        *(5120, 40 << 20, 85899345920),
    ),
    "RTX3090": Gpu(
        *("NVIDIA GeForce RTX 3090", 860, 82, 101376, 16, 1536, (1695000, 9751000)),
        *(384, 6 << 20, 25438126080),
    ),
    "RTX4090": Gpu(
        *("NVIDIA GeForce RTX 4090", 890, 128, 101376, 24, 1536, (2520000, 10501000)),
        *(384, 72 << 20, 25386352640),
    ),
    "H200": Gpu(
        *("NVIDIA H200", 900, 132, 232448, 32, 2048, (1980000, 3201000)),
        *(6144, 60 << 20, 150754820096),
    ),
    "B200": Gpu(
        *("NVIDIA B200", 1000, 148, 232448, 32, 2048, (1965000, 3996000)),
        *(8192, 132644864, 192265846784),
    ),
}


def load_without_gpu(wheels: Path) -> ct.CDLL:
    """libcudnn of wheels below a folder (`pip install --target`), over a driver that has no GPU."""
    folders = [path for path in sorted((wheels / "nvidia").glob("*/lib")) if path.is_dir()]
    with tempfile.TemporaryDirectory() as place:
        stub = Path(place) / "libcuda.so.1"
        command = ["cc", "-shared", "-fPIC", "-O1", "-Wl,-soname,libcuda.so.1", "-o", str(stub)]
        subprocess.run([*command, str(HERE / "stub_driver.c")], check=True)
        ct.CDLL(str(stub), mode=ct.RTLD_GLOBAL)
    library.preload_compiler(folders)
    return library.load_cudnn(folders)
