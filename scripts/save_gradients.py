"""Writes the gradients of any PyTorch training run as lmgc reads them; docs/from-pytorch.md shows how. Needs torch and safetensors.

    hook = save_every(200, optimizer, model, "grads")    # once, before the loop: a file every 200 steps
    save_gradients(model, "grads", step)                 # or by hand, after backward()
"""

import json
import os

import torch
from safetensors.torch import save_file


def save_gradients(model, folder, step):
    """Writes folder/grad_<step>.safetensors, whole or not at all, and returns its path."""
    named = [(name, parameter.grad) for name, parameter in model.named_parameters() if parameter.grad is not None]
    for prefix in ("_orig_mod.", "module.", "_orig_mod."):  # of torch.compile and DistributedDataParallel
        if all(name.startswith(prefix) for name, _ in named):
            named = [(name.removeprefix(prefix), gradient) for name, gradient in named]
    dense = {name: gradient.to_dense() if gradient.is_sparse else gradient for name, gradient in named}
    tensors = {name: gradient.detach().to("cpu", torch.float32, copy=True).contiguous() for name, gradient in dense.items()}
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f"grad_{step:08}.safetensors")
    temporary = f"{path}.{os.getpid()}.tmp"
    save_file(tensors, temporary, {"lmgc.parameter_order": json.dumps(list(tensors)), "lmgc.step": str(step)})
    os.replace(temporary, path)
    return path


def save_every(n, optimizer, model, folder, step=0):
    """Saves the gradients just before every n-th optimizer.step(), counted from `step`; .remove() on the result ends it."""

    def before_step(*_):
        nonlocal step
        step += 1
        if step % n == 0:
            save_gradients(model, folder, step)

    return optimizer.register_step_pre_hook(before_step)
