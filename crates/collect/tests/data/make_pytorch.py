"""Writes pytorch/<arch>.json: what PyTorch computes for each of LM-GC's networks.

    python -m pip install torch numpy && python make_pytorch.py [--check] [ARCH ...]

Weights and images come from a formula that `tests/pytorch.rs` repeats, and are rounded to float32; PyTorch then computes in
float64, in training mode but without dropout, so that the fixtures are free of rounding. `--check` prints how far PyTorch's own
float32 is from them, computed in three ways.

The formula. `uniform(key, n)` gives n numbers in -1/2 .. 1/2. Parameter number `place` (in PyTorch's order, from 0) takes
u = uniform(place, size), in row-major order, and changes it by name and shape, by the first rule that fits:

1. the name ends in `pos_enc` or `pos_embedding`: u
2. two dimensions or more: u * 2 / sqrt(fan_in), where fan_in is the product of all dimensions but the first
3. the name ends in `bn3.weight`, the last norm of a bottleneck: (u + 1) / 8, lest rounding errors grow from block to block
4. it ends in `weight`, so any other norm, or in `gamma`: u + 1
5. it is a bias: u

Then, for each triple (place, channel, steps) in the case's `nudges`, steps / 1024 is added to that one bias, which is exact in
float32. Nudges keep the input of every ReLU at least MARGIN away from zero: nearer, float32 could fall on the other side, and a
whole gradient would differ by more than the tests allow. A max pool could choose another place in the same way, so images are taken
from the first key at which a pool's two largest values differ by MARGIN / 4, or are both zero.

Images are uniform(image_key, size) * 8, and image i has label 3 * i mod n_classes; the loss is the mean cross entropy.

A file has `arch` and `cases`. A case has `channels`, `side`, `n_classes`, `batch`, `image_key`, `n_values` (of all parameters),
`nudges`, `loss`, and `gradients`: for each parameter [name, shape, norm, s0, s1, ...], where norm is the gradient's 2-norm and
s_k the sum of signs(2000 + k) * gradient. The root mean square of the s_k's errors estimates the 2-norm of the gradient's error.
Gradients that are zero but for rounding, such as those of a bias in front of a norm, are written as they come.
"""

import argparse
import copy
import json
import pathlib

import networks
import numpy as np
import torch
from torch import nn

MARGIN = 2.0**-14
CASES = {  # channels, side, n_classes, batch
    "convnet": [(1, 28, 10, 4), (3, 32, 200, 3)],
    "vgg11": [(3, 32, 10, 4), (3, 32, 200, 4)],
    "resnet18": [(3, 32, 10, 2), (1, 28, 10, 2)],
    "resnet18bn": [(3, 32, 10, 4)],
} | {arch: [(3, 32, 10, 4)] for arch in ("vgg13", "vgg16", "vgg19")}
N_SUMS = {"convnet": 16, "resnet101": 3, "resnet152": 2}  # otherwise 4


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


def initial(place, name, shape):
    u = uniform(place, int(np.prod(shape)))
    if name.endswith(("pos_enc", "pos_embedding")):
        values = u
    elif len(shape) > 1:
        values = u * 2.0 / np.sqrt(np.float64(np.prod(shape[1:])))
    elif name.endswith("bn3.weight"):
        values = (u + 1.0) / 8.0
    elif name.endswith(("weight", "gamma")):
        values = u + 1.0
    else:
        values = u
    return torch.from_numpy(values.astype(np.float32).astype(np.float64)).reshape(shape)


class Nudges:
    """Moves biases during a forward pass so that ReLUs and max pools choose clearly."""

    def __init__(self, net):
        self.places = {id(parameter): place for place, parameter in enumerate(net.parameters())}
        self.found, self.bias, self.pools_choose = [], None, True
        self.hooks = []
        for module in net.modules():
            if isinstance(module, (nn.GroupNorm, nn.BatchNorm2d)):
                self.hooks.append(module.register_forward_hook(self.norm))
            elif isinstance(module, nn.ReLU):
                self.hooks.append(module.register_forward_pre_hook(self.relu))
            elif isinstance(module, nn.MaxPool2d):
                self.hooks.append(module.register_forward_pre_hook(self.pool))

    def norm(self, module, inputs, output):
        self.bias = module.bias

    def relu(self, module, inputs):
        x = inputs[0].clone()
        for channel in (x.abs() < MARGIN).sum((0, 2, 3)).nonzero().flatten().tolist():
            steps = next(s for s in range(1, 512) if (x[:, channel] + s / 1024).abs().min() >= MARGIN)
            x[:, channel] += steps / 1024
            self.bias[channel] += steps / 1024
            self.found.append([self.places[id(self.bias)], channel, steps])
        return (x,)

    def pool(self, module, inputs):
        largest = inputs[0].unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).topk(2).values
        gap = largest[..., 0] - largest[..., 1]
        self.pools_choose &= bool(((gap >= MARGIN / 4) | (largest[..., 0] == 0)).all())


