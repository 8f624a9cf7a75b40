"""What the machine tells of its memory and of this process."""

from __future__ import annotations

from pathlib import Path

from nst.style.machine_memory import (
    available_bytes,
    forget_peak,
    peak_bytes,
    resident_bytes,
)


class TestMachine:
    def make(self, root: Path, **files: str) -> Path:
        for name, text in files.items():
            path = root / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return root

    def test_the_machine_tells_what_is_free(self, tmp_path: Path) -> None:
        proc = self.make(tmp_path, meminfo="MemTotal: 16000 kB\nMemAvailable:    5000 kB\n")

        assert available_bytes(proc, tmp_path / "none") == 5000 * 1024

    def test_a_container_s_limit_counts_wherever_it_is_set(self, tmp_path: Path) -> None:
        proc = self.make(
            tmp_path / "proc",
            meminfo="MemAvailable: 5000000 kB\n",
            self__cgroup="0::/system/job\n",
        )
        groups = self.make(
            tmp_path / "cgroup",
            system__memory_dot_max="900000",
            system__memory_dot_current="500000",
            system__memory_dot_stat="anon 5\ninactive_file 100000\n",
            system__job__memory_dot_max="max",
            system__job__memory_dot_current="1000",
        )

        assert available_bytes(proc, groups) == 900000 - 500000 + 100000

    def test_the_old_kind_of_container_too(self, tmp_path: Path) -> None:
        proc = self.make(tmp_path / "proc", self__cgroup="5:cpu:/x\n7:memory,hugetlb:/box\n")
        groups = self.make(
            tmp_path / "cgroup",
            memory__box__memory_dot_limit_in_bytes="700",
            memory__box__memory_dot_usage_in_bytes="300",
            memory__box__memory_dot_stat="total_inactive_file 50\n",
        )

        assert available_bytes(proc, groups) == 450

    def test_a_system_that_tells_nothing_refuses_nothing(self, tmp_path: Path) -> None:
        assert available_bytes(tmp_path, tmp_path) is None

    def test_this_process_has_a_size_and_a_peak(self) -> None:
        forget_peak()
        block = bytearray(50_000_000)
        block[::4096] = b"x" * len(block[::4096])
        held = resident_bytes()
        del block

        assert held > 50_000_000
        assert peak_bytes() > held - 5_000_000  # the kernel counts in batches per thread
