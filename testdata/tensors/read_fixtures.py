"""Makes contents.json: the tensors of this folder's files as NumPy, PyTorch and safetensors themselves read them.

Run in this folder after make_fixtures.py, with the same versions:

    python read_fixtures.py

By file: the tensors (name, safetensors type name, shape, bytes in hex, little-endian and in the order of the shape), and
"refused": words of the error with which a file is refused that has no such tensors. Also makes again.pt and
conjugated.pt, and deflated_fortran.npz, whose contents differ from the spans that expected.json lists.
"""

import io
import json
import zipfile

import numpy as np
import torch
from safetensors import safe_open

from dtype_names import NUMPY_NAMES, TORCH_NAMES

RNG = np.random.default_rng(8)


def floats(*shape, dtype="<f4"):
    return RNG.standard_normal(shape).astype(dtype)


def of_array(name, array):
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(array.shape)
    return {"name": name, "dtype": NUMPY_NAMES[little.dtype.str[1:]], "shape": list(array.shape),
            "bytes": little.tobytes().hex()}


def of_tensor(name, tensor):
    flat = tensor.detach().contiguous().reshape(-1)
    data = bytes(flat.view(torch.uint8).tolist()) if flat.numel() else b""
    return {"name": name, "dtype": TORCH_NAMES[tensor.dtype], "shape": list(tensor.shape), "bytes": data.hex()}


def walk(path, value):
    if isinstance(value, torch.Tensor):
        yield of_tensor(".".join(path) or "data/0", value)
    elif isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, element in items:
            yield from walk([*path, str(key)], element)


def read_archive(name):
    archive = np.load(name)
    return [of_array(key, archive[key]) for key in archive.files]


def read_safetensors(name):
    with safe_open(name, "pt") as file:
        return [of_tensor(key, file.get_tensor(key)) for key in json.loads(file.metadata()["lmgc.parameter_order"])]


def make_more():
    tensor = torch.from_numpy(floats(2, 3))
    parameter = torch.nn.Parameter(tensor[0].clone())
    again = {"a": tensor, "b": tensor, "p": parameter, "step": 3, "q": [parameter, 0.5], "t": tensor.t()}
    pairs = torch.view_as_complex(torch.from_numpy(floats(3, 2)))
    mixed = {"f": np.asfortranarray(floats(2, 3, 4)), "big": floats(5, dtype=">f8"), "z": floats(2, 2).astype(">c8"),
             "zeros": np.zeros((20, 30), "<f2")}
    torch.save(again, "again.pt")
    torch.save({"z": pairs.conj()}, "conjugated.pt")
    with zipfile.ZipFile("deflated_fortran.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in mixed.items():
            data = io.BytesIO()
            np.save(data, array)
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data.getvalue())


def main():
    make_more()
    contents = {}
    for name in ["c_order", "fortran_order", "big_endian", "zero_dims", "empty", "version2"]:
        contents[f"{name}.npy"] = [of_array("arr_0", np.load(f"{name}.npy"))]
    for name in ["stored", "as_numpy_writes", "compressed", "zip64", "deflated_fortran"]:
        contents[f"{name}.npz"] = read_archive(f"{name}.npz")
    for name in ["nested.ckpt", "compressed.pt", "protocol4.pt", "protocol5.pt", "views.pt", "dtypes.pt", "lone.pt",
                 "big_endian.pt", "again.pt"]:
        contents[name] = list(walk([], torch.load(name, weights_only=False)))
    contents["mixed.safetensors"] = read_safetensors("mixed.safetensors")
    refused = {
        "conjugated.pt": "resolve_conj", "kinds.pt": "to_dense()", "legacy.pt": "before 1.6", "no_arrays.zip": "neither",
        "subbyte.safetensors": "narrower", "trailing.safetensors": "follow the header", "truncated.npy": "truncated",
        "mixed.gguf": "none of safetensors", "partly.npz": "truncated",
    }
    with open("contents.json", "w") as file:
        lines = [f"{json.dumps(name)}: {json.dumps({'tensors': tensors})}" for name, tensors in contents.items()]
        lines += [f"{json.dumps(name)}: {json.dumps({'refused': words})}" for name, words in refused.items()]
        file.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
