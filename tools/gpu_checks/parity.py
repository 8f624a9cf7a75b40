"""Right numbers: the whole gradient against float64, the same bits twice, a recording against its parts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_checks.engine import make_backend, relative_error
from gpu_checks.runs import our_run, painting_net
from gpu_checks.stages import Rows, Scale
from nst.backend.numpy_backend import NumpyBackend
from nst.style.transfer import image_of

SIZES = (256, 512)


def gradient(scale: Scale, rows: Rows) -> None:
    """Loss and gradient of the picture in every precision, against PyTorch in float64 where it is here."""
    for size in SIZES[:1] if scale.dry else SIZES:
        source, loss, expected = _exact(scale, scale.size(size))
        for precision in scale.precisions:
            run = our_run(scale, precision, scale.size(size))
            rows.add(
                size=size,
                precision=precision,
                against=source,
                gradient_error=relative_error(run.gradient(), expected),
                loss_error=abs(run.loss() - loss) / abs(loss),
            )


def determinism(scale: Scale, rows: Rows) -> None:
    """The same bits: a second evaluation, ten steps twice from new nets, and with plans chosen anew."""
    side = scale.size(512)
    for precision in scale.precisions:
        first = our_run(scale, precision, side)
        once, again = first.gradient(), first.gradient()
        rows.add(precision=precision, what="gradient twice", equal=_same(once, again))
        pictures = []
        for _ in range(2):
            run = our_run(scale, precision, side)
            run.step(2 if scale.dry else 10)
            pictures.append(run.picture())
        rows.add(precision=precision, what="ten steps twice", equal=_same(*pictures))


def recorded(scale: Scale, rows: Rows) -> None:
    """A captured graph gives the bits that its launches give one by one."""
    side = scale.size(512)
    for precision in scale.precisions:
        backend: Any = make_backend(scale, precision)
        net = painting_net(backend, side)
        image = image_of(net)
        one_by_one = np.array(_gradient(net, image))
        for _ in range(3):  # whatever is captured has been by now
            many = np.array(_gradient(net, image))
        rows.add(
            precision=precision, what="recorded against one by one", equal=_same(one_by_one, many)
        )


def _gradient(net: Any, image: Any) -> NDArray[Any]:
    net.forward_backward()
    return image.diff_to_host()


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return bool(np.array_equal(a.view(np.uint8), b.view(np.uint8)))


def _exact(scale: Scale, side: int) -> tuple[str, float, NDArray[Any]]:
    """(by what, loss, gradient) in float64."""
    if not scale.dry:
        try:
            from gpu_checks.torch_runs import torch_run

            run = torch_run("fp64", side, "cuda")
            return "torch float64", run.loss(), run.gradient()
        except ImportError:
            pass
    net = painting_net(NumpyBackend(), side)
    return "numpy float32", net.forward_backward(), np.array(image_of(net).diff_to_host())
