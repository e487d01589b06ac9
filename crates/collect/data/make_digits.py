"""Writes digits.bin, the data behind the `digits` data set, from scikit-learn's copy.

    python -m pip install scikit-learn && python make_digits.py

One record of 65 bytes an image, 1797 records in scikit-learn's order: the label
(0 to 9), then 8 x 8 grey values (0 to 16), row by row. digits.LICENSE.md says
whose data it is.
"""

import pathlib

import numpy as np
from sklearn.datasets import load_digits

digits = load_digits()
pixels = digits.data.reshape(-1, 64)
assert pixels.shape == (1797, 64) and (pixels == pixels.astype(np.uint8)).all()
assert pixels.min() == 0 and pixels.max() == 16
records = np.concatenate([digits.target[:, None], pixels], axis=1).astype(np.uint8)
pathlib.Path(__file__).with_name("digits.bin").write_bytes(records.tobytes())
