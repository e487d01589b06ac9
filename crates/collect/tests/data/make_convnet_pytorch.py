"""Writes convnet_pytorch.json: what PyTorch computes for LM-GC's ConvNet.

    python -m pip install torch numpy && python make_convnet_pytorch.py

Weights and images come from a formula that `tests/pytorch.rs` repeats, and are
rounded to float32; PyTorch then computes in float64, so that the fixture is free
of rounding. Of each gradient g the fixture keeps its 2-norm and the sums
of s_i * g_i for 16 formulas of signs s: the root mean square of the sums' errors
estimates the 2-norm of the gradient's error.
"""

import json
import pathlib

import numpy as np
import torch
from torch import nn

N_SKETCHES = 16


def mix(key, n):
    """n pseudo-random uint32 numbers; the same integers in any language."""
    mask = np.uint64(0xFFFFFFFF)
    x = np.arange(n, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(key) * np.uint64(40503) & mask
    for _ in range(2):
        x ^= x >> np.uint64(16)
        x = x * np.uint64(0x45D9F3B) & mask
    return x ^ x >> np.uint64(16)


def uniform(key, n):
    """n numbers in -1/2 .. 1/2, exact in float32."""
    return (mix(key, n) >> np.uint64(8)).astype(np.float64) / 2**24 - 0.5


def signs(key, n):
    return np.where(mix(key, n) & np.uint64(1), -1.0, 1.0)


class ConvNet(nn.Module):
    def __init__(self, channels, n_classes):
        super().__init__()
        layers = []
        for block in range(3):
            n_in = channels if block == 0 else 128
            padding = 3 if block == 0 and channels == 1 else 1
            layers += [
                nn.Conv2d(n_in, 128, 3, padding=padding),
                nn.GroupNorm(128, 128),
                nn.ReLU(),
                nn.AvgPool2d(2),
            ]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(128 * 4 * 4, n_classes)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def case(channels, side, n_classes, batch):
    net = ConvNet(channels, n_classes).double()
    for place, (name, parameter) in enumerate(net.named_parameters()):
        values = uniform(place, parameter.numel())
        if parameter.dim() == 1:
            # Norms' scales lie around 1, all biases around 0.
            values = values + 1.0 if name.startswith("features") and name.endswith("weight") else values
        else:
            values = values * 2.0 / np.sqrt(np.float64(parameter[0].numel()))
        values = values.astype(np.float32).astype(np.float64)
        parameter.data = torch.from_numpy(values).reshape(parameter.shape)
    images = uniform(1000, batch * channels * side * side) * 4.0
    images = torch.from_numpy(images).reshape(batch, channels, side, side)
    labels = torch.arange(batch) * 3 % n_classes
    loss = nn.functional.cross_entropy(net(images), labels)
    loss.backward()

    gradients = []
    for place, (name, parameter) in enumerate(net.named_parameters()):
        gradient = parameter.grad.flatten().numpy()
        sums = [float(signs(2000 + k, gradient.size) @ gradient) for k in range(N_SKETCHES)]
        gradients.append(
            {
                "name": name,
                "shape": list(parameter.shape),
                "norm": float(f"{np.linalg.norm(gradient):.9g}"),
                "sums": [float(f"{s:.9g}") for s in sums],
            }
        )
    return {
        "channels": channels,
        "side": side,
        "n_classes": n_classes,
        "batch": batch,
        "loss": loss.item(),
        "gradients": gradients,
    }


fixture = [case(1, 28, 10, 4), case(3, 32, 200, 3)]
text = json.dumps(fixture, indent=None, separators=(",", ":")).replace('{"name"', '\n{"name"')
pathlib.Path(__file__).with_name("convnet_pytorch.json").write_text(text + "\n")
