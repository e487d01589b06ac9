"""Makes the odd ones among the tensor files of this folder, and expected_odd.json, which says what each holds.

Run in this folder, with numpy 2.4.6, torch 2.15.0, safetensors 0.8.0, gguf 0.19.0 and ml_dtypes 0.6.0:

    python make_odd_fixtures.py

They are what the libraries can write and seldom do: rare element types, empty tensors, names that need escapes, alignments
other than the usual, archives written as a stream. Those put together by hand are read by the library here. expected_odd.json
is like expected.json, one file a line. Only names.safetensors, whose metadata the library puts down in any order, changes from
run to run.
"""

import argparse
import datetime
import io
import json
import os
import struct
import tempfile
import warnings
import zipfile
from collections import OrderedDict

import gguf
import ml_dtypes
import numpy as np
import safetensors
import torch
from safetensors.numpy import load as load_numpy
from safetensors.numpy import save as save_numpy
from torch.utils.serialization import config as serialization_config

from make_fixtures import EXPECTED, from_bytes, from_numpy, from_torch, save_checkpoint, saved, write, write_raw

RNG = np.random.default_rng(11)


def floats(*shape, dtype="<f4"):
    return RNG.standard_normal(shape).astype(dtype)


def tensor(*shape):
    return torch.from_numpy(floats(*shape))


def header_of(entries):
    return json.dumps(entries, ensure_ascii=False).encode()


