#!/usr/bin/env python3
"""Make a corpus of real gradients, optimiser moments, weights and checkpoints.

usage: make_gradients.py --out DIR [--only NAME]...      (NAME: a training run, or part of a file's name)

Needs numpy, torch, scikit-learn, scikit-image; nothing is downloaded. The images are the sample
photographs of scikit-image and scikit-learn and scikit-learn's digits; the text is the source of
Python's own standard library. Every run is seeded and uses one thread: the same versions on
the same machine give the same bits (the text follows the Python version). All of it takes 20 to 30
minutes on one core; a run goes to its end even where only its first file is asked for.

Conventions
- Files are safetensors, with the tensors in the order of `model.named_parameters()`, both in the
  header and in the data (the safetensors package itself would sort them by name).
- "gradient, step k" is what the k-th update used (k from 1). "weights, step k" are those after k updates.
- Networks with more than 12 MB of parameters keep only whole tensors: the lists KEEP_* below.
- Each file's metadata says what it is, and the loss of the batch (or the last one before it).
"""
import argparse
import copy
import json
import pathlib
import struct
import sysconfig
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

# Tensors kept of the larger networks: first layers, some in the middle, the last.
KEEP_VGG16 = ["features.%d." % i for i in (0, 1, 3, 4, 7, 8, 14, 15, 20, 21)] + ["features.24.weight", "classifier."]
KEEP_RESNET18 = ["conv1.", "norm1.", "layer1.0.", "layer2.0.", "layer3.1.conv1.", "layer3.1.norm1.", "layer4.0.conv1.", "layer4.0.norm1.", "fc."]
KEEP_GPT = ["wte.", "wpe.", "h.0.", "h.1.", "h.3.", "ln_f.", "lm_head."]

DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


# ---------------------------------------------------------------- files

class Corpus:
    """Writes the files; skips those not asked for."""

    def __init__(self, out, only):
        self.out, self.only, self.run = pathlib.Path(out), only, ""
        self.out.mkdir(parents=True, exist_ok=True)

    def wanted(self, name):
        return not self.only or any(o == self.run or o in name for o in self.only)

    def save(self, name, tensors, what, loss=None, keep=None):
        if not self.wanted(name):
            return
        tensors = {k: v.detach().contiguous() for k, v in tensors.items() if keep is None or k.startswith(tuple(keep))}
        what += "" if keep is None else ", some layers"
        meta = {"source": what}
        if loss is not None:
            meta["loss"] = "%.6g" % loss
        header, blobs, at = {"__metadata__": meta}, [], 0
        for key, t in tensors.items():
            blob = t.reshape(-1).view(torch.uint8).numpy().tobytes()
            header[key] = {"dtype": DTYPES[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + len(blob)]}
            blobs.append(blob)
            at += len(blob)
        head = json.dumps(header, separators=(",", ":")).encode()
        head += b" " * (-len(head) % 8)
        path = self.out / (name + ".safetensors")
        partial = path.with_suffix(".part")
        partial.write_bytes(struct.pack("<Q", len(head)) + head + b"".join(blobs))
        partial.replace(path)
        print("%s  %s: %.2f MB, loss %s" % (time.strftime("%H:%M:%S"), name, at / 1e6, meta.get("loss", "-")), flush=True)


def grads(model):
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}


def weights(model):
    return {n: p.detach().clone() for n, p in model.named_parameters()}


def moments(model, opt, key):
    return {n: opt.state[p][key].clone() for n, p in model.named_parameters() if p.requires_grad}


# ---------------------------------------------------------------- data

