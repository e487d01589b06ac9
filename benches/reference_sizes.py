#!/usr/bin/env python3
"""Sizes of lmgc's baselines beside those of the tools that they stand for, on the same bytes.

    python3 -m venv venv && venv/bin/pip install numpy zstandard brotli Pillow soundfile pcodec fpzip zfpy
    target/release/lmgc bench --json *.safetensors > sizes.jsonl
    venv/bin/python benches/reference_sizes.py sizes.jsonl --json reference.jsonl

Of a safetensors file with tensors of F32 the tensors' bytes are taken, one after the other in the order of their offsets; of any
other file all bytes. Lines of `lmgc bench` count where `settings.scope` is `whole` or `tensor`, or `chunks` with `--chunk-bytes N`;
then every piece of N bytes is compressed by itself, here as there. The exit code is 1 where a size is beyond its limit.

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


def pieces(path, scope, chunk_bytes):
    """What a codec sees at once of a file: bytes and shape, by scope."""
    data = Path(path).read_bytes()
    tensors = [(data, (len(data) // 4,))]
    if str(path).endswith(".safetensors"):
        (header_len,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + header_len])
        header.pop("__metadata__", None)
        assert all(t["dtype"] == "F32" for t in header.values()), f"{path} has tensors of other types than F32"
        data = data[8 + header_len :]
        in_order = sorted(header.values(), key=lambda t: t["data_offsets"])
        tensors = [(data[slice(*t["data_offsets"])], tuple(t["shape"])) for t in in_order]
    if scope == "tensor":
        return [tensor for tensor in tensors if tensor[0]]
    whole = b"".join(data for data, _ in tensors)
    step = chunk_bytes if scope == "chunks" else max(len(whole), 1)
    cut = [whole[at : at + step] for at in range(0, len(whole), step)]
    return [(piece, (len(piece) // 4,)) for piece in cut]


def planes(data, element_bytes=4):
    whole = len(data) // element_bytes * element_bytes
    return b"".join(data[i:whole:element_bytes] for i in range(element_bytes)) + data[whole:]


def gzip_9(data, shape=None):
    return len(gzip.compress(data, 9, mtime=0))


def xz_6(data, shape=None):
    return len(lzma.compress(data))


def split_xz_6(data, shape=None):
    return 1 + xz_6(planes(data))


def bzip2_9(data, shape=None):
    return len(bz2.compress(data, 9))


def zstd_19(data, shape=None):
    import zstandard

    return len(zstandard.ZstdCompressor(level=19).compress(data))


def split_zstd_19(data, shape=None):
    return 1 + zstd_19(planes(data))


def bitshuffle_zstd_19(data, shape=None):
    import numpy as np

    n = len(data) // 32 * 32
    elements = np.frombuffer(data[:n], np.uint8).reshape(-1, 4)
    bits = np.unpackbits(elements, axis=1, bitorder="little").T
    return 1 + zstd_19(np.packbits(bits, axis=1, bitorder="little").tobytes() + data[n:])


def brotli_11(data, shape=None):
    import brotli

    return len(brotli.compress(data, quality=11, lgwin=22))


def png_9(data, shape=None):
    from PIL import Image

    height = next(side for side in range(math.isqrt(len(data)), 0, -1) if len(data) % side == 0)
    file = io.BytesIO()
    Image.frombytes("L", (len(data) // height, height), data).save(file, "PNG", optimize=True)
    return file.tell()


def flac_8(data, shape=None):
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


def values_of(data, shape):
    import numpy as np

    # A copy, because fpzip wants to be able to write.
    return np.frombuffer(data, np.float32, count=len(data) // 4).reshape(shape).copy()


def pco_12(data, shape):
    from pcodec import ChunkConfig, standalone

    return len(standalone.simple_compress(values_of(data, shape).ravel(), ChunkConfig(compression_level=12))) + len(data) % 4


def fpzip_lossless(data, shape):
    """In the tensor's shape; the slowest of more than four dimensions are folded. lmgc writes a byte for their number."""
    import fpzip

    values = values_of(data, (-1,) + shape[-3:] if len(shape) > 4 else shape)
    return 1 + len(fpzip.compress(values, precision=0, order="C")) + len(data) % 4


def zfp_reversible(data, shape):
    """One run whatever the shape, as lmgc has it, without the header of zfpy."""
    import zfpy

    return len(zfpy.compress_numpy(values_of(data, shape).ravel(), write_header=False)) + len(data) % 4


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
    "pco": ("pcodec, level 12", pco_12, TENTH_PERCENT),
    "fpzip": ("fpzip", fpzip_lossless, TENTH_PERCENT),
    "zfp": ("zfpy, reversible", zfp_reversible, TENTH_PERCENT),
}


def versions():
    found = {"zlib": zlib.ZLIB_RUNTIME_VERSION}
    for name in ["zstandard", "brotli", "Pillow", "soundfile", "pcodec", "fpzip", "zfpy"]:
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
    print(f"{'input':40}{'codec':17}{'scope':8}{'raw':>10}{'lmgc':>10}{'reference':>11}{'by %':>9}{'bytes':>9}  limit kept")
    scopes = ["chunks"] if args.chunk_bytes else ["whole", "tensor"]
    seen, lines, n_beyond = {}, [], 0
    for line in args.bench.read_text().splitlines():
        ours = json.loads(line)
        settings = ours.get("settings", {})
        scope = settings.get("scope")
        if scope not in scopes or ours["codec"] not in CODECS or ours.get("error"):
            continue
        if args.chunk_bytes and int(settings["chunk_bytes"]) != args.chunk_bytes:
            continue
        path = ours["input"]
        if (path, scope) not in seen:
            seen[path, scope] = pieces(path, scope, args.chunk_bytes)
        inputs = seen[path, scope]
        n_raw = sum(len(data) for data, _ in inputs)
        assert n_raw == ours["raw_bytes"], f"{path}: lmgc saw {ours['raw_bytes']} bytes, there are {n_raw}"
        name, function, (part, n_bytes) = CODECS[ours["codec"]]
        reference = sum(function(data, shape) for data, shape in inputs)
        difference = ours["compressed_bytes"] - reference
        is_kept = abs(difference) <= part * reference + n_bytes * len(inputs)
        n_beyond += not is_kept
        print(
            f"{Path(path).name:40}{ours['codec']:17}{scope:8}{n_raw:10}{ours['compressed_bytes']:10}{reference:11}"
            f"{100 * difference / reference:9.3f}{difference:9}  {'yes' if is_kept else 'NO'}",
            flush=True,
        )
        lines.append(
            {
                "input": path,
                "codec": ours["codec"],
                "scope": scope,
                "reference": name,
                "raw_bytes": n_raw,
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
