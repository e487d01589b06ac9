#!/usr/bin/env python3
"""Draws what the structural codec spends its bits on: a bar for each tensor, bits per value by field.

    python3 -m venv venv && venv/bin/pip install matplotlib
    for f in a b; do cargo run --release -p lmgc-codec --example fields -- $f.safetensors > $f.jsonl; done
    venv/bin/python benches/plot_fields.py --out fields.svg "A=a.jsonl" "B=b.jsonl"

Tensors of fewer than 1000 values share a bar. The same input gives the same bytes, with the same matplotlib.
"""

import argparse
import json
import re
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

# Field, label, colour: Okabe and Ito's (2008), in the order in which a value is coded.
FIELDS = [
    ("side_information", "side information", "#000000"),
    ("zero", "zero?", "#E69F00"),
    ("sign", "sign", "#CC79A7"),
    ("exponent", "exponent", "#D55E00"),
    ("mantissa", "mantissa, asked for", "#0072B2"),
    ("lowest_bit", "lowest set bit", "#009E73"),
    ("plain", "plain bits", "#B9DDF1"),
]
MIN_VALUES = 1000


def mean(name, tensors):
    """Tensors as one, by their numbers of values."""
    n = sum(t["values"] for t in tensors)
    merged = {"name": name, "values": n}
    for key in ["raw", *(key for key, _, _ in FIELDS)]:
        merged[key] = sum(t[key] * t["values"] for t in tensors) / n
    return merged


def in_order(tensor):
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"[.]", tensor["name"])]


def bars(path):
    """The file's mean, its large tensors, and the others as one."""
    tensors = [json.loads(line) for line in Path(path).read_text().splitlines()]
    large = sorted((t for t in tensors if t["values"] >= MIN_VALUES), key=in_order)
    small = [t for t in tensors if t["values"] < MIN_VALUES]
    for t in large:
        t["name"] += "  " + "×".join(map(str, t["shape"]))
    others = [mean(f"{len(small)} small tensors", small)] if small else []
    return [mean("whole file", tensors), *large, *others]


def draw(axes, title, rows):
    # A gap after the mean.
    places = [0, *(at + 0.5 for at in range(1, len(rows)))]
    left = [0.0] * len(rows)
    for key, label, colour in FIELDS:
        widths = [row[key] for row in rows]
        axes.barh(places, widths, 0.74, left, color=colour, label=label, linewidth=0)
        left = [a + b for a, b in zip(left, widths)]
    axes.barh(places, [row["raw"] for row in rows], 0.74, fill=False, edgecolor="#888888", linewidth=0.6)
    for place, total, row in zip(places, left, rows):
        weight = "bold" if place == 0 else "normal"
        axes.text(row["raw"] - 0.3, place, f"{total:.1f}", ha="right", va="center", fontsize=8, weight=weight)
    axes.set_yticks(places, [row["name"] for row in rows], fontsize=8)
    axes.get_yticklabels()[0].set_weight("bold")
    axes.set_ylim(places[-1] + 0.6, -0.6)
    axes.set_title(title, fontsize=10, loc="left", weight="bold")
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", metavar="TITLE=JSONL")
    parser.add_argument("--out", required=True, type=Path)
    arguments = parser.parse_args()

    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "fields", "font.family": "sans-serif"})
    panels = [(title, bars(path)) for title, path in (file.split("=", 1) for file in arguments.files)]
    heights = [len(rows) + 0.7 for _, rows in panels]
    figure, axes = plt.subplots(
        len(panels),
        sharex=True,
        squeeze=False,
        figsize=(8.5, 0.27 * sum(heights) + 0.5 * len(panels) + 1.0),
        gridspec_kw={"height_ratios": heights},
        layout="constrained",
    )
    for at, (axis, (title, rows)) in enumerate(zip(axes[:, 0], panels)):
        draw(axis, title, rows)
        axis.tick_params(axis="x", labelsize=8, labelbottom=at == len(panels) - 1)
        axis.set_xlim(0, max(row["raw"] for row in rows) + 0.2)
        axis.xaxis.set_major_locator(matplotlib.ticker.MultipleLocator(4))
    axes[-1, 0].set_xlabel("bits per value; outlines: as stored; numbers: all fields together", fontsize=9)
    # Where text is wider than here it must not be cut off.
    figure.get_layout_engine().set(w_pad=0.15)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8, frameon=False)
    figure.savefig(arguments.out, facecolor="white", metadata={"Date": None})


if __name__ == "__main__":
    main()
