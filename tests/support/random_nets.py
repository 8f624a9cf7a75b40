"""Painting nets drawn at random: layers on feature maps, splits, joins, layers in place, losses."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random

import numpy as np

from nst.net import Net

FROZEN = "param { lr_mult: 0 } param { lr_mult: 0 }"
LAYERS = (
    *("convolution",) * 5,
    *("concat",) * 2,
    *("pool", "eltwise", "batch_norm", "scale", "lrn", "pad", "trim", "mask", "pointwise", "event"),
)
LOSSES = ("gram", "gram", "moments", "wasserstein", "content", "content", "variation")


@dataclass
class Map:
    name: str
    channels: int
    height: int
    width: int


@dataclass
class RandomNet:
    """`text` is the description; masks and targets of Wasserstein losses are inputs of certain values."""

    random: Random
    text: str = ""
    maps: list[Map] = field(default_factory=list)
    masks: set[str] = field(default_factory=set)
    covariances: set[str] = field(default_factory=set)
    images: int = 1

    def __post_init__(self) -> None:
        self.images = self.random.choice([1, 1, 2])
        height, width = self.random.randint(6, 20), self.random.randint(6, 20)
        shape = f"shape {{ dim: {self.images} dim: 3 dim: {height} dim: {width} }}"
        self.text = (
            f'layer {{ name: "data" type: "Parameter" top: "data" parameter_param {{ {shape} }} }}'
        )
        self.maps.append(Map("data", 3, height, width))
        for _ in range(self.random.randint(2, 11)):
            getattr(self, self.random.choice(LAYERS))(self.random.choice(self.maps[-4:]))
        for _ in range(self.random.randint(1, 4)):
            self.loss(self.random.choice(LOSSES), self.random.choice(self.maps[-6:]))

    def add(self, kind: str, bottoms: list[str], top: str = "", rest: str = "") -> str:
        """Appends a layer; returns its top, which is new unless it is named."""
        name = f"n{self.text.count('layer {')}"
        reads = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
        self.text += (
            f'\nlayer {{ name: "{name}" type: "{kind}" {reads} top: "{top or name}" {rest} }}'
        )
        return top or name

    def input(self, *shape: int) -> str:
        dims = " ".join(f"dim: {size}" for size in (self.images, *shape))
        return self.add("Input", [], "", f"input_param {{ shape {{ {dims} }} }}")

    def mask(self, x: Map) -> None:
        self.replace(x, self.add("Mask", [x.name, self.new_mask(x)]))

    def new_mask(self, x: Map) -> str:
        name = self.input(1, x.height, x.width)
        self.masks.add(name)
        return name

    def replace(self, x: Map, name: str) -> None:
        """A new map of the same extent, unless a layer worked in place."""
        if name != x.name:
            self.maps.append(Map(name, x.channels, x.height, x.width))

    def place(self, x: Map) -> str:
        """The map's own name, for a layer in place on what nobody has read yet; or none."""
        is_last = self.maps[-1] is x and x.name != "data" and f'bottom: "{x.name}"' not in self.text
        return x.name if is_last and self.random.random() < 0.6 else ""

    # ---- layers --------------------------------------------------------------------------------

    def convolution(self, x: Map) -> None:
        kernel, stride = self.random.choice([1, 2, 3, 3, 3, 5]), self.random.choice([1, 1, 1, 2])
        pad = self.random.choice([0, kernel // 2])
        outputs = self.random.choice([5, 8, 16, 16, 20, 24, 32])
        height, width = ((s + 2 * pad - kernel) // stride + 1 for s in (x.height, x.width))
        if min(height, width) < 1:
            return
        bias = self.random.choice(["bias_term: false", *['bias_filler { type: "gaussian" }'] * 4])
        specs = FROZEN if "filler" in bias else "param { lr_mult: 0 }"
        sizes = f"num_output: {outputs} kernel_size: {kernel} pad: {pad} stride: {stride}"
        filler = 'weight_filler { type: "msra" }'
        settings = f"{specs} convolution_param {{ {sizes} {filler} {bias} }}"
        name = self.add("Convolution", [x.name], "", settings)
        self.maps.append(Map(name, outputs, height, width))
        self.rectify(name)

    def rectify(self, name: str) -> None:
        if self.random.random() < 0.75:
            slope = self.random.choice([0, 0, 0, 0, 0.1])
            self.add("ReLU", [name], name, f"relu_param {{ negative_slope: {slope} }}")

    def pool(self, x: Map) -> None:
        kernel, stride = self.random.choice([(2, 2), (2, 2), (3, 2), (3, 1)])
        if min(x.height, x.width) < kernel:
            return
        method = self.random.choice(["MAX", "MAX", "AVE"])
        settings = f"pooling_param {{ pool: {method} kernel_size: {kernel} stride: {stride} }}"
        name = self.add("Pooling", [x.name], "", settings)
        height, width = (math.ceil((side - kernel) / stride) + 1 for side in (x.height, x.width))
        self.maps.append(Map(name, x.channels, height, width))

    def concat(self, x: Map) -> None:
        chosen = [x, *self.alike(x, self.random.randint(1, 2))]
        name = self.add("Concat", [m.name for m in chosen])
        self.maps.append(Map(name, sum(m.channels for m in chosen), x.height, x.width))

    def eltwise(self, x: Map) -> None:
        chosen = [x, *(m for m in self.alike(x, 3) if m.channels == x.channels)]
        if len(chosen) > 1:
            factors = " ".join(f"coeff: {self.random.choice([1, 1, -0.5, 2])}" for _ in chosen)
            names = [m.name for m in chosen]
            name = self.add("Eltwise", names, "", f"eltwise_param {{ {factors} }}")
            self.maps.append(Map(name, x.channels, x.height, x.width))
            self.rectify(name)

    def alike(self, x: Map, count: int) -> list[Map]:
        """Maps of the same extent; the same one may come twice."""
        same = [m for m in self.maps if (m.height, m.width) == (x.height, x.width)]
        return [self.random.choice(same) for _ in range(count)]

    def batch_norm(self, x: Map) -> None:
        if x.name != "data":
            settings = "batch_norm_param { use_global_stats: true eps: 0.5 }"
            self.replace(x, self.add("BatchNorm", [x.name], self.place(x), settings))

    def scale(self, x: Map) -> None:
        if x.name != "data":
            fillers = (
                'filler { type: "gaussian" mean: 1 std: 0.3 } bias_filler { type: "gaussian" }'
            )
            settings = f"{FROZEN} scale_param {{ bias_term: true {fillers} }}"
            name = self.add("Scale", [x.name], self.place(x), settings)
            self.replace(x, name)
            self.rectify(name)

    def pointwise(self, x: Map) -> None:
        if x.name != "data":
            kind, rest = self.random.choice(
                [("ReLU", ""), ("TanH", ""), ("Scalar", "scalar_param { value: -1.5 }")]
            )
            self.replace(x, self.add(kind, [x.name], self.place(x), rest))

    def lrn(self, x: Map) -> None:
        self.replace(x, self.add("LRN", [x.name], "", "lrn_param { local_size: 3 alpha: 0.1 }"))

    def event(self, x: Map) -> None:
        gate = self.random.choice(["FEATURE_POSITIVE", "NONE"])
        self.replace(x, self.add("Event", [x.name], "", f"event_param {{ gate: {gate} }}"))

    def pad(self, x: Map) -> None:
        mode = self.random.choice(["REFLECT", "REPLICATE", "ZERO"])
        if min(x.height, x.width) > 2:
            name = self.add("Pad", [x.name], "", f"pad_param {{ pad_h: 1 pad_w: 2 mode: {mode} }}")
            self.maps.append(Map(name, x.channels, x.height + 2, x.width + 4))

    def trim(self, x: Map) -> None:
        sides = [side - 2 * min(1, (side - 1) // 2) for side in (x.height, x.width)]
        self.maps.append(Map(self.add("Trim", [x.name]), x.channels, *sides))

    # ---- losses --------------------------------------------------------------------------------

    def loss(self, kind: str, x: Map) -> None:
        weight = f"loss_weight: {self.random.choice([0.5, 1, 3])}"
        region = [self.new_mask(x)] if self.random.random() < 0.3 else []
        if kind == "variation":
            self.add("TVLoss", [x.name], "", weight)
        elif kind == "wasserstein":
            statistic = self.add("Moments", [x.name])
            target = self.input(x.channels, 1 + x.channels)
            self.covariances.add(target)
            settings = f"{weight} wasserstein_loss_param {{ epsilon: 0.01 }}"
            self.add("WassersteinLoss", [statistic, target], "", settings)
        elif kind == "content":
            self.distance(x.name, weight, x.channels, x.height, x.width)
        elif kind == "gram":
            settings = f"gram_param {{ normalize: {self.random.choice(['NONE', 'HW', 'CHW'])} }}"
            name = self.add("Gram", [x.name, *region], "", settings)
            self.distance(name, weight, x.channels, x.channels)
        else:
            second, width = self.random.choice(
                [("FULL", 1 + x.channels), ("NONE", 1), ("DIAGONAL", 2)]
            )
            settings = f"moments_param {{ second: {second} }}"
            name = self.add("Moments", [x.name, *region], "", settings)
            self.distance(name, weight, x.channels, width)

    def distance(self, name: str, weight: str, *shape: int) -> None:
        target = self.input(*shape)
        gate = self.random.choice(["", "FEATURE_POSITIVE", "NONE", "TARGET_NONZERO"])
        if gate:
            name = self.add("Event", [name, target], "", f"event_param {{ gate: {gate} }}")
        self.add(self.random.choice(["EuclideanLoss", "RelativeLoss"]), [name, target], "", weight)

    # ---- values --------------------------------------------------------------------------------

    def fill(self, net: Net, seed: int) -> None:
        """A new picture, new inputs and new statistics."""
        rng = np.random.default_rng(seed)
        for name in ("data", *sorted(net.inputs)):
            blob = net.blobs[name]
            values = rng.standard_normal(blob.shape)
            if name in self.masks:
                values = np.maximum(np.abs(values) - 0.4, 0)
            if name in self.covariances:
                features = rng.standard_normal((blob.shape[1], 50))
                both = [features.mean(1)[:, None], features @ features.T / 50]
                values = np.concatenate(both, axis=1)[None]
            blob.data[...] = net.backend.asarray(values.astype(np.float32), blob.dtype)
        for layer in net.layers:
            if layer.type == "BatchNorm":
                for param, low, range_ in zip(layer.params, (0, 0.5, 1), (1, 1, 0), strict=True):
                    values = low + range_ * rng.random(param.shape)
                    param.data[...] = net.backend.asarray(values.astype(np.float32), param.dtype)
