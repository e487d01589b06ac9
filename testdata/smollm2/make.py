#!/usr/bin/env python3
"""Mean code length of SmolLM2-135M-Instruct over hexadecimal tokens, by transformers in f32 on the dequantised GGUF weights.

usage: make.py MODEL.gguf DATASET.tokens      (needs torch, transformers, gguf, accelerate, safetensors, numpy)

Takes the first 8192 ids of a token data set that `lmgc tokenize` wrote, cuts them into windows of 2047 behind the start
token, and writes ids.bin (little-endian u16) and expected.json beside this script. See README.md.
"""
import json
import pathlib
import sys

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file

N_TOKENS, WINDOW = 8192, 2048


def main():
    gguf, dataset = map(pathlib.Path, sys.argv[1:])
    here = pathlib.Path(__file__).parent
    ids = load_file(dataset)["ids"][:N_TOKENS]
    assert len(ids) == N_TOKENS
    model = transformers.AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    model.eval()
    start = 1  # <|im_start|>, the GGUF's tokenizer.ggml.bos_token_id
    bits = 0.0
    for at in range(0, N_TOKENS, WINDOW - 1):
        window = torch.tensor([int(i) for i in ids[at : at + WINDOW - 1]])
        with torch.no_grad():
            inputs = torch.cat([torch.tensor([start]), window[:-1]])
            logits = model(inputs[None]).logits[0].double()
        losses = torch.nn.functional.cross_entropy(logits, window, reduction="sum")
        bits += losses.item() / np.log(2)
    ids.astype("<u2").tofile(here / "ids.bin")
    result = {
        "mean_bits_per_token": bits / N_TOKENS,
        "n_tokens": N_TOKENS,
        "window": WINDOW,
        "start_token": start,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
    }
    (here / "expected.json").write_text(json.dumps(result, indent=1) + "\n")
    print(result)


if __name__ == "__main__":
    main()
