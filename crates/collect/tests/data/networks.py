"""LM-GC's networks in PyTorch: the same parameters, in name, order and shape, as its own definitions and as this crate's.

`make_pytorch.py` computes the fixtures of `tests/pytorch.rs` with them, and `benches/compare_training.py` times them.

    networks.build("resnet18", channels=3, n_classes=10)

Weights start as PyTorch's layers start, but for the ViT, whose initialisation is its own.
"""

import functools

import torch
from torch import nn
from torch.nn import functional


class ConvNet(nn.Module):
    """Three blocks of convolution, norm a channel, ReLU and average pool. Grey images of 28x28 are padded to 32x32 by the first."""

    def __init__(self, channels, n_classes):
        super().__init__()
        layers = []
        for block in range(3):
            n_in = channels if block == 0 else 128
            padding = 3 if block == 0 and channels == 1 else 1
            layers += [nn.Conv2d(n_in, 128, 3, padding=padding), nn.GroupNorm(128, 128), nn.ReLU(), nn.AvgPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(128 * 4 * 4, n_classes)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class Vgg(nn.Module):
    """Five stages of convolutions with BatchNorm, each stage ending in a max pool."""

    WIDTHS = (64, 128, 256, 512, 512)

    def __init__(self, n_convolutions, channels, n_classes):
        super().__init__()
        layers = []
        for width, n in zip(self.WIDTHS, n_convolutions):
            for _ in range(n):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(512, n_classes)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class Block(nn.Module):
    """Convolutions given as (width, kernel, stride), each with a norm, beside a shortcut."""

    def __init__(self, norm, n_in, convolutions):
        super().__init__()
        self.n_convolutions = len(convolutions)
        n_out, total_stride, width = convolutions[-1][0], 1, n_in
        for i, (n, kernel, stride) in enumerate(convolutions, 1):
            setattr(self, f"conv{i}", nn.Conv2d(width, n, kernel, stride, padding=kernel // 2, bias=False))
            setattr(self, f"bn{i}", norm(n))
            width, total_stride = n, total_stride * stride
        self.relu = nn.ReLU()
        self.shortcut = nn.Sequential()
        if (n_in, 1) != (n_out, total_stride):
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, total_stride, bias=False), norm(n_out))

    def forward(self, x):
        y = x
        for i in range(1, self.n_convolutions + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            if i < self.n_convolutions:
                y = self.relu(y)
        return self.relu(y + self.shortcut(x))


def instance_norm(n):
    return nn.GroupNorm(n, n)


class ResNet(nn.Module):
    """A stem that keeps the resolution, four stages of blocks, and an average pool over 4x4."""

    def __init__(self, n_blocks, bottleneck, norm, channels, n_classes):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        self.bn1 = norm(64)
        self.relu = nn.ReLU()
        n_in = 64
        for stage, n in enumerate(n_blocks):
            width, blocks = 64 << stage, []
            for block in range(n):
                stride = 2 if stage > 0 and block == 0 else 1
                if bottleneck:
                    convolutions = [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)]
                else:
                    convolutions = [(width, 3, stride), (width, 3, 1)]
                blocks.append(Block(norm, n_in, convolutions))
                n_in = convolutions[-1][0]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.classifier = nn.Linear(n_in, n_classes)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.classifier(functional.avg_pool2d(x, 4).flatten(1))


class Residual(nn.Module):
    """Adds gamma times what the layers make of the input."""

    def __init__(self, *layers):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.residual = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.gamma * self.residual(x)


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of each place."""

    def __init__(self, n_channels):
        super().__init__()
        self.norm = nn.LayerNorm(n_channels)

    def forward(self, x):
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


class PositionEmbedding(nn.Module):
    def __init__(self, n_channels, side):
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.empty(n_channels, side, side))

    def forward(self, x):
        return x + self.pos_embedding


class Attention(nn.Module):
    """Attention between all places of an image, with a table of biases for each head and each offset between key and query."""

    def __init__(self, n_channels, n_heads, side):
        super().__init__()
        self.n_heads = n_heads
        self.pos_enc = nn.Parameter(torch.empty(n_heads, (2 * side - 1) ** 2))
        for name in ("to_keys", "to_queries", "to_values", "unifyheads"):
            setattr(self, name, nn.Conv2d(n_channels, n_channels, 1))
        rows, columns = torch.arange(side).repeat_interleave(side), torch.arange(side).repeat(side)
        down, right = (at[:, None] - at[None, :] + side - 1 for at in (rows, columns))
        self.register_buffer("offsets", down * (2 * side - 1) + right, persistent=False)  # keys x queries

    def forward(self, x):
        keys, queries, values = (f(x).flatten(2).unflatten(1, (self.n_heads, -1)) for f in (self.to_keys, self.to_queries, self.to_values))
        scores = keys.mT @ queries / keys.shape[2] ** 0.5 + self.pos_enc[:, self.offsets]
        return self.unifyheads((values @ scores.softmax(-2)).flatten(1, 2).unflatten(2, x.shape[2:]))


def vit(channels, n_classes, side=32, width=256, n_heads=8, n_blocks=8, patch=2, dropout=0.3):
    """The CIFAR-10 ViT with relative positions of juliusruseckas.github.io/ml/cifar10-vit.html. `dropout` is in the head."""
    side //= patch
    stem = nn.Sequential(nn.Conv2d(channels, 32, 3, padding=1), nn.GELU(), nn.Conv2d(32, width, patch, stride=patch))
    blocks = [
        nn.Sequential(
            Residual(ChannelNorm(width), Attention(width, n_heads, side)),
            Residual(ChannelNorm(width), nn.Sequential(nn.Conv2d(width, 4 * width, 1), nn.GELU(), nn.Conv2d(4 * width, width, 1))),
        )
        for _ in range(n_blocks)
    ]
    head = nn.Sequential(
        ChannelNorm(width), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(width, n_classes)
    )
    net = nn.Sequential(nn.Sequential(stem, PositionEmbedding(width, side)), nn.Sequential(*blocks), head)
    for name, parameter in net.named_parameters():
        if name.endswith(("pos_enc", "pos_embedding")):
            nn.init.normal_(parameter, std=0.02)
        elif name.endswith("weight") and parameter.dim() > 1:
            nn.init.kaiming_normal_(parameter)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
    return net


def resnet(n_blocks, bottleneck=False, norm=instance_norm):
    return functools.partial(ResNet, n_blocks, bottleneck, norm)


ARCHITECTURES = {
    "convnet": ConvNet,
    "vgg11": functools.partial(Vgg, (1, 1, 2, 2, 2)),
    "vgg13": functools.partial(Vgg, (2, 2, 2, 2, 2)),
    "vgg16": functools.partial(Vgg, (2, 2, 3, 3, 3)),
    "vgg19": functools.partial(Vgg, (2, 2, 4, 4, 4)),
    "resnet18": resnet((2, 2, 2, 2)),
    "resnet34": resnet((3, 4, 6, 3)),
    "resnet50": resnet((3, 4, 6, 3), bottleneck=True),
    "resnet101": resnet((3, 4, 23, 3), bottleneck=True),
    "resnet152": resnet((3, 8, 36, 3), bottleneck=True),
    "resnet18bn": resnet((2, 2, 2, 2), norm=nn.BatchNorm2d),
    "vit": vit,
}


def build(arch, channels, n_classes, **options):
    """A network in training mode. `options` are the ViT's alone (`dropout=0.0`)."""
    return ARCHITECTURES[arch](channels=channels, n_classes=n_classes, **options)
