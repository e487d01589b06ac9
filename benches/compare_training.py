#!/usr/bin/env python3
"""Speed of one training step: PyTorch beside lmgc collect, on one machine, in one run, with the same networks.

    python3 -m venv venv && venv/bin/pip install torch
    cargo build --release
    venv/bin/python benches/compare_training.py --lmgc target/release/lmgc --json training.json

Both train on random data (lmgc on `--dataset synthetic`) in f32: batches of 128 images of 3x32x32 in 10 classes, cross entropy, and
the network's own optimiser: AdamW for the ViT, SGD with momentum 0.9 and weight decay 5e-4 for the others. A step is everything
from the images to the changed weights; for lmgc also the making of its batch and what else its loop does. The networks of PyTorch
are those of `crates/collect/tests/data/networks.py`.

In each round both take `--steps` steps, behind one that warms up, and the round's figure is the median step; which of them goes
first alternates. Reported are the medians over the rounds, in milliseconds a step, and lmgc's over PyTorch's. lmgc's times
come from the lines {"event":"step","images_per_s":...} of its log. Without lmgc (`--lmgc none`) only PyTorch is measured.
"""

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
N_CLASSES, CHANNELS, SIDE = 10, 3, 32


def torch_round(arch, options):
    """Milliseconds of each step but the first. Runs in a process of its own, so that no round leaves memory to the next."""
    import torch

    sys.path.insert(0, str(ROOT / "crates/collect/tests/data"))
    import networks

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    net = networks.build(arch, CHANNELS, N_CLASSES)
    if arch == "vit":
        decayed = [p for name, p in net.named_parameters() if p.dim() > 1 and name.endswith("weight")]
        others = [p for name, p in net.named_parameters() if not (p.dim() > 1 and name.endswith("weight"))]
        groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=4e-5)
    else:
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    times = []
    for _ in range(options.steps + 1):
        images = torch.randn(options.batch, CHANNELS, SIDE, SIDE)
        labels = torch.randint(N_CLASSES, (options.batch,))
        start = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()
        times.append((time.perf_counter() - start) * 1e3)
    return times[1:]


def run_torch(arch, options):
    command = [sys.executable, __file__, "--worker", arch]
    for name in ("steps", "batch", "threads"):
        command += [f"--{name}", str(getattr(options, name))]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def run_lmgc(arch, options):
    n_steps = options.steps + 1
    with tempfile.TemporaryDirectory() as folder:
        command = [options.lmgc, "collect", "--dataset", "synthetic", "--arch", arch, "--steps", n_steps, "--grad-interval", n_steps]
        command += ["--out", folder, *options.lmgc_args.split()]
        environment = os.environ | {"RAYON_NUM_THREADS": str(options.threads)}
        done = subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"lmgc collect --arch {arch} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
        log = Path(folder) / f"synthetic-{arch}" / "0" / "log.jsonl"
        if not log.exists():
            raise SystemExit(f"lmgc collect --arch {arch} left no {log.relative_to(folder)}")
        events = [json.loads(line) for line in log.read_text().splitlines() if line.strip()]
    times = [1e3 * options.batch / event["images_per_s"] for event in events if event.get("event") == "step"]
    if len(times) != n_steps:
        raise SystemExit(f"lmgc collect --arch {arch} logged {len(times)} steps of {n_steps}")
    return times[1:]


def machine(options):
    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search("model name\\s*: (.*)", cpuinfo)
    return {
        "cpu": model[1] if model else platform.processor(), "n_cpus": os.cpu_count(), "threads": options.threads,
        "load_before": os.getloadavg()[0], "python": platform.python_version(), "system": platform.platform(),
    }


def versions(options):
    code = "import torch; print(torch.__version__)"
    found = {"torch": subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()}
    if options.lmgc is not None:
        done = subprocess.run([options.lmgc, "--version"], check=True, stdout=subprocess.PIPE, text=True)
        found["lmgc"] = done.stdout.strip()
    return found


def find_lmgc(parser, given):
    if given == "none":
        return None
    built = ROOT / "target/release/lmgc"
    found = shutil.which(given) if given else shutil.which("lmgc") or (str(built) if built.exists() else None)
    if found is None:
        parser.error(f"no program {given or 'lmgc'}: name it with --lmgc, or leave it out with --lmgc none")
    return str(Path(found).resolve())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arch", nargs="*", default=["convnet", "vgg16", "resnet18", "vit"], help="networks (default: %(default)s)")
    parser.add_argument("--lmgc", help="the program (default: lmgc on PATH, or target/release/lmgc; none: PyTorch only)")
    parser.add_argument("--lmgc-args", default="", help="further arguments of lmgc collect")
    parser.add_argument("--steps", type=int, default=5, help="measured steps a round (default: 5)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--batch", type=int, default=128, help="images a step; lmgc's is 128 unless --lmgc-args changes it (default: 128)")
    parser.add_argument("--threads", type=int, default=2, help="threads of both (default: 2)")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.steps < 1 or options.rounds < 1:
        parser.error("at least one step and one round must be measured")
    if options.worker is not None:
        return print(json.dumps(torch_round(options.worker, options)))
    options.lmgc = find_lmgc(parser, options.lmgc)

    result = {"machine": machine(options), "versions": versions(options), "steps": options.steps, "batch": options.batch, "measured": []}
    engines = {"torch": run_torch} | ({"lmgc": run_lmgc} if options.lmgc is not None else {})
    for arch in options.arch:
        rounds = {engine: [] for engine in engines}
        for round in range(options.rounds):
            for engine in sorted(engines, reverse=round % 2 == 0):
                rounds[engine].append(engines[engine](arch, options))
                print(f"{arch}, round {round}: {engine} {statistics.median(rounds[engine][-1]):.0f} ms/step", file=sys.stderr)
        row = {"arch": arch, "ms_per_step": rounds}
        row["median"] = {engine: statistics.median(map(statistics.median, times)) for engine, times in rounds.items()}
        if "lmgc" in engines:
            row["ratio"] = row["median"]["lmgc"] / row["median"]["torch"]
        result["measured"].append(row)
    result["machine"]["load_after"] = os.getloadavg()[0]

    for part in ("machine", "versions"):
        for name, value in result[part].items():
            print(f"{name}: {value}")
    print(f"\n{'network':12} {'torch ms':>9} {'lmgc ms':>9} {'ratio':>6}   medians of {options.rounds} rounds of {options.steps} steps")
    for row in result["measured"]:
        lmgc = f"{row['median']['lmgc']:9.0f} {row['ratio']:6.2f}" if "ratio" in row else f"{'-':>9} {'-':>6}"
        print(f"{row['arch']:12} {row['median']['torch']:9.0f} {lmgc}")
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
