"""Makes the small tensor files of this folder, and expected.json, which says what each holds.

Run in this folder, with numpy 2.4.6, torch 2.15.0, safetensors 0.8.0 and gguf 0.19.0:

    python make_fixtures.py

expected.json has, by file: the format, the tensors (name, safetensors type name, shape in memory order, bytes in hex)
in parameter order, and words that the note must hold (null: there must be no note). The bytes come from the arrays,
not from the files. Everything is seeded; only legacy.pt, which names storages by address, changes from run to run.
"""

import io
import json
import struct
import zipfile
from collections import OrderedDict

import gguf
import numpy as np
import torch
from safetensors.numpy import save as save_numpy
from safetensors.torch import save as save_torch

from dtype_names import NUMPY_NAMES, TORCH_NAMES

RNG = np.random.default_rng(7)
EXPECTED = {}


def floats(*shape, dtype="<f4"):
    return RNG.standard_normal(shape).astype(dtype)


def from_numpy(name, array):
    """What is expected of an array in C order and little-endian."""
    return from_bytes(name, NUMPY_NAMES[array.dtype.str[1:]], array.shape, array.tobytes())


def from_torch(name, tensor):
    """What is expected of a contiguous tensor."""
    data = bytes(tensor.contiguous().reshape(-1).view(torch.uint8).tolist()) if tensor.numel() else b""
    return from_bytes(name, TORCH_NAMES[tensor.dtype], tensor.shape, data)


def from_bytes(name, dtype, shape, data):
    return {"name": name, "dtype": dtype, "shape": list(shape), "bytes": data.hex()}


def write(name, data, format, tensors, note=None):
    with open(name, "wb") as file:
        file.write(data)
    EXPECTED[name] = {"format": format, "tensors": tensors, "note": note}


def write_raw(name, data, note):
    write(name, data, "raw", [from_bytes("", "U8", [len(data)], data)], note)


def saved(save, *args, **kwargs):
    buffer = io.BytesIO()
    save(buffer, *args, **kwargs)
    return buffer.getvalue()


