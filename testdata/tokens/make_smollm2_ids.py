"""Writes smollm2_ids.jsonl: hashes of the ids that transformers gives for serialised chunks.

    pip install blake3 gguf tokenizers transformers
    python make_smollm2_ids.py SmolLM2-135M-Instruct.gguf smollm2_ids.jsonl

The tokenizer is put together from the GGUF file's tokens and merges with the pre-tokenizer of SmolLM2's own
tokenizer.json (every digit alone, then GPT-2's byte level). transformers' own GGUF conversion is not used: it leaves
out the digits' part. Chunks follow from a formula (see chunk_bytes), so only hashes are stored.
"""

import json
import sys

import blake3
import gguf
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

SEPARATORS = {
    "hex-none": "", "hex-space": " ", "hex-comma": ",", "hex-comma+space": ", ", "hex-semicolon": ";",
    "hex-0x": "0x", "iso": "", "iso-space": " ", "iso-comma+space": ", ",
}
GROUP_SIZES = [1, 2, 3, 4, 8]
CHUNKS_PER_SETTING = 24
CHUNK_BYTES = 512
MASK = (1 << 64) - 1
SNIPPETS = [
    b"<|im_start|>", b"<|endoftext|>", b"<repo_name>", b"  ", b"\n\n\t", b"don't we'll", b" 1234.5e-6", b"\xe9t\xe9 \xa0",
    b"\x04\x06\x13\x14\x16\x1d", b"the gradient of", b"\xff\xfe\x00", b", , 0x0x",
]


def splitmix64(state):
    """A generator of 64-bit numbers; Steele, Lea and Flood 2014."""
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
        yield z ^ z >> 31


def chunk_bytes(setting, index):
    """Chunk number `index` for the format and group size number `setting`."""
    random = splitmix64(setting << 32 | index)
    length = 1 + next(random) % CHUNK_BYTES if index % 3 == 2 else CHUNK_BYTES
    data = bytearray()
    while len(data) < length:
        number = next(random)
        kind = index % 4
        if kind == 0:  # noise
            data += number.to_bytes(8, "little")
        elif kind == 1:  # like gradients: f32 with random sign and mantissa, exponents around 2**-10
            exponent = 105 + (number >> 32 & 0xFFF).bit_count()
            data += ((number >> 63) << 31 | exponent << 23 | number & 0x7FFFFF).to_bytes(4, "little")
        elif kind == 2:  # mostly zeros
            data += (number >> 8 & 0xFF if number % 8 == 0 else 0).to_bytes(1, "little")
        else:  # text, with what spells special tokens
            data += SNIPPETS[number % len(SNIPPETS)]
    return bytes(data[:length])


def serialize(data, format, group_size):
    encode = bytes.hex if format.startswith("hex") else lambda group: group.decode("latin-1")
    groups = [data[start : start + group_size] for start in range(0, len(data), group_size)]
    return SEPARATORS[format].join(map(encode, groups))


def smollm2_tokenizer(path):
    fields = gguf.GGUFReader(path).fields
    assert fields["tokenizer.ggml.pre"].contents() == "smollm"
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    types = fields["tokenizer.ggml.token_type"].contents()
    backend = Tokenizer(models.BPE(vocab={token: id for id, token in enumerate(tokens)}, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    backend.decoder = decoders.ByteLevel()
    control = [AddedToken(token, normalized=False, special=True) for token, type in zip(tokens, types) if type == 3]
    backend.add_special_tokens(control)
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def main(gguf_path, out_path):
    tokenizer = smollm2_tokenizer(gguf_path)
    converted = AutoTokenizer.from_pretrained(gguf_path.rpartition("/")[0] or ".", gguf_file=gguf_path.rpartition("/")[2])
    n_chunks = n_different = 0
    with open(out_path, "w") as out:
        for setting, (format, group_size) in enumerate((f, g) for f in SEPARATORS for g in GROUP_SIZES):
            all_bytes, chunks = blake3.blake3(), []
            for index in range(CHUNKS_PER_SETTING):
                data = chunk_bytes(setting, index)
                all_bytes.update(data)
                text = serialize(data, format, group_size)
                ids = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
                hash = blake3.blake3(b"".join(id.to_bytes(4, "little") for id in ids)).hexdigest()[:16]
                chunks.append([len(ids), hash])
                n_chunks += 1
                n_different += converted.encode(text, add_special_tokens=False, split_special_tokens=True) != ids
            line = {
                "format": format, "bytes_per_group": group_size,
                "chunks_blake3": all_bytes.hexdigest()[:16], "n_ids_and_blake3": chunks,
            }
            print(json.dumps(line, separators=(",", ":")), file=out)
    print(f"{n_chunks} chunks; transformers' own GGUF conversion differs on {n_different}", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
