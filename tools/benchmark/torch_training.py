"""The same training nets in PyTorch: the graph of the prototxt, modules, autograd.

BatchNorm and Scale together are one BatchNorm2d, as a PyTorch user writes it.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from benchmark import training
from benchmark.iterations import Iterations
from benchmark.torch_nets import pair, pool
from nst.proto import LayerParameter, NetParameter


class TrainingModule(torch.nn.Module):
    """Runs the layers of a prototxt one after the other; returns the loss."""

    def __init__(self, param: NetParameter, weights: training.Weights) -> None:
        super().__init__()
        self.layers = [layer for layer in param.layer[1:] if layer.type != "Accuracy"]
        self.own = torch.nn.ModuleDict()
        for layer in self.layers:
            module = _module(layer, weights.get(layer.name, []))
            if module is not None:
                self.own[_key(layer)] = module

    def forward(self, data: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        blobs = {"data": data, "label": labels}
        for layer in self.layers:
            blobs[layer.top[0]] = self._run(layer, [blobs[name] for name in layer.bottom])
        return blobs["loss"]

    def _run(self, layer: LayerParameter, inputs: list[torch.Tensor]) -> torch.Tensor:
        x = inputs[0]
        if _key(layer) in self.own:
            return self.own[_key(layer)](x.flatten(1) if layer.type == "InnerProduct" else x)
        if layer.type == "ReLU":
            return F.relu(x, inplace=True)
        if layer.type == "Pooling":
            return pool(layer.pooling_param, x)
        if layer.type == "LRN":
            p = layer.lrn_param
            return F.local_response_norm(x, p.local_size, p.alpha, p.beta, p.k)
        if layer.type == "Concat":
            return torch.cat(inputs, 1)
        if layer.type == "Eltwise":
            return inputs[0] + inputs[1]
        if layer.type == "SoftmaxWithLoss":
            return F.cross_entropy(x.flatten(1), inputs[1])
        if layer.type in ("Dropout", "Scale"):  # off; part of the BatchNorm2d before it
            return x
        raise ValueError(f"layer '{layer.name}': no PyTorch form of {layer.type}")


def make(name: str, batch: int, threads: int, *, channels_last: bool) -> Iterations:
    torch.set_num_threads(threads)
    param = training.description(name, batch)
    module = TrainingModule(param, training.random_weights(param)).train()
    given = training.random_batch(param)
    data, labels = torch.from_numpy(given.data), torch.from_numpy(given.labels)
    if channels_last:
        module = module.to(memory_format=torch.channels_last)
        data = data.contiguous(memory_format=torch.channels_last)

    def forward() -> None:
        module(data, labels)

    def both() -> float:
        module.zero_grad(set_to_none=False)
        loss = module(data, labels)
        loss.backward()
        return loss.item()

    first = module.own[training.first_weights(param).replace(".", "_")]
    return Iterations(forward, both, lambda: first.weight.grad.contiguous().numpy())


def _key(layer: LayerParameter) -> str:
    return layer.name.replace(".", "_")


def _module(layer: LayerParameter, weights: list[Any]) -> torch.nn.Module | None:
    if layer.type == "Convolution":
        p, shape = layer.convolution_param, weights[0].shape
        module: torch.nn.Module = torch.nn.Conv2d(
            shape[1] * p.group,
            shape[0],
            shape[2:],
            stride=pair(p, p.stride, "stride_h", "stride_w", 1),
            padding=pair(p, p.pad, "pad_h", "pad_w", 0),
            groups=p.group,
            bias=len(weights) > 1,
        )
    elif layer.type == "InnerProduct":
        module = torch.nn.Linear(weights[0].shape[1], weights[0].shape[0])
    elif layer.type == "BatchNorm":
        return torch.nn.BatchNorm2d(weights[0].shape[0])
    else:
        return None
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(value))
    return module
