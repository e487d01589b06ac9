#!/usr/bin/env python3
"""Collect gradients for benchmarks: every architecture, early and late, with lmgc itself.

    cargo build --release
    python3 benches/collect_gradients.py --lmgc target/release/lmgc --out DIR

usage: collect_gradients.py --out DIR [--lmgc PROGRAM] [--only NAME]... [--data DIR] [--threads N]

Needs nothing but lmgc. A run trains an architecture on `synthetic` (3x32x32) or on `digits` (or `mnist`, with --data) for as many
steps as its size allows on two cores, and keeps the gradients of an early step and of its last one: the table RUNS says
which. --only takes runs by a part of their name, for instance `--only vit --only digits`. A run that was cut off goes on when
the script is run again, and one that is done is left as it is; the same machine makes the same bits. All of it takes hours on
two cores, most of it the deep ResNets, and 2 GB; the files stay out of git. What was made is listed in DIR/collected.jsonl.
"""
import argparse
import json
import pathlib
import shutil
import subprocess
import sys

# Data set, architecture, early step, last step. A run writes every `early` steps; what lies between is removed.
RUNS = [
    ("synthetic", "convnet", 20, 400),
    ("synthetic", "vgg11", 20, 200),
    ("synthetic", "vgg13", 20, 200),
    ("synthetic", "vgg16", 20, 200),
    ("synthetic", "vgg19", 20, 100),
    ("synthetic", "resnet18", 20, 100),
    ("synthetic", "resnet18bn", 20, 100),
    ("synthetic", "resnet34", 10, 60),
    ("synthetic", "resnet50", 10, 40),
    ("synthetic", "resnet101", 5, 20),
    ("synthetic", "resnet152", 5, 15),
    ("synthetic", "vit", 10, 60),
    ("digits", "convnet", 20, 1200),
    ("digits", "vgg16", 20, 120),
    ("digits", "resnet18", 20, 100),
    ("digits", "vit", 5, 25),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--lmgc", default="lmgc")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--data", type=pathlib.Path, metavar="DIR", help="MNIST's files: takes mnist in place of digits")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    program = shutil.which(options.lmgc)
    if program is None:
        sys.exit(f"no program {options.lmgc}: build it with `cargo build --release`, or give --lmgc")

    options.out.mkdir(parents=True, exist_ok=True)
    lines = []
    for dataset, arch, early, last in RUNS:
        if options.data and dataset == "digits":
            dataset = "mnist"
        name = f"{dataset}-{arch}"
        if options.only and not any(part in name for part in options.only):
            continue
        command = [program, "collect", "--dataset", dataset, "--arch", arch, "--out", str(options.out)]
        command += ["--steps", str(last), "--grad-interval", str(early), "--model-interval", "0"]
        if dataset == "mnist":
            command += ["--data", str(options.data)]
        if options.threads:
            command += ["--threads", str(options.threads)]
        print(" ".join(command), flush=True)
        subprocess.run(command, check=True)
        grads = options.out / name / "0" / "grads"
        kept = {f"grad_{step:08}.safetensors": step for step in (early, last)}
        for path in sorted(grads.iterdir()):
            if path.name not in kept:
                path.unlink()
                continue
            fact = {"file": str(path.relative_to(options.out)), "step": kept[path.name], "bytes": path.stat().st_size}
            lines.append(json.dumps({"dataset": dataset, "arch": arch, **fact}))
    (options.out / "collected.jsonl").write_text("".join(line + "\n" for line in lines))


if __name__ == "__main__":
    main()
