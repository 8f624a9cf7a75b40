"""Nets as graphs: a box per layer, an arrow per blob, our added layers coloured by what they are for.

Layers that work in place share the box of the layer whose blob they change. Split layers, which only
copy pointers, are left out unless asked for, as in Caffe's draw_net.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nst.proto import LayerParameter, NetParameter, PoolingParameter

_COLOURS = {
    "Convolution": "#cfe2f3",
    "Deconvolution": "#cfe2f3",
    "InnerProduct": "#cfe2f3",
    "Pooling": "#d9d9d9",
    "Parameter": "#93c47d",
    "Input": "#ffe599",
    "Gram": "#76d7c4",
    "Moments": "#76d7c4",
    "Pad": "#d9d9d9",
    "Event": "#d7bde2",
    "Mask": "#d7ccc8",
    "Scalar": "#f9cb9c",
}
_LOSS, _DATA, _OTHER = "#f1948a", "#ffe599", "#f3f3f3"
ROLES = {
    "Parameter": "the picture, which is what is learned",
    "Gram": "style of a layer",
    "Moments": "style of a layer",
    "Input": "saved target or mask",
    "Mask": "region of the picture",
    "Scalar": "factor",
    "Event": "gate of the gradient",
    "Loss": "loss",
}
"""Types that a style run adds, as the legend explains them."""


@dataclass
class Box:
    """A layer with those that work in place on its tops."""

    layers: list[LayerParameter]
    key: str

    @property
    def first(self) -> LayerParameter:
        return self.layers[0]


@dataclass
class Graph:
    """Boxes, and arrows (from, to, blob) between their keys."""

    boxes: list[Box] = field(default_factory=list)
    arrows: list[tuple[str, str, str]] = field(default_factory=list)


def graph_of(net: NetParameter) -> Graph:
    """The boxes and arrows of a net, in its order."""
    graph = Graph()
    writer: dict[str, Box] = {}
    for number, layer in enumerate(net.layer):
        in_place = list(layer.bottom) == list(layer.top) and len(layer.top) == 1
        if in_place and layer.top[0] in writer:
            writer[layer.top[0]].layers.append(layer)
            continue
        box = Box([layer], f"layer{number}")
        graph.boxes.append(box)
        for blob in layer.bottom:
            if blob in writer:
                graph.arrows.append((writer[blob].key, box.key, blob))
        for blob in layer.top:
            writer[blob] = box
    return graph


def to_dot(
    net: NetParameter,
    *,
    rankdir: str = "TB",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    legend: bool = False,
) -> Any:
    """A pydot graph of the net. `shapes`: of the blobs, written on the arrows. Needs pydot."""
    import pydot

    graph = graph_of(net)
    dot = pydot.Dot(
        _quoted(net.name or "net"),
        graph_type="digraph",
        rankdir=rankdir,
        fontname="Helvetica",
        bgcolor="white",
        nodesep="0.25",
        ranksep="0.3",
    )
    dot.set_node_defaults(
        shape="box",
        style='"rounded,filled"',
        fontname="Helvetica",
        fontsize="11",
        color='"#555555"',
        margin='"0.12,0.06"',
    )
    dot.set_edge_defaults(
        color='"#777777"',
        arrowsize="0.6",
        fontname="Helvetica",
        fontsize="9",
        fontcolor='"#555555"',
    )
    for box in graph.boxes:
        dot.add_node(
            pydot.Node(
                box.key, label=_quoted(label_of(box)), fillcolor=_quoted(colour_of(box.first))
            )
        )
    kinds = {box.key: box.first.type for box in graph.boxes}
    for source, target, blob in graph.arrows:
        # Heavy arrows are kept straight: the feature net stands as one column, what is added beside it.
        added = kinds[source] in ROLES or kinds[target] in ROLES
        edge = pydot.Edge(source, target, weight="1" if added else "20")
        if shapes and blob in shapes:
            edge.set("label", _quoted("x".join(map(str, shapes[blob]))))
        dot.add_edge(edge)
    if legend:
        types = {layer.type for layer in net.layer}
        dot.add_node(pydot.Node("legend", shape="plain", style='""', label=_legend(types)))
    return dot


def label_of(box: Box) -> str:
    """Name, type with its settings, and the layers in place below it."""
    first = box.first
    head = [first.name or first.type, describe(first)]
    return "\\n".join(
        head + [f"{layer.name or layer.type}  {layer.type}" for layer in box.layers[1:]]
    )


def describe(layer: LayerParameter) -> str:
    """The type, with the settings that one wants to see at a glance: `Convolution 3x3, 64`."""
    if layer.type in ("Convolution", "Deconvolution"):
        param = layer.convolution_param
        parts = [f"{layer.type} {_kernel(param)}", str(param.num_output)]
        parts += [f"stride {param.stride[0]}"] if param.stride and param.stride[0] != 1 else []
        parts += [f"dilation {param.dilation[0]}"] if param.dilation else []
        parts += [f"group {param.group}"] if param.group != 1 else []
        return ", ".join(parts)
    if layer.type == "Pooling":
        pooling = layer.pooling_param
        method = PoolingParameter.PoolMethod.Name(pooling.pool)
        if pooling.global_pooling:
            return f"Pooling {method}, global"
        kernel = pooling.kernel_size or f"{pooling.kernel_h}x{pooling.kernel_w}"
        size = f"{kernel}x{kernel}" if pooling.kernel_size else kernel
        return f"Pooling {method} {size}, stride {pooling.stride}"
    if layer.type == "InnerProduct":
        return f"InnerProduct, {layer.inner_product_param.num_output}"
    if layer.loss_weight and layer.type.endswith("Loss"):
        return f"{layer.type}, weight {layer.loss_weight[0]:.4g}"
    return layer.type


def colour_of(layer: LayerParameter) -> str:
    """Fill colour by type: losses, sources, and each of our own types has its own."""
    if layer.type.endswith("Loss"):
        return _LOSS
    if layer.type.endswith("Data"):
        return _DATA
    return _COLOURS.get(layer.type, _OTHER)


def _kernel(param: Any) -> str:
    if param.kernel_h or param.kernel_w:
        return f"{param.kernel_h}x{param.kernel_w}"
    sizes = list(param.kernel_size)
    return "x".join(map(str, sizes * 2 if len(sizes) == 1 else sizes))


def _legend(types: set[str]) -> str:
    """A table of colours, as Graphviz's HTML."""
    rows = "".join(
        f'<TR><TD BGCOLOR="{_LOSS if name == "Loss" else _COLOURS[name]}" WIDTH="24"></TD>'
        f'<TD ALIGN="LEFT">{text}</TD></TR>'
        for name, text in ROLES.items()
        if name in types or name == "Loss"
    )
    return f'<<TABLE BORDER="0" CELLSPACING="4">{rows}</TABLE>>'


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'