def digits(seed, batch):
    """Endless batches of scikit-learn's 8x8 digits, enlarged to 3x32x32."""
    from sklearn.datasets import load_digits
    data = load_digits()
    x = torch.tensor(data.images / 16, dtype=torch.float32)[:, None]
    x = F.interpolate(x, (32, 32), mode="bilinear", align_corners=False)
    x = ((x - x.mean()) / x.std()).repeat(1, 3, 1, 1)
    y = torch.tensor(data.target)
    gen = torch.Generator().manual_seed(seed)
    while True:
        for idx in torch.randperm(len(x), generator=gen)[:len(x) // batch * batch].view(-1, batch):
            yield x[idx], y[idx]


def photos(seed, batch, classes):
    """Endless batches of 32x32 crops of ten photographs.

    10 classes: which photograph. 200 classes: which photograph and which of 4 x 5 cells of it.
    """
    from skimage import data
    from sklearn.datasets import load_sample_images
    images = [data.astronaut(), data.camera(), data.cat(), data.coffee(), data.rocket(), data.hubble_deep_field(),
              data.immunohistochemistry(), data.retina()[::2, ::2]] + list(load_sample_images().images)
    images = [np.stack([i] * 3, -1) if i.ndim == 2 else i[..., :3] for i in images]
    mean, std = np.array([.4914, .4822, .4465]), np.array([.2023, .1994, .2010])
    images = [((i / 255 - mean) / std).astype(np.float32) for i in images]
    rows, cols = (1, 1) if classes == 10 else (4, 5)
    assert classes == 10 * rows * cols
    rng = np.random.default_rng(seed)
    while True:
        y = rng.integers(classes, size=batch)
        x = np.empty((batch, 3, 32, 32), np.float32)
        for n, c in enumerate(y):
            image, cell = images[c // (rows * cols)], c % (rows * cols)
            h, w = image.shape[0] // rows, image.shape[1] // cols
            top = cell // cols * h + rng.integers(h - 31)
            left = cell % cols * w + rng.integers(w - 31)
            crop = image[top:top + 32, left:left + 32]
            x[n] = (crop[:, ::-1] if rng.random() < .5 else crop).transpose(2, 0, 1)
        yield torch.from_numpy(x), torch.from_numpy(y)


def text(seed, batch, context):
    """Endless batches of bytes of Python's standard library (top-level modules by name, 4 MB)."""
    lib = pathlib.Path(sysconfig.get_paths()["stdlib"])
    raw = b"".join(p.read_bytes() for p in sorted(lib.glob("*.py")))[:4_000_000]
    ids = torch.from_numpy(np.frombuffer(raw, np.uint8).astype(np.int64))
    gen = torch.Generator().manual_seed(seed)
    while True:
        at = torch.randint(len(ids) - context - 1, (batch,), generator=gen)
        window = torch.stack([ids[i:i + context + 1] for i in at])
        yield window[:, :-1], window[:, 1:]


# ---------------------------------------------------------------- networks

class ConvNet(nn.Module):
    """LM-GC's ConvNet: three blocks of 128 channels, group norm with one channel a group."""

    def __init__(self, classes, channels=3):
        super().__init__()
        layers = []
        for c in (channels, 128, 128):
            layers += [nn.Conv2d(c, 128, 3, padding=1), nn.GroupNorm(128, 128), nn.ReLU(), nn.AvgPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(128 * 4 * 4, classes)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class VGG16(nn.Module):
    """VGG16 with batch norm, conv biases and one linear layer."""

    def __init__(self, classes):
        super().__init__()
        layers, c = [], 3
        for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
            if width:
                layers += [nn.Conv2d(c, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                c = width
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(512, classes)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class Residual(nn.Module):
    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.norm1 = nn.GroupNorm(c_out, c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.norm2 = nn.GroupNorm(c_out, c_out)
        self.shortcut = nn.Sequential()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.GroupNorm(c_out, c_out))

    def forward(self, x):
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet18 for 32x32 images, group norm with one channel a group."""

    def __init__(self, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(64, 64)
        c = 64
        for i, width in enumerate((64, 128, 256, 512), 1):
            setattr(self, "layer%d" % i, nn.Sequential(Residual(c, width, 1 if i == 1 else 2), Residual(width, width, 1)))
            c = width
        self.fc = nn.Linear(512, classes)

    def forward(self, x):
        x = F.relu(self.norm1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class Attention(nn.Module):
    def __init__(self, dim, heads, causal, names):
        super().__init__()
        self.heads, self.causal, self.names = heads, causal, names
        setattr(self, names[0], nn.Linear(dim, 3 * dim))
        setattr(self, names[1], nn.Linear(dim, dim))

    def forward(self, x):
        b, n, d = x.shape
        qkv = getattr(self, self.names[0])(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(*qkv, is_causal=self.causal)
        return getattr(self, self.names[1])(y.transpose(1, 2).reshape(b, n, d))


class Mlp(nn.Module):
    def __init__(self, dim, names):
        super().__init__()
        self.names = names
        setattr(self, names[0], nn.Linear(dim, 4 * dim))
        setattr(self, names[1], nn.Linear(4 * dim, dim))

    def forward(self, x):
        return getattr(self, self.names[1])(F.gelu(getattr(self, self.names[0])(x)))


class VitBlock(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim), Attention(dim, heads, False, ("qkv", "proj"))
        self.norm2, self.mlp = nn.LayerNorm(dim), Mlp(dim, ("fc1", "fc2"))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """A small vision transformer: patch 4, 192 wide, 6 blocks, 3 heads, class token (timm's names)."""

    def __init__(self, classes, dim=192, depth=6, heads=3):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.randn(1, 65, dim) * .02)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, dim, 4, 4)})
        self.blocks = nn.ModuleList(VitBlock(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.trunc_normal_(m.weight, std=.02)
                nn.init.zeros_(m.bias)

    def forward(self, x):
        x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class GptBlock(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(dim), Attention(dim, heads, True, ("c_attn", "c_proj"))
        self.ln_2, self.mlp = nn.LayerNorm(dim), Mlp(dim, ("c_fc", "c_proj"))

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """A small byte-level GPT: 256 wide, 4 blocks, context 128 (GPT-2's names).

    Its vocabulary has 1000 rows, of which text uses about 100: the embedding's other rows get a gradient
    of exactly 0. The output layer is untied, so its unused rows get small gradients of one sign.
    """

    def __init__(self, vocab=1000, dim=256, depth=4, heads=4, context=128):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, dim), nn.Embedding(context, dim)
        self.h = nn.ModuleList(GptBlock(dim, heads) for _ in range(depth))
        self.ln_f = nn.LayerNorm(dim)
        self.lm_head = nn.Linear(dim, vocab, bias=False)
        for m in self.modules():
            if isinstance(m, (nn.Linear, nn.Embedding)):
                nn.init.normal_(m.weight, std=.02)
                if getattr(m, "bias", None) is not None:
                    nn.init.zeros_(m.bias)

    def forward(self, ids):
        x = self.wte(ids) + self.wpe.weight[:ids.shape[1]]
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))


class Lora(nn.Module):
    """A frozen linear layer and a trained update of rank 8 (peft's names)."""

    def __init__(self, base, rank=8):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_A, self.lora_B = nn.Linear(base.in_features, rank, bias=False), nn.Linear(rank, base.out_features, bias=False)
        nn.init.kaiming_uniform_(self.lora_A.weight, a=5 ** .5)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x):
        return self.base(x) + 2 * self.lora_B(self.lora_A(x))


# ---------------------------------------------------------------- training

def loss_of(model, x, y):
    logits = model(x)
    return F.cross_entropy(logits.flatten(0, -2).float() if logits.dtype.itemsize < 4 else logits.flatten(0, -2), y.flatten())


def backward(model, x, y):
    model.zero_grad(set_to_none=True)
    loss = loss_of(model, x, y)
    loss.backward()
    return loss.item()


def train(model, opt, batches, steps, first=1):
    """Trains; after each backward pass yields (step, loss), and the update follows when the caller goes on."""
    began = time.time()
    for step in range(first, first + steps):
        loss = backward(model, *next(batches))
        yield step, loss
        opt.step()
        if step % 20 == 0:
            print("          step %d loss %.4f, %.2f s a step" % (step, loss, (time.time() - began) / (step - first + 1)), flush=True)


def sgd(model, lr=.1):  # LM-GC's settings; the deeper networks use a lower rate, as 0.1 learns nothing in 60 steps
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=.9, weight_decay=5e-4)


