"""NetSpec: a net written as Python expressions (pycaffe's net_spec).

    n = NetSpec()
    n.data, n.label = L.DummyData(shape=[dict(dim=[2, 3, 8, 8]), dict(dim=[2])], ntop=2)
    n.conv1 = L.Convolution(n.data, num_output=4, kernel_size=3, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.loss = L.SoftmaxWithLoss(n.relu1, n.label, loss_weight=2)
    print(n.to_proto())

The attribute names the top, and a layer is called like its first top. Tops without a name are called
Convolution1, Convolution2, ... after their layer's type.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.message import Message

import nst.proto as messages
from nst.errors import UsageError, did_you_mean
from nst.proto import LayerParameter, NetParameter
from nst.pycaffe.assign_proto import UnknownField, assign_proto

# Type -> the fields of LayerParameter that hold its settings, first come first served.
_SETTINGS: dict[str, tuple[str, ...]] = {
    type(getattr(LayerParameter(), name)).__name__.removesuffix("Parameter"): (name,)
    for name in LayerParameter.DESCRIPTOR.fields_by_name
    if name.endswith("_param")
}
_SETTINGS |= {
    "Deconvolution": ("convolution_param",),
    "Im2col": ("convolution_param",),
    "RNN": ("recurrent_param",),
    "LSTM": ("recurrent_param",),
    "SoftmaxWithLoss": ("softmax_param", "loss_param"),
    "SigmoidCrossEntropyLoss": ("loss_param",),
    "InfogainLoss": ("infogain_loss_param", "loss_param"),
}


class UnknownTop(UsageError, AttributeError, KeyError):
    """A name under which the NetSpec has no top."""


class NotATop(UsageError, TypeError):
    """A layer's input that is no output of a layer."""


class Top:
    """Output `n` of a layer."""

    def __init__(self, fn: Function, n: int) -> None:
        self.fn = fn
        self.n = n

    def to_proto(self) -> NetParameter:
        """The net that computes this output."""
        return to_proto(self)


class Function:
    """A layer: its type, its inputs, its settings, and its outputs in `tops`."""

    def __init__(self, type_name: str, inputs: Iterable[Any], params: Mapping[str, Any]) -> None:
        self.type_name = type_name
        self.inputs: list[Top] = list(inputs)
        self.params = dict(params)
        for index, given in enumerate(self.inputs):
            if not isinstance(given, Top):
                raise NotATop(
                    f"{type_name} input {index} is not a Top (type is {type(given)}). "
                    "Give it what another L.Type(...) returned"
                )
        self.in_place: bool = self.params.pop("in_place", False)
        self.ntop: int = self.params.pop("ntop", 1)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))
        self.settings()  # a wrong setting shows here, at the line that gave it

    def settings(self) -> LayerParameter:
        """A layer of this type with its settings, not wired. Raises UnknownField, UsageError."""
        layer = LayerParameter(type=self.type_name)
        for name, value in self.params.items():
            assign_proto(_message_with(layer, name), name, value)
        return layer


class _Writer:
    """Collects the layers behind some tops, each once, inputs first, and finds names for them."""

    def __init__(self, names: Mapping[Top | Function, str]) -> None:
        self.names = dict(names)
        self.numbers: Counter[str] = Counter()
        self.layers: dict[Function, LayerParameter] = {}

    def add(self, output: Top | Function) -> None:
        """Adds the layer of this output after those that it reads."""
        waiting = [output.fn if isinstance(output, Top) else output]
        while waiting:
            fn = waiting[-1]
            missing = [top.fn for top in fn.inputs if top.fn not in self.layers]
            if missing:
                waiting.append(missing[0])
                continue
            waiting.pop()
            if fn not in self.layers:
                self.layers[fn] = self._layer(fn)

    def _layer(self, fn: Function) -> LayerParameter:
        bottoms = [self.layers[top.fn].top[top.n] for top in fn.inputs]
        layer = LayerParameter(type=fn.type_name, bottom=bottoms)
        layer.top.extend(bottoms if fn.in_place else [self.name(top, fn) for top in fn.tops])
        layer.name = self.name(fn.tops[0] if fn.tops else fn, fn)
        layer.MergeFrom(fn.settings())
        return layer

    def name(self, output: Top | Function, fn: Function) -> str:
        """The name given to the output, else its type with the next number."""
        if output not in self.names:
            self.numbers[fn.type_name] += 1
            self.names[output] = f"{fn.type_name}{self.numbers[fn.type_name]}"
        return self.names[output]

    def net(self) -> NetParameter:
        return NetParameter(layer=self.layers.values())


