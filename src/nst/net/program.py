"""A built net as the records from which a backend compiles it (nst.backend.programs.ProgramLayer)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial

from nst.backend.operations import Border, Operation, Step
from nst.backend.programs import (
    Inside,
    MaskedGram,
    MaskedMoments,
    MeanMoments,
    Program,
    ProgramLayer,
    ProgramOperation,
    RelativeDistance,
    TargetGate,
    TotalVariation,
    WassersteinDistance,
    Weigh,
)
from nst.core import Blob, Layer
from nst.layers.euclidean_loss import EuclideanLoss
from nst.layers.event import Event
from nst.layers.gram import Gram
from nst.layers.input import Input
from nst.layers.mask import Mask
from nst.layers.moments import Moments
from nst.layers.pad import Pad
from nst.layers.parameter import Parameter
from nst.layers.relative_loss import RelativeLoss
from nst.layers.split import Split
from nst.layers.trim import Trim
from nst.layers.tv_loss import TVLoss
from nst.layers.wasserstein_loss import WassersteinLoss
from nst.net.lowering import of_any_number
from nst.net.plan import BackwardPlan, Wiring
from nst.proto import EventParameter, GramParameter, MomentsParameter


class Compilation:
    """The program of one net, made when the net is first run as a whole, and again for other shapes."""

    def __init__(self, allowed: bool) -> None:
        """allowed: whether inner values and gradients may be lost."""
        self._allowed = allowed
        self._program: Program | None = None
        self.current: Program | None = None
        """The program that made the last forward run; None if the layers made it."""

    def enter(
        self, compile_net: Callable[[], Program | None], first: int, by_layers: bool
    ) -> Program | None:
        """The program for a forward run from layer `first` on; None if the layers run by themselves."""
        self.current = None
        if self._allowed and first == 0 and not by_layers:
            if self._program is None or not self._program.is_current():
                self._program = compile_net()
            self.current = self._program
        elif self._program is not None and first == 0:
            self._program.forget()  # from the first on, layers need nothing that the program has
        return self.current


def program_layers(
    wiring: Wiring,
    layers: Sequence[Layer],
    steps: Sequence[Step | None],
    backward: BackwardPlan,
    blobs: Sequence[Blob],
    kept: Collection[str] | None,
) -> list[ProgramLayer] | None:
    """One record per layer; None for a net that cannot be compiled.

    kept: names of blobs whose values are wanted after a run; None: all if nothing runs backward, else none.

    That is one that trains layers, or reads from anything but inputs and parameters.
    """
    records = []
    keeps_all = kept is None and not any(backward.layers)
    for planned, layer, step in zip(wiring.layers, layers, steps, strict=True):
        source = _source(layer)
        learns = any(backward.params[planned.index]) and source != "parameter"
        if source is None or learns or layer.reshapes_every_time:
            return None
        bottoms = tuple(blobs[number] for number in planned.bottoms)
        tops = tuple(blobs[number] for number in planned.tops)
        wants = tuple(backward.bottoms[planned.index])
        records.append(
            ProgramLayer(
                index=planned.index,
                name=planned.name,
                operation=_operation(layer, step, bottoms),
                source=source,
                bottoms=planned.bottoms,
                tops=planned.tops,
                bottom_blobs=bottoms,
                top_blobs=tops,
                params=tuple(layer.params),
                wants=wants,
                runs_backward=backward.layers[planned.index],
                keeps=tuple(keeps_all or blob.name in (kept or ()) for blob in tops),
                is_loss=tuple(bool(weight) for weight in layer.loss_weights),
                forward=partial(layer.forward, bottoms, tops),
                backward=_backward(layer, bottoms, tops, wants),
            )
        )
    return records


def _source(layer: Layer) -> str | None:
    """How a layer feeds the net; empty if it does not, None if a program cannot be fed so."""
    if isinstance(layer, Input):
        return "input"
    if isinstance(layer, Parameter):
        return "parameter"
    return None if layer.is_source else ""


def _operation(
    layer: Layer, step: Step | None, bottoms: Sequence[Blob]
) -> Operation | ProgramOperation | None:
    """The operation; unlike for a runner, those of any number of bottoms may have any rank."""
    if isinstance(layer, TVLoss):
        return TotalVariation(layer.beta, layer.epsilon, layer.is_nine_point)
    if isinstance(layer, Pad):
        return Border(layer.pads, layer.mode)
    if isinstance(layer, Moments) and layer.axis == 2:
        return _moments(layer)
    if isinstance(layer, Gram) and len(layer.param.bottom) == 2 and len(bottoms[0].shape) == 4:
        return _masked_gram(layer, bottoms[0].shape[1])
    if isinstance(layer, Mask):
        return Weigh()
    if isinstance(layer, RelativeLoss):
        return RelativeDistance()
    if isinstance(layer, Trim):
        return Inside(layer.margins(bottoms[0].shape))
    if isinstance(layer, Event) and layer.gate == EventParameter.TARGET_NONZERO:
        return None if layer.top_is_overwritten else TargetGate()
    if isinstance(layer, WassersteinLoss):
        return WassersteinDistance(layer.epsilon, layer.relative)
    if step is not None:
        return step.operation
    return of_any_number(layer) if isinstance(layer, Split | EuclideanLoss | Event) else None


def _moments(layer: Moments) -> ProgramOperation | None:
    """Moments of maps, of a region of them if there is a mask; not those of each channel with itself."""
    if layer.second == MomentsParameter.DIAGONAL:
        return None
    kind = MaskedMoments if len(layer.param.bottom) == 2 else MeanMoments
    return kind(layer.mean_scale, layer.second == MomentsParameter.FULL)


def _masked_gram(layer: Gram, channels: int) -> ProgramOperation | None:
    """Not the one whose gradient leaves out a scale that only the mask knows (MyCaffe's)."""
    is_share = layer.normalize != GramParameter.NONE
    if layer.axis != 2 or (is_share and not layer.scales_gradient):
        return None
    scale = layer.alpha_beta / (channels if layer.normalize == GramParameter.CHW else 1)
    back = scale if layer.scales_gradient else 1.0
    return MaskedGram(scale, back, "share" if is_share else "root")


def _backward(
    layer: Layer, bottoms: Sequence[Blob], tops: Sequence[Blob], wants: Sequence[bool]
) -> Callable[[], None]:
    return partial(layer.backward, tops, wants, bottoms)