def adamw(model, lr=1e-3):
    return torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=.1)


# ---------------------------------------------------------------- runs

def run_vit(c):
    torch.manual_seed(1)
    model, name = ViT(200), "ViT (patch 4, 192 wide, 6 blocks), 32x32 crops of ten photographs, 200 classes, batch 64, AdamW 1e-3"
    opt = adamw(model)
    for step, loss in train(model, opt, photos(1, 64, 200), 300):
        if step in (10, 300):
            c.save("vit-photo200-step%d" % step, grads(model), "gradient, %s, step %d" % (name, step), loss)
    c.save("vit-photo200-step300-exp_avg", moments(model, opt, "exp_avg"), "AdamW first moment, %s, step 300" % name, loss)
    c.save("vit-photo200-step300-exp_avg_sq", moments(model, opt, "exp_avg_sq"), "AdamW second moment, %s, step 300" % name, loss)
    c.save("vit-photo200-step300-int8", {n: int8(g) for n, g in grads(model).items()},
           "gradient quantised to int8 and back, each tensor by its largest magnitude, %s, step 300" % name, loss)


def int8(g):
    scale = g.abs().max().clamp_min(1e-30) / 127
    return (g / scale).round().clamp(-127, 127).to(torch.int8).float() * scale


def run_gpt(c):
    torch.manual_seed(2)
    model, name = GPT(), "byte GPT (256 wide, 4 blocks, vocabulary 1000), Python sources, context 128, batch 16, AdamW 1e-3"
    opt, batches = adamw(model), text(2, 16, 128)
    for step, loss in train(model, opt, batches, 501):
        if step in (401, 402):  # weights after 400 and 401 updates
            c.save("gpt-code-step%d-weights" % (step - 1), weights(model), "weights, %s, step %d" % (name, step - 1), loss, KEEP_GPT)
        if step in (10, 500, 501):
            c.save("gpt-code-step%d" % step, grads(model), "gradient, %s, step %d" % (name, step), loss, KEEP_GPT)
        if step == 10:
            clipped = grads(model)
            norm = torch.sqrt(sum((g.double() ** 2).sum() for g in clipped.values())).item()
            bound = 1.0 if norm > 1 else norm / 2
            factor = torch.tensor(bound / (norm + 1e-6), dtype=torch.float32)
            c.save("gpt-code-step10-clipped", {n: g * factor for n, g in clipped.items()},
                   "gradient clipped from norm %.4g to %.4g, %s, step 10" % (norm, bound, name), loss, KEEP_GPT)
        if step == 501:
            c.save("gpt-code-step500-weights", weights(model), "weights, %s, step 500" % name, loss, KEEP_GPT)
            for key, which in (("exp_avg", "first"), ("exp_avg_sq", "second")):
                c.save("gpt-code-step500-" + key, moments(model, opt, key), "AdamW %s moment, %s, step 500" % (which, name), loss, KEEP_GPT)
    state = weights(model)

    def fresh():
        m = GPT()
        m.load_state_dict(state)
        return m

    # A bf16 model with a bf16 optimiser goes on for 10 steps; the same values are stored as f32 too.
    m = fresh().bfloat16()
    for step, loss in train(m, adamw(m, 3e-4), batches, 10, 502):
        pass
    c.save("gpt-code-step511-bf16", grads(m), "gradient of a bf16 model, %s, step 511" % name, loss, KEEP_GPT)
    c.save("gpt-code-step511-bf16-as-f32", {n: g.float() for n, g in grads(m).items()},
           "gradient of a bf16 model stored as f32, %s, step 511" % name, loss, KEEP_GPT)

    # An f16 model, the loss scaled by the largest power of two (up to 65536) that overflows nowhere.
    m = fresh().half()
    x, y = next(batches)
    for power in range(16, -1, -1):
        m.zero_grad(set_to_none=True)
        loss = loss_of(m, x, y)
        (loss * 2 ** power).backward()
        if all(g.isfinite().all() for g in grads(m).values()):
            break
    c.save("gpt-code-step502-f16-scaled", grads(m), "gradient of an f16 model, loss scaled by %d, %s, step 502" % (2 ** power, name), loss.item(), KEEP_GPT)

    # Four micro-batches added up, then divided by 4 through the loss.
    m, total = fresh(), 0
    for _ in range(4):
        loss = loss_of(m, *next(batches)) / 4
        loss.backward()
        total += loss.item()
    c.save("gpt-code-step502-accumulated4", grads(m), "gradient accumulated over 4 micro-batches, %s, step 502" % name, total, KEEP_GPT)

    # Mixed precision: f32 weights, bf16 products (autocast). Gradients are f32.
    m = fresh()
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.cross_entropy(m(x).flatten(0, 1).float(), y.flatten())
    loss.backward()
    c.save("gpt-code-step502-autocast-bf16", grads(m), "gradient with bf16 autocast, %s, step 502" % name, loss.item(), KEEP_GPT)

    # LoRA on the attention's two linear layers: 20 steps, then the adapters' gradient.
    m = fresh().requires_grad_(False)
    for block in m.h:
        block.attn.c_attn, block.attn.c_proj = Lora(block.attn.c_attn), Lora(block.attn.c_proj)
    for step, loss in train(m, torch.optim.AdamW([p for p in m.parameters() if p.requires_grad], lr=2e-3), batches, 20):
        pass
    c.save("gpt-code-lora8-step20", grads(m), "gradient of LoRA adapters (rank 8, attention), %s, 20 steps after step 501" % name, loss)