def rezipped(archive, compression=zipfile.ZIP_STORED, change=lambda name, data: data):
    """The same members, written by Python's zipfile with a fixed time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(buffer, "w", compression) as new:
        for info in old.infolist():
            new_info = zipfile.ZipInfo(info.filename)
            new_info.compress_type = compression
            new.writestr(new_info, change(info.filename, old.read(info)))
    return buffer.getvalue()


def make_safetensors():
    tensors = OrderedDict(
        w=torch.from_numpy(floats(3, 5)), b=torch.from_numpy(floats(3)).bfloat16(), scale=torch.tensor(2.5),
        empty=torch.zeros(0, 4), mask=torch.tensor([True, False, True]), ids=torch.arange(4), e=torch.ones(2).half(),
    )
    order = ["w", "b", "scale", "empty", "mask", "ids", "e"]
    metadata = {"lmgc.parameter_order": json.dumps(order), "step": "400"}
    write("mixed.safetensors", save_torch(tensors, metadata), "safetensors", [from_torch(k, tensors[k]) for k in order])
    # float4_e2m1fn_x2: two elements a byte.
    header = json.dumps({"q": {"dtype": "F4", "shape": [2, 4], "data_offsets": [0, 4]}}).encode()
    header += b" " * (-len(header) % 8)
    data = struct.pack("<Q", len(header)) + header + b"\x01\x23\x45\x67"
    write("subbyte.safetensors", data, "safetensors", [from_bytes("q", "U8", [4], b"\x01\x23\x45\x67")], "narrower")
    hole = save_numpy({"a": floats(4)})
    write_raw("trailing.safetensors", hole + b"\0", "follow the header")


def make_npy():
    array = floats(3, 4)
    write("c_order.npy", saved(np.save, array), "npy", [from_numpy("arr_0", array)])
    fortran = from_bytes("arr_0", "F32", [4, 3], array.tobytes(order="F"))
    write("fortran_order.npy", saved(np.save, np.asfortranarray(array)), "npy", [fortran], "Fortran")
    big = array.astype(">f4")
    write("big_endian.npy", saved(np.save, big), "npy", [from_bytes("arr_0", "U8", [3, 4, 4], big.tobytes())], "4 bytes each")
    scalar = np.array(1.5, "<f8")
    write("zero_dims.npy", saved(np.save, scalar), "npy", [from_numpy("arr_0", scalar)])
    empty = np.zeros((0, 3), "<f2")
    write("empty.npy", saved(np.save, empty), "npy", [from_numpy("arr_0", empty)])
    text = np.array(["ab", "c"])
    write("text.npy", saved(np.save, text), "npy", [from_bytes("arr_0", "U8", [2, 8], text.tobytes())], "8 bytes each")
    # A field name outside Latin-1 makes a header of version 3.0.
    struct_array = np.array([(1, 2.0), (3, 4.0)], dtype=[("\u03c0", "<i2"), ("y", "<f4")])
    expected = from_bytes("arr_0", "U8", [12], struct_array.tobytes())
    write("structured.npy", saved(np.save, struct_array), "npy", [expected], "plain type")
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=(2, 0))
    write("version2.npy", buffer.getvalue() + b"more", "npy", [from_numpy("arr_0", array)], "4 bytes of something else")
    write_raw("truncated.npy", saved(np.save, array)[:-1], "truncated")


def make_npz():
    arrays = {"a": floats(2, 3), "layer/b": np.arange(5, dtype="<i8"), "scalar": np.array(True), "none": np.zeros(0, "<f4")}
    expected = [from_numpy(name, array) for name, array in arrays.items()]
    stored = rezipped(saved(np.savez, **arrays))
    write("stored.npz", stored, "npz", expected)
    write("as_numpy_writes.npz", saved(np.savez, **arrays), "npz", expected)
    write("compressed.npz", rezipped(stored, zipfile.ZIP_DEFLATED), "npz", [], "4 arrays are compressed")

    limits = zipfile.ZIP64_LIMIT, zipfile.ZIP_FILECOUNT_LIMIT
    zipfile.ZIP64_LIMIT, zipfile.ZIP_FILECOUNT_LIMIT = 16, 1
    zip64 = rezipped(stored)
    zipfile.ZIP64_LIMIT, zipfile.ZIP_FILECOUNT_LIMIT = limits
    assert b"PK\x06\x06" in zip64
    write("zip64.npz", zip64, "npz", expected)

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("packed.npy")
        info.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(info, saved(np.save, np.zeros(64)))
        archive.writestr(zipfile.ZipInfo("broken.npy"), b"\x93NUMPY\x01")
        archive.writestr(zipfile.ZipInfo("readme.txt"), b"not an array")
        archive.writestr(zipfile.ZipInfo("plain.npy"), saved(np.save, arrays["a"]))
        archive.comment = b"PK\x05\x06 is how a comment may begin, too"
    tensors = [from_bytes("broken", "U8", [7], b"\x93NUMPY\x01"), from_numpy("plain", arrays["a"])]
    write("partly.npz", buffer.getvalue(), "npz", tensors, "1 arrays are compressed")

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("readme.txt"), b"no arrays here")
    write_raw("no_arrays.zip", buffer.getvalue(), "neither")


def save_checkpoint(obj, **kwargs):
    return saved(lambda buffer: torch.save(obj, buffer, **kwargs))


def make_torch():
    def tensor(*shape):
        return torch.from_numpy(floats(*shape))

    state = OrderedDict([("conv.weight", tensor(2, 1, 3, 3)), ("conv.bias", tensor(2).bfloat16()),
                         ("scale", torch.tensor(0.5, dtype=torch.float64)), ("empty", torch.zeros(0, 4))])
    # More than ten storages, so that the order of their names as text is not the order of pickling.
    for n in range(9):
        state[f"block.{n}"] = tensor(3)
    momentum, step, parameter = tensor(2).half(), torch.tensor(3.0), torch.nn.Parameter(tensor(4))
    listed = [tensor(1), tensor(2)]
    checkpoint = {"epoch": 3, "big": 1 << 80, "lr": 0.1, "tag": "x", "done": None, "seen": {1, 2}, "raw": b"bytes",
                  "state_dict": state, "ema": parameter, "listed": listed,
                  "optimizer": {"state": {0: {"momentum_buffer": momentum, "step": step}}, "param_groups": [{"params": [0]}]}}
    tensors = [from_torch(f"state_dict.{name}", value) for name, value in state.items()]
    tensors += [from_torch("ema", parameter.detach())]
    tensors += [from_torch(f"listed.{n}", value) for n, value in enumerate(listed)]
    tensors += [from_torch("optimizer.state.0.momentum_buffer", momentum), from_torch("optimizer.state.0.step", step)]
    nested = save_checkpoint(checkpoint)
    write("nested.ckpt", nested, "torch", tensors)
    write("protocol4.pt", save_checkpoint(checkpoint, pickle_protocol=4), "torch", tensors)
    write("protocol5.pt", save_checkpoint(checkpoint, pickle_protocol=5), "torch", tensors)
    write("compressed.pt", rezipped(nested, zipfile.ZIP_DEFLATED), "torch", [], "data.pkl is compressed")
    legacy = save_checkpoint(state, _use_new_zipfile_serialization=False)
    write_raw("legacy.pt", legacy, "before 1.6")

    flat = torch.arange(24, dtype=torch.float32)
    base, last = tensor(4, 6), tensor(2, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    transposed, strided, expanded = tensor(2, 3), tensor(6), tensor(1)
    views = OrderedDict([
        ("tied_a", base), ("tied_b", base.view(6, 4)), ("column", base[:, 1]),
        ("head", flat[2:8].view(2, 3)), ("tail", flat[12:24]), ("overlap", flat[6:14]), ("nothing", flat[5:5]),
        ("transposed", transposed.t()), ("channels_last", last), ("strided", strided[::2]), ("expanded", expanded.expand(5)),
    ])
    tensors = [from_torch("tied_a", base), from_torch("head", flat[2:8].view(2, 3)), from_torch("tail", flat[12:24]),
               from_bytes("nothing", "F32", [0], b""), from_torch("transposed", transposed),
               from_torch("channels_last", last.permute(0, 2, 3, 1)),
               from_torch("data/1[0:2]", flat[:2]), from_torch("data/1[8:12]", flat[8:12]),
               from_torch("data/4", strided), from_torch("data/5", expanded)]
    note = "2 tensors share bytes with an earlier one"
    write("views.pt", save_checkpoint(views), "torch", tensors, note)

    def sixteen_bytes(dtype):
        data = torch.arange(16, dtype=torch.uint8)
        return data.remainder(2).bool() if dtype == torch.bool else data.view(dtype)

    # A storage must have one type, and a view of bytes keeps theirs.
    typed = OrderedDict((name, sixteen_bytes(dtype).clone()) for dtype, name in TORCH_NAMES.items())
    write("dtypes.pt", save_checkpoint(typed), "torch", [from_torch(name, value) for name, value in typed.items()])

    module = torch.nn.Sequential(OrderedDict(first=torch.nn.Linear(2, 3, bias=False), norm=torch.nn.BatchNorm1d(2)))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(tensor(*parameter.shape))
    paths = {"first.weight": "_modules.first._parameters.weight"}
    paths |= {f"norm.{name}": f"_modules.norm._parameters.{name}" for name in ("weight", "bias")}
    paths |= {f"norm.{name}": f"_modules.norm._buffers.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    values = module.state_dict()
    write("module.pt", save_checkpoint(module), "torch", [from_torch(path, values[name]) for name, path in paths.items()])

    tagged = tensor(3)
    tagged.extra = tensor(2)
    sparse = torch.tensor([[0.0, 2.0], [3.0, 0.0]]).to_sparse()
    quantized = torch.quantize_per_tensor(torch.tensor([1.0, 2.0, 3.0]), 0.5, 0, torch.qint8)
    bare = torch.arange(3, dtype=torch.int16).untyped_storage()
    kinds = [tagged, sparse, quantized, {"bare": bare}, tensor(2).view(2, 1)]
    tensors = [from_torch("0", tagged), from_torch("0.extra", tagged.extra),
               from_torch("1.1.0", sparse.indices()), from_torch("1.1.1", sparse.values()),
               from_torch("2", quantized.int_repr()), from_torch("4", kinds[4]),
               from_bytes("data/5", "U8", [6], bytes(bare.tolist()))]
    write("kinds.pt", save_checkpoint(kinds), "torch", tensors)
    write("lone.pt", save_checkpoint(tagged.clone()), "torch", [from_torch("data/0", tagged.clone())])

    little = {"w": tensor(2, 3), "byte": torch.arange(3, dtype=torch.uint8)}

    def swapped(name, data):
        if name.endswith("/byteorder"):
            return b"big"
        return np.frombuffer(data, "<f4").astype(">f4").tobytes() if name.endswith("/data/0") else data

    tensors = [from_bytes("w", "U8", [2, 3, 4], little["w"].numpy().astype(">f4").tobytes()), from_torch("byte", little["byte"])]
    write("big_endian.pt", rezipped(save_checkpoint(little), change=swapped), "torch", tensors, "big-endian")


def make_gguf():
    writer = gguf.GGUFWriter("mixed.gguf", "llama")
    writer.add_custom_alignment(64)
    for kind, value in (("uint8", 8), ("int8", -8), ("uint16", 16), ("int16", -16), ("uint32", 32), ("int32", -32),
                        ("uint64", 1 << 40), ("int64", -(1 << 40)), ("float32", 0.5), ("float64", 0.25), ("bool", True),
                        ("string", "text")):
        getattr(writer, f"add_{kind}")(f"test.{kind}", value)
    writer.add_array("test.strings", ["a", "", "\u00e9"])
    writer.add_array("test.numbers", [1, 2, 3])
    expected = []
    for name in ("f8", "f4", "f2", "i8", "i4", "i2", "i1"):
        array = np.arange(6).reshape(2, 3).astype("<" + name)
        writer.add_tensor(name, array)
        expected.append(from_numpy(name, array))
    for kind in (gguf.GGMLQuantizationType.BF16, gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_1):
        data = gguf.quants.quantize(floats(2, 64), kind)
        writer.add_tensor(kind.name, data, raw_dtype=kind)
        is_plain = kind == gguf.GGMLQuantizationType.BF16
        expected.append(from_bytes(kind.name, "BF16" if is_plain else "U8", [2, 64] if is_plain else [data.nbytes], data.tobytes()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    EXPECTED["mixed.gguf"] = {"format": "gguf", "tensors": expected, "note": "1 of Q4_1, 1 of Q8_0"}


if __name__ == "__main__":
    for make in (make_safetensors, make_npy, make_npz, make_torch, make_gguf):
        torch.manual_seed(7)
        make()
    with open("expected.json", "w") as file:
        json.dump(EXPECTED, file, indent=1)
        file.write("\n")