def prepare(arch, channels, side, n_classes, batch):
    """The network, the images, their key, and the nudges."""
    net = networks.build(arch, channels, n_classes, **({"dropout": 0.0} if arch == "vit" else {})).double()
    for image_key in range(1000, 2000):
        for place, (name, parameter) in enumerate(net.named_parameters()):
            parameter.data = initial(place, name, tuple(parameter.shape))
        images = uniform(image_key, batch * channels * side * side) * 8.0
        images = torch.from_numpy(images).reshape(batch, channels, side, side)
        nudges = Nudges(net)
        with torch.no_grad():
            net(images)
        for hook in nudges.hooks:
            hook.remove()
        if nudges.pools_choose:
            return net, images, image_key, nudges.found
    raise SystemExit(f"{arch}: no images keep its max pools from ties")


def compute(net, images, labels):
    net.zero_grad()
    logits = net(images)
    loss = nn.functional.cross_entropy(logits, labels)
    loss.backward()
    return loss.item(), {name: parameter.grad.double() for name, parameter in net.named_parameters()}, logits.detach()


def check(net, images, labels, loss, gradients, logits):
    """Prints the sanity of a case, and the errors of float32 as the tests measure them: against what 1e-4 (or 1e-3) bounds."""
    norms = {name: gradient.norm().item() for name, gradient in gradients.items()}
    weights = {name: norms[name] for name in norms if name.endswith("weight")}
    probabilities = logits.softmax(1).mean(0).numpy().round(2)[:10]
    print(f"  loss {loss:.4f}, logits {logits.std().item():.2f} around their mean, mean probabilities {probabilities}")
    print(f"  norms of weights' gradients: {min(weights.values()):.2g} to {max(weights.values()):.2g}")
    net = copy.deepcopy(net).float()
    for way in ("oneDNN", "channels last", "native"):
        layout = torch.channels_last if way == "channels last" else torch.contiguous_format
        with torch.backends.mkldnn.flags(enabled=way != "native"):
            loss32, gradients32, _ = compute(net.to(memory_format=layout), images.float().to(memory_format=layout), labels)
        errors = {}
        for name, gradient in gradients.items():
            floor = 1e-2 * norms.get(name.rpartition(".")[0] + ".weight", 0.0)
            errors[name] = (gradients32[name] - gradient).norm().item() / max(norms[name], floor)
        worst = sorted(errors, key=errors.get)[:-4:-1]
        print(f"  float32, {way}: loss {abs(loss32 - loss):.1e},", ", ".join(f"{name} {errors[name]:.1e}" for name in worst), flush=True)


def case(arch, shape, checked):
    channels, side, n_classes, batch = shape
    net, images, image_key, nudges = prepare(arch, *shape)
    labels = torch.arange(batch) * 3 % n_classes
    loss, gradients, logits = compute(net, images, labels)
    n_values = sum(parameter.numel() for parameter in net.parameters())
    print(f"{arch} {shape}: {n_values} values, images {image_key}, {len(nudges)} nudges", flush=True)
    if checked:
        check(net, images, labels, loss, gradients, logits)
    rows = []
    for name, gradient in gradients.items():
        flat = gradient.flatten().numpy()
        figures = [np.linalg.norm(flat)] + [signs(2000 + k, flat.size) @ flat for k in range(N_SUMS.get(arch, 4))]
        rows.append([name, list(gradient.shape), *(float(f"{figure:.7g}") for figure in figures)])
    return {
        "channels": channels, "side": side, "n_classes": n_classes, "batch": batch, "image_key": image_key, "n_values": n_values,
        "nudges": nudges, "loss": loss, "gradients": rows,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arch", nargs="*", metavar="ARCH", help=f"of {', '.join(networks.ARCHITECTURES)} (default: all)")
    parser.add_argument("--check", action="store_true", help="print the errors of float32")
    options = parser.parse_args()
    folder = pathlib.Path(__file__).with_name("pytorch")
    folder.mkdir(exist_ok=True)
    for arch in options.arch or networks.ARCHITECTURES:
        cases = [case(arch, shape, options.check) for shape in CASES.get(arch, [(3, 32, 10, 2)])]
        text = json.dumps({"arch": arch, "cases": cases}, separators=(",", ":"))
        text = text.replace('"gradients":[', '"gradients":[\n').replace('],["', '],\n["')
        (folder / f"{arch}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
