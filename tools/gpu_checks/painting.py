"""Whole runs: 200 iterations and where they end in each precision, the delay of the first picture, memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

import nst
from gpu_checks.engine import make_backend, used_bytes, wall_seconds
from gpu_checks.runs import our_run, painting_net
from gpu_checks.stages import ROOT, Rows, Scale
from nst.net import Net
from nst.style.transfer import image_of

FIRST_PICTURE = """
import sys, time
begin = time.perf_counter()
sys.path[:0] = {paths!r}
from gpu_checks.runs import our_run
from gpu_checks.stages import Scale
run = our_run(Scale({dry}), {precision!r}, {side})
built = time.perf_counter()
run.step(1)
run.wait()
print(built - begin, time.perf_counter() - begin)
"""


def painting(scale: Scale, rows: Rows) -> None:
    """Seconds of 200 iterations at 512 px, set-up apart, and their end loss in fp32, from one start."""
    side = scale.size(512)
    judge = painting_net(make_backend(scale, "fp32"), side)
    for rule in ("Adam", "LBFGS"):
        for precision in scale.precisions:
            run = our_run(scale, precision, side, rule)
            first = _loss_at(judge, run.picture())
            run.step(2)  # whatever is compiled or captured has been by then
            seconds = wall_seconds(run.wait, lambda run=run: run.step(scale.iterations))
            rows.add(
                rule=rule,
                precision=precision,
                iterations=scale.iterations,
                seconds=seconds,
                first_loss=first,
                end_loss=_loss_at(judge, run.picture()),
            )


def _loss_at(judge: Net, picture: NDArray[Any]) -> float:
    """The loss of a picture in fp32, whatever it was painted in."""
    image = image_of(judge)
    image.data[...] = judge.backend.asarray(picture, image.dtype)
    return judge.forward_from_to()


def default_job(scale: Scale, rows: Rows) -> None:
    """`nst-solve` as users have it: preset `fine` on the embedded network, coarse to fine; twice, since the
    first time chooses plans and compiles."""
    pictures = [ROOT / f"models/quickstart/{name}.jpg" for name in ("content", "style")]
    for precision in scale.precisions:
        for turn in ("first", "second"):
            begin = time.perf_counter()
            result = nst.style_transfer(
                *pictures,
                solver=ROOT / "models/quickstart/solver.prototxt",
                backend=make_backend(scale, precision),
                size=64 if scale.dry else 512,
                max_iter=3 if scale.dry else 60,
            )
            rows.add(
                precision=precision,
                turn=turn,
                seconds=time.perf_counter() - begin,
                iterations=len(result.history),
                end_loss=result.history[-1].record.loss,
            )


def first_picture(scale: Scale, rows: Rows) -> None:
    """Seconds from the start of Python to the first iteration done, with empty caches and with full ones."""
    precisions = scale.precisions[:1] if scale.dry else ("fp16", "fp32")
    for precision in precisions:
        with tempfile.TemporaryDirectory() as folder:
            for caches in ("empty", "full"):
                built, done = _first(scale, precision, Path(folder))
                rows.add(precision=precision, caches=caches, built_s=built, first_picture_s=done)


def memory(scale: Scale, rows: Rows) -> None:
    """Bytes of the device's memory per pixel, while painting with Adam and with L-BFGS."""
    for size in (512,) if scale.dry else (1024, 2048):
        for precision in scale.precisions:
            side = scale.size(size)
            backend: Any = make_backend(scale, precision)
            before = used_bytes(backend)
            net = painting_net(backend, side)
            net.forward_backward()
            net.forward_backward()
            backend.synchronize()
            held = used_bytes(backend) - before
            rows.add(
                size=size,
                precision=precision,
                bytes_per_pixel=held / side**2,
                megabytes=held / 1e6,
                pool_megabytes=_pool_bytes(backend) / 1e6,
            )
            del net, backend
            _empty_pool()


def _first(scale: Scale, precision: str, caches: Path) -> tuple[float, float]:
    """Of a new process whose caches lie in a folder of their own."""
    paths = [str(ROOT / "tools"), str(ROOT / "src"), str(ROOT / "tests")]
    program = FIRST_PICTURE.format(
        paths=paths, dry=scale.dry, precision=precision, side=scale.size(512)
    )
    places = {"CUPY_CACHE_DIR": str(caches / "cupy"), "XDG_CACHE_HOME": str(caches)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **places},
        capture_output=True,
        text=True,
        timeout=240,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    built, first = done.stdout.split()[-2:]
    return float(built), float(first)


def _pool_bytes(backend: Any) -> int:
    pool = getattr(backend.xp, "get_default_memory_pool", None)
    return int(pool().total_bytes()) if pool else 0


def _empty_pool() -> None:
    try:
        import cupy

        cupy.get_default_memory_pool().free_all_blocks()
    except Exception:  # no CuPy, or no GPU: the stand-in has no pool
        return
