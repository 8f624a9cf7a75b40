"""Which operation is put on the tape by what; layers of other operations run by their own code."""

from __future__ import annotations

from nst.backend.cuda.program import (
    borders,
    channels,
    convolutions,
    features,
    foreign,
    gates,
    losses,
    moments,
    rectifiers,
    regions,
    wasserstein,
)
from nst.backend.cuda.program.compiler import Compiler, Emitter, Unsupported
from nst.backend.cuda.program.places import Pinned
from nst.backend.cuda.program.values import Value
from nst.backend.operations import (
    AddUp,
    BatchNormalise,
    Border,
    ChannelScale,
    Convolve,
    Distance,
    Fork,
    Gate,
    GramMatrix,
    Join,
    Multiply,
    Normalise,
    Pool,
    Rectify,
)
from nst.backend.programs import (
    Inside,
    MaskedGram,
    MaskedMoments,
    MeanMoments,
    ProgramLayer,
    RelativeDistance,
    TargetGate,
    TotalVariation,
    WassersteinDistance,
    Weigh,
)

EMITTERS: dict[type, tuple[Emitter, Emitter]] = {
    Convolve: (convolutions.forward, convolutions.backward),
    Rectify: (rectifiers.forward, rectifiers.backward),
    Pool: (features.pool_forward, features.pool_backward),
    Normalise: (features.normalise_forward, features.normalise_backward),
    Fork: (features.fork_forward, features.fork_backward),
    Join: (features.join_forward, features.join_backward),
    Multiply: (features.multiply_forward, features.multiply_backward),
    Gate: (gates.forward, gates.backward),
    GramMatrix: (losses.gram_forward, losses.gram_backward),
    Distance: (losses.distance_forward, losses.distance_backward),
    TargetGate: (gates.target_forward, gates.target_backward),
    TotalVariation: (losses.variation_forward, losses.variation_backward),
    Inside: (borders.trim_forward, borders.trim_backward),
    Border: (borders.forward, borders.backward),
    MaskedMoments: (regions.moments_forward, regions.moments_backward),
    MaskedGram: (regions.gram_forward, regions.gram_backward),
    Weigh: (regions.mask_forward, regions.mask_backward),
    BatchNormalise: (channels.forward, channels.backward),
    ChannelScale: (channels.forward, channels.backward),
    AddUp: (features.sum_forward, features.sum_backward),
    MeanMoments: (moments.forward, moments.backward),
    RelativeDistance: (losses.relative_forward, losses.relative_backward),
    WassersteinDistance: (wasserstein.forward, wasserstein.backward),
}


def compile_forward(compiler: Compiler) -> None:
    """All layers in order; those that are not supported run by their own code."""
    for layer in compiler.layers:
        if layer.source:
            continue
        is_declined = layer.index in compiler.declined
        emitters = None if is_declined else EMITTERS.get(type(layer.operation))
        try:
            (emitters[0] if emitters else foreign.forward)(compiler, layer)
        except Unsupported:
            foreign.forward(compiler, layer)
        for number in layer.tops:
            compiler.seen[number] = compiler.value(number)


def compile_backward(compiler: Compiler) -> None:
    """All layers that run backward, in reverse; then the gradients of what is learned."""
    for layer in reversed(compiler.layers):
        if layer.runs_backward and not layer.source:
            is_own = layer.index in compiler.foreign
            (foreign.backward if is_own else EMITTERS[type(layer.operation)][1])(compiler, layer)
    for layer in compiler.layers:
        if layer.source == "parameter":
            _write_gradient(compiler, layer)


def _write_gradient(compiler: Compiler, layer: ProgramLayer) -> None:
    """The gradient of a learned blob, planar, into its diff."""
    number = layer.tops[0]
    if compiler.has_gradient(number):
        place = compiler.memory(number, "diff")
        value = Value(layer.top_blobs[0].shape, place, False)
        compiler.sum_into(value, number)
        if compiler.alarms.not_finite:
            counter = Pinned(None, compiler.alarms.not_finite)
            compiler.zero(counter)
            threads = min(1 << 18, max(256, value.groups))
            operands = (place, counter, value.groups)
            compiler.kernel("non_finite", threads, *operands, storage="fp32")