def run_resnet18(c):
    torch.manual_seed(3)
    model, name = ResNet18(10), "LM-GC ResNet18 (group norm), 32x32 crops of ten photographs, 10 classes, batch 64, SGD 0.01"
    for step, loss in train(model, sgd(model, .01), photos(3, 64, 10), 60):
        if step in (5, 60):
            c.save("resnet18-photo-step%d" % step, grads(model), "gradient, %s, step %d" % (name, step), loss, KEEP_RESNET18)
    c.save("resnet18-photo-step60-top10", {n: top(g, .1) for n, g in grads(model).items()},
           "gradient, the tenth of each tensor largest in magnitude kept, %s, step 60" % name, loss, KEEP_RESNET18)


def top(g, share):
    kept = max(1, round(share * g.numel()))
    out = torch.zeros_like(g).flatten()
    idx = g.flatten().abs().topk(kept).indices
    out[idx] = g.flatten()[idx]
    return out.view_as(g)


def run_vgg16(c):
    torch.manual_seed(4)
    model, name = VGG16(10), "LM-GC VGG16 (batch norm), 32x32 crops of ten photographs, 10 classes, batch 64, SGD 0.01"
    for step, loss in train(model, sgd(model, .01), photos(4, 64, 10), 60):
        if step in (5, 60):
            c.save("vgg16-photo-step%d" % step, grads(model), "gradient, %s, step %d" % (name, step), loss, KEEP_VGG16)


