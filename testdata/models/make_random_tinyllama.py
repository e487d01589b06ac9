#!/usr/bin/env python3
"""Writes a model of TinyLlama-1.1B's shape with random weights: bf16, safetensors in shards, about 2.2 GB.

    pip install torch safetensors tokenizers
    python make_random_tinyllama.py DIRECTORY

For the test that a large model loads from such a folder and runs within 4 GiB. One shard is in memory at a time, so this
needs about 1 GB. The tokenizer is that of the tiny models: a token for each byte, and ids without a token above them.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from make_tiny_models import tokenizer_files

D_MODEL, D_FFN, N_LAYERS, N_HEADS, N_KV_HEADS, VOCAB = 2048, 5632, 22, 32, 4, 32000
LAYERS_PER_SHARD = 6
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "torch_dtype": "bfloat16",
    "hidden_size": D_MODEL, "intermediate_size": D_FFN, "num_hidden_layers": N_LAYERS, "num_attention_heads": N_HEADS,
    "num_key_value_heads": N_KV_HEADS, "vocab_size": VOCAB, "max_position_embeddings": 2048, "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0, "rope_scaling": None, "attention_bias": False, "tie_word_embeddings": False,
    "bos_token_id": 1, "eos_token_id": 2,
}


def layer_shapes(layer):
    d_kv = D_MODEL // N_HEADS * N_KV_HEADS
    shapes = {
        "input_layernorm": [D_MODEL], "post_attention_layernorm": [D_MODEL],
        "self_attn.q_proj": [D_MODEL, D_MODEL], "self_attn.k_proj": [d_kv, D_MODEL], "self_attn.v_proj": [d_kv, D_MODEL],
        "self_attn.o_proj": [D_MODEL, D_MODEL],
        "mlp.gate_proj": [D_FFN, D_MODEL], "mlp.up_proj": [D_FFN, D_MODEL], "mlp.down_proj": [D_MODEL, D_FFN],
    }
    return {f"model.layers.{layer}.{name}.weight": shape for name, shape in shapes.items()}


def shards():
    """Names and shapes of each shard's tensors."""
    yield {"model.embed_tokens.weight": [VOCAB, D_MODEL]}
    for first in range(0, N_LAYERS, LAYERS_PER_SHARD):
        layers = range(first, min(first + LAYERS_PER_SHARD, N_LAYERS))
        yield {name: shape for layer in layers for name, shape in layer_shapes(layer).items()}
    yield {"model.norm.weight": [D_MODEL], "lm_head.weight": [VOCAB, D_MODEL]}


def draw(name, shape, generator):
    if len(shape) == 1:
        return torch.ones(shape, dtype=torch.bfloat16)
    std = {"model.embed_tokens.weight": 1.0, "lm_head.weight": 2.5 / shape[1] ** 0.5}.get(name, shape[1] ** -0.5)
    return torch.empty(shape, dtype=torch.bfloat16).normal_(0.0, std, generator=generator)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    folder = parser.parse_args().directory
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    all_shards = list(shards())
    weight_map, n_bytes = {}, 0
    for i, shapes in enumerate(all_shards):
        file = f"model-{i + 1:05}-of-{len(all_shards):05}.safetensors"
        tensors = {name: draw(name, shape, generator) for name, shape in shapes.items()}
        save_file(tensors, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(shapes, file)
        n_bytes += sum(tensor.nbytes for tensor in tensors.values())
        del tensors
    index = {"metadata": {"total_size": n_bytes}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
    tokenizer_files(folder)
    print(f"{n_bytes / 1e9:.2f} GB in {folder}")


if __name__ == "__main__":
    main()
