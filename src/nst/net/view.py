"""What can be asked of a built net: its blobs, layers and parameters by name and number."""

from __future__ import annotations

from nst.core import Blob, Layer
from nst.errors import NetError, did_you_mean
from nst.net.params import ParamRegistry
from nst.net.plan import Wiring


class NetView:
    """The part of Net that changes nothing."""

    name: str
    wiring: Wiring
    blob_list: list[Blob]
    _bottoms: list[list[Blob]]
    _tops: list[list[Blob]]
    layers: list[Layer]
    registry: ParamRegistry

    @property
    def inputs(self) -> list[str]:
        """Tops of the Input layers, in order."""
        return list(self.wiring.inputs)

    @property
    def outputs(self) -> list[str]:
        """Blobs that no layer reads, in alphabetical order."""
        return list(self.wiring.outputs)

    @property
    def layer_names(self) -> list[str]:
        return [planned.name for planned in self.wiring.layers]

    @property
    def learnable_params(self) -> list[Blob]:
        """Parameter blobs that a solver may update: owners only, frozen ones (lr_mult 0) included."""
        return [learnable.blob for learnable in self.registry.learnables]

    @property
    def params_lr(self) -> list[float]:
        """lr_mult of each learnable blob; 0 means frozen: its gradient is never computed."""
        return [learnable.lr_mult for learnable in self.registry.learnables]

    @property
    def params_weight_decay(self) -> list[float]:
        """decay_mult of each learnable blob."""
        return [learnable.decay_mult for learnable in self.registry.learnables]

    @property
    def params(self) -> dict[str, list[Blob]]:
        """Parameter blobs of the layers that have any, by layer name."""
        return {layer.name: layer.params for layer in self.layers if layer.params}

    def layer_index(self, name: str) -> int:
        """Number of the first layer of that name; raises NetError with the nearest name."""
        names = self.layer_names
        if name not in names:
            raise NetError(f"no layer '{name}' in net '{self.name}'.{did_you_mean(name, names)}")
        return names.index(name)

    def bottoms_of(self, index: int) -> list[Blob]:
        return self._bottoms[index]

    def tops_of(self, index: int) -> list[Blob]:
        return self._tops[index]
