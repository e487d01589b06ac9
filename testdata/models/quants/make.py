"""Random blocks of every readable GGML type with their values by PyPI's gguf: blocks.bin, values.bin.

Run with gguf 0.19.0 and numpy 2.4: python make.py
"""

import pathlib

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize

N_BLOCKS = 3
# Where the f16 scales (and minima) of a block lie, in bytes.
SCALES = {
    Type.Q4_0: [0],
    Type.Q4_1: [0, 2],
    Type.Q5_0: [0],
    Type.Q5_1: [0, 2],
    Type.Q8_0: [0],
    Type.Q2_K: [80, 82],
    Type.Q3_K: [108],
    Type.Q4_K: [0, 2],
    Type.Q5_K: [0, 2],
    Type.Q6_K: [208],
}

random = np.random.default_rng(20261126)
blocks, values = [], []
for kind, places in SCALES.items():
    n_bytes = GGML_QUANT_SIZES[kind][1]
    data = random.integers(0, 256, (N_BLOCKS, n_bytes), dtype=np.uint8)
    for place in places:
        scales = random.normal(0, 0.01, N_BLOCKS).astype("<f2")
        data[:, place : place + 2] = scales.view(np.uint8).reshape(N_BLOCKS, 2)
    blocks.append(data.tobytes())
    values.append(dequantize(data, kind).astype("<f4").tobytes())

folder = pathlib.Path(__file__).parent
(folder / "blocks.bin").write_bytes(b"".join(blocks))
(folder / "values.bin").write_bytes(b"".join(values))