def make_safetensors():
    # The types that the library knows by name, each with the twelve bytes 0 to 11 or the part of them that it needs.
    names = {
        "bool": "BOOL", "int8": "I8", "uint8": "U8", "int16": "I16", "uint16": "U16", "int32": "I32", "uint32": "U32",
        "float16": "F16", "bfloat16": "BF16", "float32": "F32", "complex64": "C64", "float8_e4m3fn": "F8_E4M3",
        "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2": "F8_E5M2", "float8_e5m2fnuz": "F8_E5M2FNUZ", "float8_e8m0fnu": "F8_E8M0",
    }
    element_bytes = {"bool": 1, "complex64": 8} | {name: int(name[-2:]) // 8 for name in names if name[-2:] in ("16", "32")}
    data = {name: np.arange(12, dtype=np.uint8) for name in names}
    data["bool"] %= 2
    data["complex64"] = data["complex64"][:8]
    shapes = {name: [1, len(data[name]) // element_bytes.get(name, 1)] for name in names}
    specs = {
        name: safetensors.TensorSpec(dtype=name, shape=shapes[name], data_ptr=data[name].ctypes.data, data_len=data[name].nbytes)
        for name in names
    }
    order = list(names)
    metadata = {"lmgc.parameter_order": json.dumps(order)}
    expected = [from_bytes(name, names[name], shapes[name], data[name].tobytes()) for name in order]
    write("all_types.safetensors", bytes(safetensors.serialize(specs, metadata)), "safetensors", expected)

    # Two elements of F4 a byte, as PyTorch gives them to the library.
    narrow = {"q": torch.arange(6, dtype=torch.uint8).view(torch.float4_e2m1fn_x2), "w": torch.ones(2)}
    narrow_file = safetensors.torch.save(narrow)
    expected = [from_torch("w", narrow["w"]), from_bytes("q", "U8", [6], bytes(range(6)))]
    write("float4.safetensors", narrow_file, "safetensors", expected, "narrower")

    # Those at one place are listed by name.
    empties = {"a": np.zeros((0,), "<f4"), "b": np.zeros((3, 0, 2), "<f4"), "c": floats(2), "d": np.zeros((0, 0), "<f4"),
               "e": np.zeros((0, 7), "<i8"), "f": np.array(7, "<i2"), "g": np.zeros((1, 0), "|u1")}
    expected = [from_numpy(name, empties[name]) for name in "abecdfg"]
    write("empty_tensors.safetensors", save_numpy(empties), "safetensors", expected)

    named = {name: np.array([n], "|u1") for n, name in enumerate(
        ["", " ", ".", "..", "a/b/../c", "a\\b", "a\"b", "tab\tnew\nline", "null\0", "gr\u00f6\u00dfe", "\u68af\u5ea6", "\U0001f600", "__metadata__ ",
         "e\u0301", "\u00e9", "x" * 300])}
    metadata = {f"key {n}": "v" * n for n in range(20)} | {"": "", "\u03c0": "\"\\/\b\f\n\r\t\u2028", "json": "{\"a\": [1, null]}"}
    expected = [from_numpy(name, named[name]) for name in sorted(named)]
    write("names.safetensors", save_numpy(named, metadata), "safetensors", expected)

    write("no_tensors.safetensors", save_numpy({}), "safetensors", [])
    write("only_metadata.safetensors", save_numpy({}, {"format": "np"}), "safetensors", [])

    # Neither length of the header nor place of any tensor is a multiple of its elements, and tensors are named from the last to the first.
    arrays = OrderedDict(c=floats(3), b=np.arange(3, dtype="|u1"), a=floats(2, 2, dtype="<f8"))
    places = {"c": (35, 47), "b": (32, 35), "a": (0, 32)}
    kinds = {"c": "F32", "b": "U8", "a": "F64"}
    entries = {name: {"shape": array.shape, "data_offsets": places[name], "dtype": kinds[name]} for name, array in arrays.items()}
    header = header_of(entries | {"__metadata__": {"z": "last"}}) + b"\n \t"
    header += b" " * ((len(header) + 1) % 2)
    data = struct.pack("<Q", len(header)) + header + b"".join(arrays[name].tobytes() for name in "abc")
    assert len(header) % 2 == 1
    loaded = load_numpy(data)
    assert all((loaded[name] == array).all() for name, array in arrays.items())
    write("unaligned.safetensors", data, "safetensors", [from_numpy(name, arrays[name]) for name in "abc"])


def swapped_bytes(name, array):
    """What is expected of an array whose elements are given as bytes."""
    return from_bytes(name, "U8", [*array.shape, array.itemsize], array.tobytes())


def odd_arrays():
    """Arrays of odd types, what is expected of each under its name, and words of the note."""
    made = []

    def add(name, array, expected, note=None):
        made.append((name, array, expected, note))

    def add_as_bytes(name, array):
        add(name, array, swapped_bytes(name, array), "bytes each")

    cube = floats(2, 3, 4, dtype="<f2")
    add("fortran_3d", np.asfortranarray(cube), from_bytes("fortran_3d", "F16", [4, 3, 2], cube.tobytes(order="F")), "Fortran")
    square = floats(2, 3, dtype=">f8")
    add("fortran_big", np.asfortranarray(square), from_bytes("fortran_big", "U8", [3, 2, 8], square.tobytes(order="F")), "Fortran")
    empty = np.zeros((2, 0, 3), "<f4", order="F")
    add("fortran_empty", empty, from_bytes("fortran_empty", "F32", [2, 0, 3], b""))
    add_as_bytes("big_int", np.arange(-2, 3, dtype=">i2"))
    add_as_bytes("big_complex", (floats(2) + 1j).astype(">c8"))
    add_as_bytes("big_scalar", np.array(3, ">i8"))
    for name, array in (("bool", np.eye(3, dtype="?")), ("complex64", (floats(2, 2) - 2j).astype("<c8")),
                        ("complex128", np.array(1 + 2j)), ("half", floats(5, dtype="<f2")), ("u64", np.array([[1 << 63]], "<u8"))):
        add(name, array, from_numpy(name, array))
    # Written out, since the padding of a number is not.
    add_as_bytes("long_double", np.frombuffer(bytes(range(32)), np.longdouble))
    add_as_bytes("bytes", np.array([b"ab", b"c"]))
    add_as_bytes("text", np.array([["\u03c0", "long"]]))
    add_as_bytes("nothing_wide", np.array(["", ""], "<U0"))
    add_as_bytes("times", np.array(["2024-02-29", "NaT"], "<M8[ns]"))
    add_as_bytes("spans", np.array([1, 2], ">m8[25s]"))
    add_as_bytes("void", np.frombuffer(b"abcdef", "|V3"))
    for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2", "int4"):
        add_as_bytes(name, np.array([[1, 2], [3, -1]], getattr(ml_dtypes, name)))
    nested = np.zeros(2, [("a", "<f4", (2, 2)), ("b", [("c", "|u1"), ("d", ">i2")])])
    nested["a"] = floats(2, 2)
    add("nested", nested, from_bytes("nested", "U8", [nested.nbytes], nested.tobytes()), "plain type")
    padded = np.zeros((), np.dtype([("a", "|u1"), ("b", "<f8")], align=True))
    add("padded", padded, from_bytes("padded", "U8", [padded.nbytes], padded.tobytes()), "plain type")
    return made


def array_file(array, **kwargs):
    # NumPy warns of types that it writes as bytes.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return saved(np.save, array, **kwargs)


def make_npy():
    for name, array, expected, note in odd_arrays():
        if name in ("fortran_3d", "fortran_big", "bool", "complex128", "times", "bfloat16", "nested"):
            write(f"{name}.npy", array_file(array), "npy", [expected | {"name": "arr_0"}], note)
    objects = np.array([{"a": [1, 2]}, None, "text", datetime.date(2024, 2, 29)], dtype=object)
    data = array_file(objects, allow_pickle=True)
    pickled = data[data.index(b"\n") + 1 :]
    write("objects.npy", data, "npy", [from_bytes("arr_0", "U8", [len(pickled)], pickled)], "plain type")
    # As another program may write it: keys in another order, without the padding.
    array = floats(3)
    text = b'{"shape":(3,),"descr":"<f4","fortran_order":False}'
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + array.tobytes()
    assert (np.load(io.BytesIO(data)) == array).all()
    write("unpadded.npy", data, "npy", [from_numpy("arr_0", array)])


class Stream(io.RawIOBase):
    """A file that cannot be gone back in, like a pipe."""

    def __init__(self):
        self.data = b""

    def writable(self):
        return True

    def write(self, data):
        self.data += bytes(data)
        return len(data)

    def tell(self):
        raise OSError("a stream has no place")


def streamed(save, *args, **kwargs):
    stream = Stream()
    save(stream, *args, **kwargs)
    return stream.data


def make_npz():
    made = odd_arrays()
    arrays = {name: array for name, array, _, _ in made}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = saved(np.savez, **arrays)
    write("odd_arrays.npz", data, "npz", [expected for _, _, expected, _ in made], "more remarks")

    arrays = {"w": floats(2, 3), "none": np.zeros((0, 2), "<f4"), "deep/er/b": np.arange(3), "": np.array(True),
              "gr\u00f6\u00dfe/\u68af\u5ea6": floats(1), "back\\slash": floats(1), "x.npy": floats(1), "y" * 200: np.zeros(0)}
    expected = [from_numpy(name, array) for name, array in arrays.items()]
    stream = streamed(np.savez, **arrays)
    assert stream[6] & 8, "the lengths stand behind the data"
    write("streamed.npz", stream, "npz", expected)
    compressed = streamed(np.savez_compressed, **arrays)
    write("streamed_compressed.npz", compressed, "npz", [], "8 arrays are compressed")

    # Every way to compress, and two members of one name.
    buffer = io.BytesIO()
    expected = []
    with zipfile.ZipFile(buffer, "w", allowZip64=True) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_STORED)
        for n, kind in enumerate(kinds):
            info = zipfile.ZipInfo("twice.npy" if kind == zipfile.ZIP_STORED else f"{n}.npy")
            info.compress_type = kind
            info.comment = b"comment"
            info.extra = struct.pack("<HH3s", 0xCAFE, 3, b"abc")
            array = floats(2)
            archive.writestr(info, saved(np.save, array))
            if kind == zipfile.ZIP_STORED:
                expected.append(from_numpy("twice", array))
        archive.comment = "\u68af\u5ea6".encode() * 20
    write("mixed.npz", buffer.getvalue(), "npz", expected, "3 arrays are compressed")

    # An archive of no arrays is the end of one alone.
    write("no_arrays.npz", saved(np.savez), "raw", [from_bytes("", "U8", [22], saved(np.savez))])


class Attribute:
    """An object with a tensor, as a training script may keep it."""

    def __init__(self, value):
        self.value = value


def adam_state():
    """The state dict of Adam after a step, without the optimiser's own arithmetic."""
    parameters = [torch.nn.Parameter(tensor(2, 3)), torch.nn.Parameter(tensor(3))]
    optimizer = torch.optim.Adam([{"params": parameters[:1]}, {"params": parameters[1:], "lr": 0.1}], amsgrad=True)
    for parameter in parameters:
        optimizer.state[parameter] = {
            "step": torch.tensor(1.0), "exp_avg": tensor(*parameter.shape), "exp_avg_sq": tensor(*parameter.shape).abs(),
            "max_exp_avg_sq": tensor(*parameter.shape).bfloat16(),
        }
    return parameters, optimizer.state_dict()


def make_torch():
    parameters, optimizer = adam_state()
    model = OrderedDict([("w", parameters[0]), ("b", parameters[1]), ("w_again", parameters[0])])
    shared = tensor(12)
    layers = [(shared[:4], {"half": shared[4:10].view(2, 3), "last": [shared[11]]}), (), {"empty": {}, "none": tensor(0)}]
    checkpoint = {"model": model, "optimizer": optimizer, "layers": layers, "args": argparse.Namespace(lr=0.1, tag=None),
                  "best": float("inf"), "object": Attribute(tensor(2)), "epoch": 7}
    expected = [from_torch("model.w", parameters[0].detach()), from_torch("model.b", parameters[1].detach())]
    for n in range(2):
        expected += [from_torch(f"optimizer.state.{n}.{name}", value) for name, value in optimizer["state"][n].items()]
    expected += [from_torch("layers.0.0", shared[:4]), from_torch("layers.0.1.half", shared[4:10].view(2, 3)),
                 from_torch("layers.0.1.last.0", shared[11]), from_torch("layers.2.none", layers[2]["none"]),
                 from_torch("object.value", checkpoint["object"].value)]
    leftover = [from_torch("data/10[10:11]", shared[10:11])]
    write("optimizer.ckpt", save_checkpoint(checkpoint), "torch", expected + leftover)

    # Keys that are no names, and names that need care.
    tensors = [torch.tensor([float(n)]) for n in range(9)]
    keys = [0, "0", -1, None, (1, 2), "", "a.b", "\u68af/\u5ea6\n", "x" * 600]
    names = ["0", "0", "-1", "3", "4", "", "a.b", "\u68af/\u5ea6\n", "8"]
    expected = [from_torch(name or "data/5", value) for name, value in zip(names, tensors)]
    write("keys.pt", save_checkpoint(dict(zip(keys, tensors))), "torch", expected)

    # Types for which there is no name in safetensors.
    untyped = [torch.arange(8, dtype=torch.uint8).view(kind)
               for kind in (torch.float4_e2m1fn_x2, torch.complex32, torch.bits8, torch.bits16)]
    expected = [from_bytes(f"data/{n}", "U8", [8], bytes(range(8))) for n in range(4)]
    write("untyped.pt", save_checkpoint(untyped), "torch", expected)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows, columns, values = torch.tensor([0, 1, 2]), torch.tensor([1, 0]), tensor(2)
        csr = torch.sparse_csr_tensor(rows, columns, values, (2, 2))
        scales, zeros = torch.tensor([0.5, 0.25], dtype=torch.float64), torch.tensor([0, 1])
        by_channel = torch.quantize_per_channel(tensor(2, 2), scales, zeros, 0, torch.quint8)
        ragged = torch.nested.nested_tensor([tensor(1), tensor(2)])
        pairs = torch.view_as_complex(tensor(2, 2))
        meta = torch.ones(5, device="meta")
        kinds = {"csr": csr, "channels": by_channel, "ragged": ragged, "conjugate": pairs.conj(), "meta": meta}
        expected = [from_torch("csr.1.0", rows), from_torch("csr.1.1", columns), from_torch("csr.1.2", values)]
        data = save_checkpoint(kinds)
    parts = [ragged.values(), ragged._nested_tensor_size(), ragged._nested_tensor_strides(), ragged._nested_tensor_storage_offsets()]
    expected += [from_torch("channels", by_channel.int_repr())] + [from_torch(f"ragged.{n}", part) for n, part in enumerate(parts)]
    # The elements as they lie there, before the conjugation.
    expected += [from_torch("conjugate", pairs), from_torch("data/4", scales), from_torch("data/5", zeros)]
    write("more_kinds.pt", data, "torch", expected)

    write("no_tensors.pt", save_checkpoint({"step": 1, "array": np.arange(3), "size": torch.Size([2]), "type": torch.float16}), "torch", [])
    write("none.pt", save_checkpoint(None), "torch", [])

    values = {"a": tensor(3), "b": tensor(1).half(), "none": torch.zeros(0), "scalar": torch.tensor(True)}
    expected = [from_torch(name, value) for name, value in values.items()]
    for alignment in (1, 256):
        with serialization_config.patch("save.storage_alignment", alignment):
            write(f"aligned_{alignment}.pt", save_checkpoint(values), "torch", expected)
    torch.serialization.set_crc32_options(False)
    write("no_checksums.pt", save_checkpoint(values), "torch", expected)
    torch.serialization.set_crc32_options(True)
    # Under a path the members lie in a folder of its name.
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "gr\u00f6\u00dfe 1.data.pkl")
        torch.save(values, path)
        with open(path, "rb") as file:
            write("unicode_folder.pt", file.read(), "torch", expected)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.nn.Module()
        module.weight = torch.nn.Parameter(tensor(2, 2))
        module.register_buffer("mean", tensor(2).half())
        module = torch.jit.script(module)
        # From a text, since of a function the archive names the file.
        module.define("def forward(self, x):\n    return self.weight @ x + torch.tensor([1.0])\n")
        buffer = io.BytesIO()
        torch.jit.save(module, buffer, _extra_files={"notes.txt": "extra"})
    expected = [from_torch("weight", module.weight.detach()), from_torch("mean", module.mean)]
    write("script.pt", buffer.getvalue(), "torch", expected)
    assert os.getcwd().encode() not in buffer.getvalue()


def write_gguf(name, tensors, alignment=None, metadata=lambda writer: None, endianess=gguf.GGUFEndian.LITTLE):
    """Writes (name, array, GGML type or None) tensors."""
    writer = gguf.GGUFWriter(name, "odd", endianess=endianess)
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    metadata(writer)
    for tensor_name, array, kind in tensors:
        writer.add_tensor(tensor_name, array.copy(), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_gguf():
    kinds = gguf.GGMLQuantizationType
    cases = [("vector", floats(3), None), ("", floats(1), None), ("n" * 100, floats(2, dtype="<f2"), None),
             ("\u68af\u5ea6/ \n", np.arange(5, dtype="<i2"), None), ("four", floats(2, 1, 3, 2, dtype="<f8"), None), ("scalar", np.array(1, "|i1"), None)]
    expected = [from_numpy(name, array) for name, array, _ in cases]
    for alignment in (8, 256):
        write_gguf(f"aligned_{alignment}.gguf", cases, alignment)
        EXPECTED[f"aligned_{alignment}.gguf"] = {"format": "gguf", "tensors": expected, "note": None}

    def all_values(writer):
        writer.add_key_value("nested", [[1, 2], [3]], gguf.GGUFValueType.ARRAY)
        writer.add_key_value("deep", [[["a"], ["\u03c0", ""]]], gguf.GGUFValueType.ARRAY)
        writer.add_array("floats", [0.5, float("-inf"), float("nan")])
        writer.add_array("bools", [True, False])
        writer.add_array("bytes", b"abc")
        for kind in (gguf.GGUFValueType.UINT8, gguf.GGUFValueType.INT16, gguf.GGUFValueType.UINT64, gguf.GGUFValueType.FLOAT64):
            writer.add_key_value(f"of.{kind.name}", [1, 2], gguf.GGUFValueType.ARRAY, sub_type=kind)
        writer.add_key_value("\u03c0 ", "\0", gguf.GGUFValueType.STRING)
        writer.add_float64("nan", float("nan"))

    write_gguf("no_tensors.gguf", [], metadata=all_values)
    EXPECTED["no_tensors.gguf"] = {"format": "gguf", "tensors": [], "note": None}

    blocks = []
    for kind in (kinds.Q4_0, kinds.Q8_0, kinds.Q5_1, kinds.Q2_K, kinds.Q6_K, kinds.IQ4_NL, kinds.TQ1_0, kinds.MXFP4, kinds.NVFP4,
                 kinds.Q1_0, kinds.BF16):
        block_len, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        blocks.append((kind.name, RNG.integers(0, 256, (2, block_bytes), "|u1"), kind))
    write_gguf("quantised.gguf", blocks)
    expected = [from_bytes(name, "U8", [array.nbytes], array.tobytes()) for name, array, _ in blocks[:-1]]
    expected.append(from_bytes("BF16", "BF16", [2, 1], blocks[-1][1].tobytes()))
    EXPECTED["quantised.gguf"] = {"format": "gguf", "tensors": expected, "note": "1 of IQ4_NL, 1 of MXFP4, 1 of NVFP4, 1 of Q1_0, 1 of Q2_K"}

    write_gguf("big_endian.gguf", cases[:1], endianess=gguf.GGUFEndian.BIG)
    with open("big_endian.gguf", "rb") as file:
        write_raw("big_endian.gguf", file.read(), "big-endian")


if __name__ == "__main__":
    for make in (make_safetensors, make_npy, make_npz, make_torch, make_gguf):
        torch.manual_seed(11)
        make()
    with open("expected_odd.json", "w") as file:
        lines = [f"{json.dumps(name)}: {json.dumps(expected)}" for name, expected in EXPECTED.items()]
        file.write("{\n" + ",\n".join(lines) + "\n}\n")
