#!/usr/bin/env python3
"""Random odd files, written by Python's own libraries, through lmgc and back.

    python3 -m venv venv && venv/bin/pip install numpy torch safetensors gguf ml_dtypes
    cargo build --release
    venv/bin/python benches/check_python_files.py --lmgc target/release/lmgc --files 600 --json odd.jsonl

Safetensors, npy, npz, PyTorch and GGUF files in turn, of random element types, shapes, nestings, names, alignments and ways of
saving, drawn by `--seed`. Each file is compressed with the next of the codecs and a random level, decompressed,
compared with the original byte by byte, and loaded with the library that wrote it. Where it is known what bytes a tensor has,
one such tensor is restored alone and compared, too. A codec of numbers may refuse a file (exit code 1); it is then compressed
with `auto`.

Printed are the files by format and codec, what lmgc took for another format than the writer's, and all failures. The exit code
is 1 if there is a failure. `--keep FOLDER` keeps the files of failures. The kinds of file stand in odd_python_files.py.
"""

import argparse
import collections
import io
import json
import random
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import torch

from odd_python_files import KINDS, SELDOM

CODECS = [
    "auto", "fast", "structural", "zstd", "pco", "split-zstd", "gzip", "lzma", "bzip2", "split-xz", "bitshuffle-zstd", "brotli",
    "png", "flac", "fields0", "raw", "fpzip", "zfp",
]
MAY_REFUSE = {"fpzip", "zfp"}
REFUSED_BY_LIBRARIES = collections.Counter()


class Failure(Exception):
    """Something that lmgc did wrong."""


class Check:
    def __init__(self, lmgc, folder):
        self.lmgc = lmgc
        self.folder = folder

    def run(self, *arguments, may_refuse=False):
        done = subprocess.run([self.lmgc, *arguments], capture_output=True, check=False)
        if may_refuse and done.returncode == 1 and b" refuses: " in done.stderr:
            return None
        if done.returncode != 0:
            raise Failure(f"exit code {done.returncode} of {arguments[:4]}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def check(self, made, codec, level, rng):
        """Codec that coded the file, what lmgc says the file is, and its note; or a failure."""
        original = self.folder / f"original{made.suffix}"
        packed, restored, alone = (self.folder / name for name in ("packed.lmgc", f"restored{made.suffix}", "tensor"))
        original.write_bytes(made.data)
        for codec_now in (codec, "auto"):
            arguments = ("compress", "--json", "-f", f"-{level}", "--codec", codec_now, str(original), "-o", str(packed))
            said = self.run(*arguments, may_refuse=codec_now in MAY_REFUSE)
            if said is not None:
                break
        self.run("decompress", "-q", "-f", str(packed), "-o", str(restored))
        if restored.read_bytes() != made.data:
            raise Failure("the restored file is another")
        made.load(restored.read_bytes())
        inspected = json.loads(self.run("inspect", "--json", str(packed)))
        if made.format == inspected["file_format"]:
            listed = [tensor["name"] for tensor in inspected["tensors"]]
            known = {name: data for name, data in made.tensors.items() if data is not None and listed.count(name) < 2}
            if known:
                name = rng.choice(sorted(known))
                self.run("decompress", "-q", "-f", str(packed), f"--tensor={name}", "-o", str(alone))
                if alone.read_bytes() != known[name]:
                    raise Failure(f"tensor {name!r} alone is another")
        return codec_now, inspected["file_format"], json.loads(said)["note"]


def make(generate, rng):
    """The next file of a kind. What a library itself refuses to save or to read again is drawn anew."""
    for _ in range(100):
        torch.manual_seed(rng.randrange(1 << 32))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made = generate(rng)
                made.load(made.data)
                return made
        except Exception as error:
            REFUSED_BY_LIBRARIES[f"{generate.__name__}: {type(error).__name__}: {error}".splitlines()[0][:110]] += 1
    raise SystemExit(f"nothing comes of {generate.__name__}: {REFUSED_BY_LIBRARIES}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lmgc", default="target/release/lmgc", help="the program")
    parser.add_argument("--files", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", help="write a line for each file here")
    parser.add_argument("--keep", help="folder for the files of failures")
    options = parser.parse_args()

    round_of_kinds = [generate for generate, n in KINDS for _ in range(n)] + SELDOM
    by_kind, by_codec, otherwise, failures = (collections.Counter() for _ in range(4))
    log = open(options.json, "w") if options.json else io.StringIO()
    n_bytes = 0
    with log, tempfile.TemporaryDirectory() as folder:
        check = Check(options.lmgc, Path(folder))
        for n in range(options.files):
            rng = random.Random(options.seed * 1_000_003 + n)
            made = make(round_of_kinds[n * 7 % len(round_of_kinds)], rng)
            codec, level = CODECS[n % len(CODECS)], rng.choice([1, 5, 9])
            line = {"n": n, "kind": made.kind, "codec": codec, "level": level, "bytes": len(made.data)}
            by_kind[made.kind] += 1
            n_bytes += len(made.data)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    used, format, note = check.check(made, codec, level, rng)
                by_codec[codec if used == codec else f"{codec} refused, auto"] += 1
                line |= {"used": used, "format": format, "note": note}
                if format != made.format:
                    otherwise[f"{made.kind} taken for {format}: {re.sub('offset [0-9]+', 'offset N', str(note))}"] += 1
            except Exception as error:
                line |= {"failure": f"{type(error).__name__}: {error}"}
                failures[f"file {n} ({made.kind}, {codec} -{level}): {line['failure']}"] += 1
                if options.keep:
                    Path(options.keep).mkdir(parents=True, exist_ok=True)
                    Path(options.keep, f"{options.seed}-{n}{made.suffix}").write_bytes(made.data)
            print(json.dumps(line), file=log)

    print(f"{options.files} files, {n_bytes} bytes, seed {options.seed}")
    for title, counts in (("by kind", by_kind), ("by codec", by_codec), ("of another format", otherwise),
                          ("drawn anew, since the library itself refused", REFUSED_BY_LIBRARIES), ("FAILURES", failures)):
        print(f"{title}: {len(failures)}" if counts is failures else f"{title}:")
        for what, count in sorted(counts.items()):
            print(f"  {count:5} {what}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
