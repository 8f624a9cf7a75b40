"""The parameter blobs of a net: who owns which, multipliers, and sharing by name (Net::AppendParam)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nst.core import Blob, Layer
from nst.core.shapes import text
from nst.errors import NetError
from nst.proto import ParamSpec


@dataclass
class Learnable:
    """One blob that a solver updates, with its multipliers; `lr` and `decay` are None until one is given."""

    blob: Blob
    layer: str
    name: str
    lr: float | None = None
    decay: float | None = None

    @property
    def lr_mult(self) -> float:
        return 1.0 if self.lr is None else self.lr

    @property
    def decay_mult(self) -> float:
        return 1.0 if self.decay is None else self.decay


@dataclass
class ParamRegistry:
    """All learnable blobs in order of appearance; shared ones appear once, with their owner."""

    learnables: list[Learnable] = field(default_factory=list)
    _by_name: dict[str, Learnable] = field(default_factory=dict)

    def add_layer(self, layer: Layer) -> list[Learnable]:
        """Registers the layer's blobs, ties shared ones to their owner; returns one entry per blob."""
        specs = list(layer.param.param)
        if len(specs) > len(layer.params):
            raise NetError(
                f"Too many params specified for layer {layer.name} "
                f"(got {len(specs)}, expected at most {len(layer.params)})",
                layer=layer.name,
            )
        specs += [ParamSpec()] * (len(layer.params) - len(specs))
        return [
            self._add(layer, blob, spec) for blob, spec in zip(layer.params, specs, strict=True)
        ]

    def _add(self, layer: Layer, blob: Blob, spec: ParamSpec) -> Learnable:
        owner = self._by_name.get(spec.name) if spec.name else None
        if owner is None:
            owner = Learnable(blob, layer.name, spec.name)
            self.learnables.append(owner)
            if spec.name:
                self._by_name[spec.name] = owner
        else:
            _check_sharing(owner, layer.name, blob, spec)
            blob.share_data(owner.blob)
            blob.share_diff(owner.blob)
        owner.lr = _merge(owner.lr, spec, "lr_mult", owner, layer.name)
        owner.decay = _merge(owner.decay, spec, "decay_mult", owner, layer.name)
        return owner

    def owners(self) -> set[int]:
        """ids of the blobs that own their memory."""
        return {id(learnable.blob) for learnable in self.learnables}


def lr_mults(entries: Sequence[Learnable], specs: Sequence[ParamSpec]) -> list[float]:
    """Each blob's own lr_mult as its layer states it: Caffe decides by it who needs backward."""
    given = [spec.lr_mult for spec in specs]
    return given + [1.0] * (len(entries) - len(given))


def _check_sharing(owner: Learnable, layer: str, blob: Blob, spec: ParamSpec) -> None:
    permissive = spec.share_mode == ParamSpec.PERMISSIVE
    fits = blob.count == owner.blob.count if permissive else blob.shape == owner.blob.shape
    if not fits:
        noun = "count" if permissive else "shape"
        raise NetError(
            f"Cannot share param '{owner.name}' owned by layer '{owner.layer}' with layer '{layer}'; "
            f"{noun} mismatch. (got {text(blob.shape)}, expected {text(owner.blob.shape)})",
            layer=layer,
        )


def _merge(
    current: float | None, spec: ParamSpec, name: str, owner: Learnable, layer: str
) -> float | None:
    """The first explicit multiplier counts; a different later one is an error."""
    if not spec.HasField(name):
        return current
    value: float = getattr(spec, name)
    if current is not None and current != value:
        raise NetError(
            f"Shared param '{owner.name}' has mismatched {name}. (got {value}, expected {current} "
            f"as in layer '{owner.layer}')",
            layer=layer,
        )
    return value
