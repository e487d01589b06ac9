#!/usr/bin/env python3
"""Sizes of lmgc's baselines beside those of the tools that they stand for, on the same bytes.

    python3 -m venv venv && venv/bin/pip install safetensors numpy zstandard brotli Pillow soundfile
    target/release/lmgc bench --json *.safetensors > sizes.jsonl
    venv/bin/python benches/reference_sizes.py sizes.jsonl --json reference.jsonl

Of a safetensors file the tensors' bytes are taken, one after the other in the order of their offsets; of any other file all
bytes. Lines of `lmgc bench` count where `settings.scope` is `whole`, or `chunked` with `--chunk-bytes N`; then every piece of N
bytes is compressed by itself, here as there. The programs' exit code is 1 where a size is beyond its limit.

A new codec is one function and one row of CODECS.
"""

import argparse
import bz2
import gzip
import importlib.metadata
import io
import json
import lzma
import math
import struct
import sys
import zlib
from pathlib import Path


def tensor_bytes(path):
    """The bytes that lmgc's codecs see of a file."""
    data = Path(path).read_bytes()
    if not str(path).endswith(".safetensors"):
        return data
    (header_len,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + header_len])
    offsets = sorted(t["data_offsets"] for name, t in header.items() if name != "__metadata__")
    return b"".join(data[8 + header_len + start : 8 + header_len + end] for start, end in offsets)


def planes(data, element_bytes=4):
    whole = len(data) // element_bytes * element_bytes
    return b"".join(data[i:whole:element_bytes] for i in range(element_bytes)) + data[whole:]


def gzip_9(data):
    return len(gzip.compress(data, 9, mtime=0))


def xz_6(data):
    return len(lzma.compress(data))


def split_xz_6(data):
    return 1 + xz_6(planes(data))


def bzip2_9(data):
    return len(bz2.compress(data, 9))


def zstd_19(data):
    import zstandard

    return len(zstandard.ZstdCompressor(level=19).compress(data))


def split_zstd_19(data):
    return 1 + zstd_19(planes(data))


def bitshuffle_zstd_19(data):
    import numpy as np

    n = len(data) // 32 * 32
    elements = np.frombuffer(data[:n], np.uint8).reshape(-1, 4)
    bits = np.unpackbits(elements, axis=1, bitorder="little").T
    return 1 + zstd_19(np.packbits(bits, axis=1, bitorder="little").tobytes() + data[n:])


def brotli_11(data):
    import brotli

    return len(brotli.compress(data, quality=11, lgwin=22))


def png_9(data):
    from PIL import Image

    height = next(side for side in range(math.isqrt(len(data)), 0, -1) if len(data) % side == 0)
    file = io.BytesIO()
    Image.frombytes("L", (len(data) // height, height), data).save(file, "PNG", optimize=True)
    return file.tell()


def flac_8(data):
    """libFLAC at its highest level, without the metadata that it adds: comments and padding."""
    import numpy as np
    import soundfile

    file = io.BytesIO()
    # soundfile scales 16-bit samples down to 8 bits.
    samples = (np.frombuffer(data, np.uint8).astype(np.int16) - 128) << 8
    soundfile.write(file, samples, 16000, format="FLAC", subtype="PCM_S8", compression_level=1.0)
    stream = file.getvalue()
    size, at, is_last = 4, 4, False
    while not is_last:
        is_last, kind = stream[at] >> 7, stream[at] & 0x7F
        block_len = 4 + int.from_bytes(stream[at + 1 : at + 4], "big")
        size += block_len if kind == 0 else 0
        at += block_len
    file.seek(0)
    back, _ = soundfile.read(file, dtype="int16")
    assert (back == samples).all(), "libFLAC did not see the samples that it was given"
    return size + len(stream) - at


TENTH_PERCENT = (0.001, 32)
TWO_PERCENT = (0.02, 0)

# Codec: what it is compared with, how, and the limit: a part of the reference size, and bytes.
CODECS = {
    "gzip": (f"gzip -9 (zlib {zlib.ZLIB_RUNTIME_VERSION})", gzip_9, TENTH_PERCENT),
    "lzma": ("xz -6 (Python's lzma)", xz_6, TENTH_PERCENT),
    "split-xz": ("planes, xz -6", split_xz_6, TENTH_PERCENT),
    "bzip2": ("bzip2 -9 (Python's bz2)", bzip2_9, TENTH_PERCENT),
    "zstd": ("zstandard, level 19", zstd_19, TENTH_PERCENT),
    "split-zstd": ("planes, zstandard, level 19", split_zstd_19, TENTH_PERCENT),
    "bitshuffle-zstd": ("bit planes, zstandard, level 19", bitshuffle_zstd_19, TENTH_PERCENT),
    "brotli": ("brotli, quality 11, window 22", brotli_11, TENTH_PERCENT),
    "png": ("Pillow, optimize", png_9, TWO_PERCENT),
    "flac": ("libFLAC, highest level", flac_8, TWO_PERCENT),
}


def versions():
    found = {"zlib": zlib.ZLIB_RUNTIME_VERSION}
    for name in ["zstandard", "brotli", "Pillow", "soundfile"]:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", type=Path, help="output of lmgc bench --json")
    parser.add_argument("--chunk-bytes", type=int, help="compare pieces of this many bytes instead of the whole")
    parser.add_argument("--json", type=Path, help="write a line a comparison to this file")
    args = parser.parse_args()

    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    print(f"{'input':44}{'codec':17}{'raw':>10}{'lmgc':>10}{'reference':>11}{'by %':>9}{'bytes':>9}  limit kept")
    data, lines, n_beyond = {}, [], 0
    for line in args.bench.read_text().splitlines():
        ours = json.loads(line)
        settings = ours.get("settings", {})
        scope = "chunked" if args.chunk_bytes else "whole"
        if settings.get("scope") != scope or ours["codec"] not in CODECS:
            continue
        if args.chunk_bytes and int(settings["chunk_bytes"]) != args.chunk_bytes:
            continue
        path = ours["input"]
        if path not in data:
            data[path] = tensor_bytes(path)
        raw = data[path][: ours["raw_bytes"]]
        assert len(raw) == ours["raw_bytes"], f"{path}: lmgc saw {ours['raw_bytes']} bytes, there are {len(raw)}"
        name, function, (part, n_bytes) = CODECS[ours["codec"]]
        step = args.chunk_bytes or max(len(raw), 1)
        reference = sum(function(raw[at : at + step]) for at in range(0, len(raw), step))
        difference = ours["compressed_bytes"] - reference
        is_kept = abs(difference) <= part * reference + n_bytes * math.ceil(len(raw) / step)
        n_beyond += not is_kept
        print(
            f"{Path(path).name:44}{ours['codec']:17}{len(raw):10}{ours['compressed_bytes']:10}{reference:11}"
            f"{100 * difference / reference:9.3f}{difference:9}  {'yes' if is_kept else 'NO'}",
            flush=True,
        )
        lines.append(
            {
                "input": path,
                "codec": ours["codec"],
                "scope": scope,
                "reference": name,
                "raw_bytes": len(raw),
                "compressed_bytes": ours["compressed_bytes"],
                "reference_bytes": reference,
                "limit_kept": is_kept,
            }
        )
    if args.json:
        args.json.write_text("".join(json.dumps({**line, "versions": versions()}) + "\n" for line in lines))
    if not lines:
        sys.exit("no line of the bench has a codec of this table and this scope")
    sys.exit(1 if n_beyond else 0)


if __name__ == "__main__":
    main()