def run_convnet_digits(c):
    torch.manual_seed(5)
    model, name = ConvNet(10), "LM-GC ConvNet, scikit-learn digits at 3x32x32, batch 64, SGD 0.1"
    for step, loss in train(model, sgd(model), digits(5, 64), 500):
        if step in (10, 500):
            c.save("convnet-digits-step%d" % step, grads(model), "gradient, %s, step %d" % (name, step), loss)
        if step == 10 and c.wanted("convnet-digits-step10-f64"):
            double = copy.deepcopy(model).double()
            x, y = next(digits(50, 64))
            loss = backward(double, x.double(), y)
            c.save("convnet-digits-step10-f64", grads(double), "gradient in f64, %s, step 10, another batch" % name, loss)


def run_convnet_photo200(c):
    torch.manual_seed(6)
    model, name = ConvNet(200), "LM-GC ConvNet, 32x32 crops of ten photographs, 200 classes (about 145 absent), batch 64, SGD 0.05"
    batches = photos(6, 64, 200)
    for step, loss in train(model, sgd(model, .05), batches, 201):
        if step in (10, 100, 101):
            c.save("convnet-photo200-step%d" % step, grads(model), "gradient, %s, step %d" % (name, step), loss)
        if step in (101, 102, 201):  # weights after 100, 101 and 200 updates
            c.save("convnet-photo200-step%d-weights" % (step - 1), weights(model), "weights, %s, step %d" % (name, step - 1), loss)
    # A federated client: 20 local SGD steps on the photographs' first classes, then the difference of weights.
    before, opt = weights(model), torch.optim.SGD(model.parameters(), lr=.01)
    local = ((x[y < 100], y[y < 100]) for x, y in photos(60, 64, 200))
    for step, loss in train(model, opt, local, 20):
        pass
    c.save("convnet-photo200-fedavg20", {n: w - before[n] for n, w in weights(model).items()},
           "federated update (weights after 20 local SGD 0.01 steps on half of the classes, minus those before), %s, step 201" % name, loss)


RUNS = {  # in order of usefulness; the second item is what its files' names begin with
    "convnet_photo200": (run_convnet_photo200, "convnet-photo200-"),
    "gpt": (run_gpt, "gpt-code-"),
    "vit": (run_vit, "vit-photo200-"),
    "resnet18": (run_resnet18, "resnet18-photo-"),
    "convnet_digits": (run_convnet_digits, "convnet-digits-"),
    "vgg16": (run_vgg16, "vgg16-photo-"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", required=True, help="folder for the files")
    parser.add_argument("--only", action="append", default=[], metavar="NAME",
                        help="a run (%s) or part of a file's name; may be repeated" % ", ".join(RUNS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    corpus = Corpus(args.out, args.only)
    for name, (run, prefix) in RUNS.items():
        # A run is needed where it is named, or where a name asked for could be one of its files'.
        if args.only and not any(o == name or (o not in RUNS and (o.startswith(prefix) or o in prefix)) for o in args.only):
            continue
        print("%s  run %s" % (time.strftime("%H:%M:%S"), name), flush=True)
        corpus.run = name
        run(corpus)


if __name__ == "__main__":
    main()
