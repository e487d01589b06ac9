#!/usr/bin/env python3
"""Writes tiny models with random weights, one of every family, and what transformers gives with them in f32.

    pip install torch transformers tokenizers
    python make_tiny_models.py

See README.md. Every case is checked to be worth testing: with the feature that it stands for taken away, its logits differ.
"""

import json
import math
import shutil
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM

HERE = Path(__file__).parent
N_TOKENS = 600
ROWS = [0, 1, 33, 100, 599]
SPECIAL = ["<|endoftext|>", "<s>", "</s>", "<pad>"]
VOCAB = len(SPECIAL) + 256

COMMON = {
    "vocab_size": VOCAB, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048,
    "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False,
}
GPT2 = {
    "vocab_size": VOCAB, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 2048, "bos_token_id": 0, "eos_token_id": 0,
    "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
}
LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 256, "rope_theta": 500000.0,
}
PLAIN = {"rope_type": "default", "rope_theta": 10000.0}

# name: (configuration, type of the weights, seed, form of the folder, what the case stands for)
CASES = {
    "llama": (transformers.LlamaConfig(**COMMON), torch.bfloat16, 1, "as saved", None),
    "llama-sharded": (transformers.LlamaConfig(**COMMON), torch.bfloat16, 1, "sharded", None),
    "llama-f16": (transformers.LlamaConfig(**COMMON), torch.float16, 1, "as saved", None),
    "llama-tied-linear-rope": (
        transformers.LlamaConfig(**COMMON | {"tie_word_embeddings": True}, attention_bias=True, mlp_bias=True, rope_parameters=LINEAR),
        torch.float32, 2, "as saved", "rope",
    ),
    "llama3-rope": (
        transformers.LlamaConfig(**COMMON | {"num_attention_heads": 2, "num_key_value_heads": 1}, head_dim=32, rope_parameters=LLAMA3),
        torch.bfloat16, 3, "older config", "rope",
    ),
    "mistral": (
        transformers.MistralConfig(**COMMON, head_dim=16, sliding_window=64), torch.bfloat16, 4, "older config", "window",
    ),
    # Rows without a token at the end, as the published models have them.
    "qwen2": (transformers.Qwen2Config(**COMMON | {"vocab_size": 288}), torch.bfloat16, 5, "as saved", "biases"),
    "qwen3": (
        transformers.Qwen3Config(**COMMON | {"hidden_size": 96, "tie_word_embeddings": True}, head_dim=32),
        torch.float16, 6, "as saved", "head norms",
    ),
    "gpt2": (transformers.GPT2Config(**GPT2), torch.bfloat16, 7, "as saved", "biases"),
    "gpt2-bare-names": (
        transformers.GPT2Config(**GPT2 | {"n_layer": 1, "n_positions": 640, "n_head": 2}), torch.float16, 8, "bare names", "biases",
    ),
}


def draw(model, seed):
    """Draws all weights: distributions far from uniform, attention that looks at some positions more than at others."""
    generator = torch.Generator().manual_seed(seed)
    d_model = model.config.hidden_size
    gpt2 = model.config.model_type == "gpt2"
    tied = model.config.tie_word_embeddings

    def normal(shape, std, mean=0.0):
        return torch.randn(shape, generator=generator) * std + mean

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "ln_" in name:
                new = normal(parameter.shape, 0.3, 0.0 if name.endswith("bias") else 1.0)
                # A head's query and key norms decide how sharp its attention is.
                new = new * 1.5 if "q_norm" in name or "k_norm" in name else new
            elif name.endswith("bias"):
                new = normal(parameter.shape, 0.5)
            elif "lm_head" in name or (tied and ("embed_tokens" in name or "wte" in name)):
                new = normal(parameter.shape, 2.5 / d_model**0.5)
            elif "embed_tokens" in name:
                new = normal(parameter.shape, 1.0)
            elif "wpe" in name:
                new = normal(parameter.shape, 0.3)
            else:
                n_inputs = parameter.shape[0] if gpt2 else parameter.shape[1]
                new = normal(parameter.shape, 1.5 / n_inputs**0.5)
            # Of these values f16 and bf16 hold the same, so `llama` and `llama-f16` are one model.
            new = new.to(torch.bfloat16).float()
            parameter.copy_(torch.where(new.abs() < 2.0**-17, 0.0, new))