class NetSpec:
    """A net under construction: `n.name = L.Type(...)` adds and names a top, `n.name` reads it."""

    tops: OrderedDict[str, Any]

    def __init__(self) -> None:
        super().__setattr__("tops", OrderedDict())

    def __setattr__(self, name: str, value: Any) -> None:
        self.tops[name] = value

    def __getattr__(self, name: str) -> Any:
        tops = self.__dict__.get("tops", {})
        if name not in tops:
            raise UnknownTop(f"NetSpec has no top '{name}'.{did_you_mean(name, tops)}")
        return tops[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.tops[name] = value

    def __getitem__(self, name: str) -> Any:
        return self.__getattr__(name)

    def __delattr__(self, name: str) -> None:
        self.__getattr__(name)
        del self.tops[name]

    def __delitem__(self, name: str) -> None:
        self.__delattr__(name)

    def to_proto(self) -> NetParameter:
        """The net of all tops, layers in the order in which they were assigned, inputs first."""
        writer = _Writer({top: name for name, top in self.tops.items()})
        for top in self.tops.values():
            writer.add(top)
        return writer.net()


def to_proto(*tops: Top | Function) -> NetParameter:
    """The net that computes these outputs, all names made up."""
    writer = _Writer({})
    for top in tops:
        writer.add(top)
    return writer.net()


class Layers:
    """`L.Type(bottom, ..., field=value)` makes a layer: its Top, a tuple of them, or the Function if none.

    Fields are those of the type's own message, then of LayerParameter; `ntop` and `in_place` say how many
    tops there are and whether they are the bottoms. Messages are dictionaries, lists are lists.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def layer(*inputs: Top, **params: Any) -> Any:
            fn = Function(name, inputs, params)
            return {0: fn, 1: fn.tops[0] if fn.tops else fn}.get(fn.ntop, fn.tops)

        return layer


class Parameters:
    """`P.Pooling.MAX` is the number of a word in the type's message (PoolingParameter)."""

    def __getattr__(self, name: str) -> Any:
        message = getattr(messages, f"{name}Parameter", None)
        if message is None:
            raise UnknownField(f"params: no message {name}Parameter")
        return _Words(message)


class _Words:
    """The words of one message."""

    def __init__(self, message: type[Message]) -> None:
        self._message = message

    def __getattr__(self, name: str) -> Any:
        words = {
            word.name: word.number
            for enum in self._message.DESCRIPTOR.enum_types
            for word in enum.values
        }
        if name not in words:
            kind = self._message.DESCRIPTOR.name
            raise UnknownField(f"{kind} has no word '{name}'.{did_you_mean(name, words)}")
        return words[name]


layers = Layers()
params = Parameters()


def _message_with(layer: LayerParameter, name: str) -> Message:
    """The message that holds a setting: one of the type's own, else the layer itself."""
    parts = () if name.endswith("param") else _SETTINGS.get(layer.type, ())
    for part in parts:
        message: Message = getattr(layer, part)
        if name in message.DESCRIPTOR.fields_by_name:
            return message
    if name not in layer.DESCRIPTOR.fields_by_name:
        known = [
            field for part in parts for field in getattr(layer, part).DESCRIPTOR.fields_by_name
        ]
        raise UnknownField(f"{name}: {layer.type} has no such field.{did_you_mean(name, known)}")
    return layer


__all__ = ["Function", "NetSpec", "Top", "assign_proto", "layers", "params", "to_proto"]
