"""Writes two tokenizers with hand-made vocabularies for tests, and ids that transformers gives with them.

    pip install tokenizers transformers
    python make_small_tokenizers.py

byte_level/ is made like SmolLM2's (GPT-2's byte level, every digit alone), sentence_piece/ like Llama 2's (a dummy space
in front, bytes as fallback, merges that follow from the order of the tokens).
"""

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

HERE = Path(__file__).parent
TEXTS = [
    "", "0", "3f800001 ab", "3f, 80, 00", "faceface0x00", "  face", " a", "\x04a\x06\x93b", "<|im_start|>ab<s></s>",
    "\t\tab", "<0x0A>", "<unk>é\xa0ÿ\n", "ab    cd",
]


def byte_characters():
    """GPT-2's characters for all bytes."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(0x100 + i) for i, byte in enumerate(others)}


def byte_level():
    characters = byte_characters()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>"]
    # Lost, as SmolLM2 loses some: control characters; and a continuation byte, so that characters are torn apart.
    lost = [0x04, 0x06, 0x13, 0x14, 0x16, 0x1D, 0x93]
    vocab = special + [characters[byte] for byte in range(0x100) if byte not in lost]
    merges = [
        ("a", "b"), ("f", "a"), ("c", "e"), ("fa", "ce"), ("Ġ", "a"), ("Ġ", "Ġ"), ("f", "f"), ("Ġ", "f"), (",", "Ġ"),
        ("<", "|"), ("|", ">"), ("e", "d"), ("b", "e"), ("Ã", "©"), ("Ã", "¿"), ("Â", "ł"), ("s", ">"),
    ]
    vocab += ["".join(merge) for merge in merges]
    added = "\t\t"
    vocab.append(added)
    tokenizer = Tokenizer(models.BPE(vocab={token: id for id, token in enumerate(vocab)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    tokenizer.add_tokens([AddedToken(added, normalized=False, special=False)])
    # Both would lose data if they were heeded.
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(pad_id=0, pad_token=special[0], length=64)
    return tokenizer, "<|im_start|>"


def sentence_piece():
    special = ["<unk>", "<s>", "</s>"]
    pieces = "▁ 0 1 2 3 4 5 6 7 8 9 a b c d e f x , ; < > s / é ÿ".split(" ")
    made = "▁▁ 00 ff ▁3 3f 80 ▁0 0000 ab ▁ab fa ce face ▁face ,▁ 0x s> <s ▁3f ▁3f80 ▁▁▁▁".split(" ")
    vocab = special + [f"<0x{byte:02X}>" for byte in range(0x100)] + made + pieces
    ids = {token: id for id, token in enumerate(vocab)}
    # SentencePiece: the earlier a token stands, the sooner it is made; of several ways, the one with the longer left part.
    merges = [
        (token[:at], token[at:])
        for token in made
        for at in range(len(token) - 1, 0, -1)
        if token[:at] in ids and token[at:] in ids
    ]
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0),
    ])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    return tokenizer, "<s>"


def main():
    for name, (tokenizer, start_token) in {"byte_level": byte_level(), "sentence_piece": sentence_piece()}.items():
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        definition = json.loads(tokenizer.to_str())
        (folder / "tokenizer.json").write_text(json.dumps(definition, ensure_ascii=False, indent=1) + "\n")
        (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": start_token}) + "\n")
        tokenizer.no_truncation()
        tokenizer.no_padding()
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
        expected = [[text, fast.encode(text, add_special_tokens=False, split_special_tokens=True)] for text in TEXTS]
        lines = ",\n".join(json.dumps(pair) for pair in expected)
        (folder / "expected.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