def tokenizer_files(folder):
    """GPT-2's byte level without merges: a token for every byte behind the special ones."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    characters = {byte: chr(byte) for byte in printable} | {byte: chr(0x100 + i) for i, byte in enumerate(others)}
    vocab = {token: id for id, token in enumerate(SPECIAL + [characters[byte] for byte in range(0x100)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    start = "<|endoftext|>" if folder.name.startswith("gpt2") else "<s>"
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": start}) + "\n")


def older_config(folder):
    """Rewrites config.json as transformers 4 wrote it, which is what most published models have."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def bare_names(folder):
    """Renames tensors as in the published gpt2: without the leading `transformer.`."""
    path = folder / "model.safetensors"
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})


def write(name):
    config, dtype, seed, form, _ = CASES[name]
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    draw(model, seed)
    model.to(dtype).save_pretrained(folder, max_shard_size="100KB" if form == "sharded" else "1GB")
    (folder / "generation_config.json").unlink(missing_ok=True)
    if form == "older config":
        older_config(folder)
    elif form == "bare names":
        bare_names(folder)
    tokenizer_files(folder)


def logits_of(model, ids):
    with torch.inference_mode():
        return model(ids[None], use_cache=False).logits[0].float()


def without(folder, feature):
    """The model with the feature taken away that its case stands for."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    if feature in ("rope", "window"):
        config = model.config
        if feature == "rope":
            config.rope_parameters = PLAIN | {"rope_theta": config.rope_parameters["rope_theta"]}
        else:
            config.sliding_window = None
        state = model.state_dict()
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
        model.load_state_dict(state)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if feature == "biases" and name.endswith("bias"):
                parameter.zero_()
            elif feature == "head norms" and ("q_norm" in name or "k_norm" in name):
                parameter.fill_(1.0)
    return model


def main():
    expected_folder = HERE / "expected"
    shutil.rmtree(expected_folder, ignore_errors=True)
    expected_folder.mkdir()
    ids = torch.randint(VOCAB, (N_TOKENS,), generator=torch.Generator().manual_seed(0))
    (expected_folder / "ids.bin").write_bytes(ids.to(torch.int16).numpy().astype("<u2").tobytes())
    cases = {}
    for name, (*_, feature) in CASES.items():
        write(name)
        model = AutoModelForCausalLM.from_pretrained(HERE / name, dtype=torch.float32, attn_implementation="eager")
        logits = logits_of(model, ids)
        bits = torch.nn.functional.cross_entropy(logits[:-1].double(), ids[1:]).item() / math.log(2.0)
        (expected_folder / f"{name}.bin").write_bytes(logits[ROWS].numpy().astype("<f4").tobytes())
        cases[name] = {
            "vocab_size": logits.shape[1],
            "mean_bits_per_token": bits,
            "logits_standard_deviation": logits.std(dim=1).mean().item(),
        }
        if feature is not None:
            difference = (logits_of(without(HERE / name, feature), ids) - logits)[ROWS[2:]].pow(2).mean().sqrt().item()
            cases[name]["without"] = {"feature": feature, "logits_difference": difference}
            assert difference > 0.3 * cases[name]["logits_standard_deviation"], (name, feature, difference)
        print(name, cases[name])
    rows = {name: (expected_folder / f"{name}.bin").read_bytes() for name in ("llama", "llama-sharded", "llama-f16")}
    assert len(set(rows.values())) == 1
    result = {
        "n_tokens": N_TOKENS, "logits_rows": ROWS, "torch": torch.__version__, "transformers": transformers.__version__, "cases": cases,
    }
    (expected_folder / "expected.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
