"""Random odd files as Python's own libraries write them; check_python_files.py sends them through lmgc.

A new kind of file is one function, from a generator of random numbers to a `Made`, and one row of KINDS.
"""

import collections
import io
import json
import struct
import tempfile
import warnings
import zipfile
from pathlib import Path

import gguf
import ml_dtypes
import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
import torch.distributed.checkpoint
import torch.package
from torch.utils.serialization import config as serialization_config

TORCH_TYPES = [
    torch.float64, torch.float32, torch.float32, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
    torch.uint16, torch.uint32, torch.uint64, torch.bool, torch.complex64,
]
TORCH_ONLY_TYPES = [torch.complex128, torch.float4_e2m1fn_x2, torch.complex32, torch.bits8, torch.bits16]
NUMPY_TYPES = [
    "<f4", "<f4", "<f2", "<f8", ">f4", ">f8", ">f2", "|b1", "|i1", "|u1", "<i2", ">i2", "<i4", "<i8", ">u8", "<u2", "<c8", ">c8",
    "<c16", "<f16", "S5", "<U3", ">U2", "V7", "<M8[ns]", "<M8[D]", ">m8[s]", "S0",
]
ML_TYPES = ["bfloat16", "float8_e4m3fn", "float8_e5m2fnuz", "float8_e8m0fnu", "float6_e3m2fn", "float4_e2m1fn", "int4", "uint2"]
ALPHABETS = ["abcxyz", "abc._-", "a/b\\.", "\u00e4\u00df\u03c0\u68af\u5ea6\U0001f600\u0301", " \t\n\"'{}[],:", "0123456789"]

# A file: what it is called, its bytes, what lmgc should take it for, how to load it (raises if it cannot be), and the
# bytes of tensors by name.
Made = collections.namedtuple("Made", "kind suffix data format load tensors", defaults=({},))


# What files are made of.


def a_name(rng):
    """Seldom empty, seldom long."""
    length = rng.choice([1, 2, 3, 5, 8, 13, 40, 0 if rng.random() < 0.2 else 4, 300 if rng.random() < 0.2 else 6])
    return "".join(rng.choice(rng.choice(ALPHABETS)) for _ in range(length))


def names(rng, n):
    found = {}
    while len(found) < n:
        found[a_name(rng)] = None
    return list(found)


def a_shape(rng, max_dims=5):
    """Few elements; seldom none, seldom many."""
    if rng.random() < 0.03:
        return (rng.randrange(1, 700), rng.randrange(1, 700))
    return tuple(rng.choice([0 if rng.random() < 0.3 else 1, 1, 2, 3, 4, 5, 7]) for _ in range(rng.randrange(max_dims + 1)))


def some_bytes(rng, n):
    """Noise, numbers like a gradient's, zeros, or few different bytes."""
    kind = rng.randrange(4)
    noise = np.random.default_rng(rng.randrange(1 << 32))
    if kind == 0:
        return noise.bytes(n)
    if kind == 1:
        return (noise.standard_normal(n // 4 + 1) * 1e-3).astype("<f4").tobytes()[:n]
    if kind == 2:
        return bytes(n)
    return noise.integers(0, 3, n, "|u1").tobytes()


def an_array(rng, dtype, max_dims=5):
    """Any bytes as elements, but for truth values and text, in any order of memory, at times a view of a larger one."""
    dtype = np.dtype(dtype)
    shape = a_shape(rng, max_dims)
    n_bytes = int(np.prod(shape, dtype=int)) * dtype.itemsize
    data = bytearray(some_bytes(rng, n_bytes))
    if dtype.kind == "U":
        data = bytearray(np.full(n_bytes // 4, 0x68AF, dtype.byteorder + "u4").tobytes())
    if dtype.kind == "b":
        data = bytearray(byte & 1 for byte in data)
    array = np.frombuffer(data, dtype).reshape(shape) if dtype.itemsize else np.zeros(shape, dtype)
    way = rng.randrange(5)
    if way == 0:
        return np.asfortranarray(array)
    if way == 1 and array.ndim > 1:
        return array.transpose(rng.sample(range(array.ndim), array.ndim))
    if way == 2 and array.ndim:
        return array[:: rng.choice([-1, 2])]
    return array


def a_tensor(rng, dtype=None):
    """A contiguous tensor of any bytes."""
    dtype = dtype or rng.choice(TORCH_TYPES)
    shape = a_shape(rng)
    data = bytearray(some_bytes(rng, int(np.prod(shape, dtype=int)) * dtype.itemsize))
    if dtype == torch.bool:
        data = bytearray(byte & 1 for byte in data)
    if not data:
        return torch.zeros(0, dtype=torch.uint8).view(dtype).reshape(shape)
    return torch.frombuffer(data, dtype=torch.uint8).view(dtype).reshape(shape)


def bytes_of(tensor):
    flat = tensor.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def some_metadata(rng):
    return {a_name(rng): a_name(rng) for _ in range(rng.choice([0, 0, 1, 3, 50]))}


class Stream(io.RawIOBase):
    """A file that cannot be gone back in, like a pipe."""

    def __init__(self):
        self.data = bytearray()

    def writable(self):
        return True

    def write(self, data):
        self.data += data
        return len(data)

    def tell(self):
        raise OSError("a stream has no place")


def saved(rng, save):
    """What `save` writes to a file, in memory or as a stream."""
    if rng.random() < 0.3:
        stream = Stream()
        save(stream)
        return bytes(stream.data)
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


# Kinds of file.


def safetensors_of_the_library(rng):
    tensors = {name: a_tensor(rng) for name in names(rng, rng.choice([0, 1, 3, 10]))}
    if rng.random() < 0.2:
        tensors["narrow"] = a_tensor(rng, torch.uint8).reshape(-1).view(torch.float4_e2m1fn_x2)
    data = safetensors.torch.save(tensors, some_metadata(rng) or None)
    expected = {name: bytes_of(tensor) for name, tensor in tensors.items()}
    return Made("safetensors", ".safetensors", data, "safetensors", safetensors.deserialize, expected)


def safetensors_of_numpy(rng):
    kinds = ["<f4", "<f2", "<f8", "|b1", "<i8", "<u2", "<c8"]
    tensors = {name: np.ascontiguousarray(an_array(rng, rng.choice(kinds))) for name in names(rng, rng.choice([1, 4]))}
    data = safetensors.numpy.save(tensors, some_metadata(rng))
    expected = {name: tensor.tobytes() for name, tensor in tensors.items()}
    return Made("safetensors of NumPy", ".safetensors", data, "safetensors", safetensors.numpy.load, expected)


def safetensors_laid_out_anew(rng):
    """The same tensors with places in any order, names in another, spaces in the header or none, and any length of it."""
    made = safetensors_of_the_library(rng)
    (length,) = struct.unpack("<Q", made.data[:8])
    header, data = json.loads(made.data[8 : 8 + length]), made.data[8 + length :]
    names_in_file = [name for name in header if name != "__metadata__"]
    moved = b""
    for name in rng.sample(names_in_file, len(names_in_file)):
        start, end = header[name]["data_offsets"]
        header[name]["data_offsets"] = [len(moved), len(moved) + end - start]
        moved += data[start:end]
    items = rng.sample(list(header.items()), len(header))
    text = json.dumps(dict(items), ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 2])).encode()
    text += b" " * rng.randrange(40)
    return made._replace(kind="safetensors laid out anew", data=struct.pack("<Q", len(text)) + text + moved)


def any_dtype(rng):
    way = rng.randrange(8)
    if way == 0:
        return np.dtype(getattr(ml_dtypes, rng.choice(ML_TYPES)))
    if way == 1:
        fields = [(name, rng.choice(NUMPY_TYPES), rng.choice([(), (2,), (1, 3)])) for name in ("a", "\u03c0", "b c")]
        return np.dtype(fields[: rng.randrange(1, 4)], align=rng.random() < 0.5)
    return np.dtype(rng.choice(NUMPY_TYPES))


def load_npy(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.load(io.BytesIO(data), allow_pickle=True)


def memory_order(array):
    """The bytes that NumPy saves; `None` of records, whose padding it need not keep."""
    if array.dtype.names:
        return None
    return array.tobytes("F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C")


def npy(rng):
    array = an_array(rng, any_dtype(rng))
    way, buffer = rng.randrange(6), io.BytesIO()
    expected = {"arr_0": memory_order(array)}
    if way == 0:
        array = np.array([{"a": [n, None]} for n in range(rng.randrange(4))], dtype=object)
        np.save(buffer, array)
        expected = {}
    elif way == 1:
        np.lib.format.write_array(buffer, array, version=rng.choice([(2, 0), (3, 0)]))
    else:
        np.save(buffer, array)
    if way == 2:
        # Several arrays in one file, as NumPy can read them one after the other.
        np.save(buffer, an_array(rng, any_dtype(rng)))
    return Made("npy", ".npy", buffer.getvalue(), "npy", load_npy, expected)


def load_npz(data):
    with np.load(io.BytesIO(data), allow_pickle=True) as archive:
        return [archive[name] for name in archive.files]


def npz(rng):
    arrays = {name: an_array(rng, any_dtype(rng)) for name in names(rng, rng.choice([1, 2, 5])) if name != "file"}
    save = rng.choice([np.savez, np.savez_compressed])
    data = saved(rng, lambda file: save(file, **arrays))
    expected = {name: memory_order(array) for name, array in arrays.items()} if save is np.savez else {}
    return Made(save.__name__, ".npz", data, "npz", load_npz, expected)


def npz_of_zipfile(rng):
    """Members each compressed in their own way, with comments and extra fields."""
    kinds = [zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    expected = {}

    def save(file):
        expected.clear()
        with zipfile.ZipFile(file, "w") as archive:
            for name in names(rng, rng.choice([1, 3, 8])):
                array, info = an_array(rng, any_dtype(rng)), zipfile.ZipInfo(f"{name}.npy")
                info.compress_type = rng.choice(kinds)
                info.comment = a_name(rng).encode()[: rng.choice([0, 20])]
                info.extra = rng.choice([b"", struct.pack("<HH3s", 0xCAFE, 3, b"abc")])
                with archive.open(info, "w", force_zip64=rng.random() < 0.3) as member:
                    np.save(member, array)
                if info.compress_type == zipfile.ZIP_STORED:
                    expected[name] = memory_order(array)
            if rng.random() < 0.3:
                archive.writestr("notes.txt", "not an array")
            archive.comment = a_name(rng).encode()

    data = saved(rng, save)
    return Made("npz of zipfile", ".npz", data, "npz", load_npz, expected)


def load_torch(data):
    return torch.load(io.BytesIO(data), weights_only=False)


class Thing:
    """An object with attributes, as training scripts keep them."""

    def __init__(self, value):
        self.value = value


def odd_tensor(rng):
    tensor = a_tensor(rng, rng.choice([None, None, rng.choice(TORCH_ONLY_TYPES), torch.float32]))
    way = rng.randrange(14)
    if way == 0 and tensor.ndim > 1:
        return tensor.transpose(0, -1)
    if way == 1 and tensor.ndim:
        return tensor[:: rng.choice([2, 3])]
    if way == 2 and tensor.ndim:
        return tensor[tensor.shape[0] // 2 :]
    if way == 3 and tensor.is_floating_point() and tensor.itemsize > 1:
        return torch.nn.Parameter(tensor)
    if way == 4:
        return tensor.untyped_storage()
    if way == 5 and tensor.ndim == 0:
        return tensor.expand(3, 2)
    if way == 6 and tensor.dtype == torch.complex64:
        return tensor.conj()
    plain = torch.tensor([[0.0, rng.random()], [rng.random(), 0.0]])
    if way == 7:
        return rng.choice([plain.to_sparse, plain.to_sparse_csr, plain.to_sparse_csc])()
    if way == 8:
        return torch.quantize_per_tensor(plain, 0.5, 3, rng.choice([torch.qint8, torch.quint8, torch.qint32]))
    if way == 9:
        return torch.quantize_per_channel(plain, torch.tensor([0.5, 1.0]), torch.tensor([0, 1]), 0, torch.qint8)
    if way == 10:
        return torch.nested.nested_tensor([plain[0], plain[:, :1].reshape(-1)], layout=rng.choice([torch.strided, torch.jagged]))
    if way == 11:
        return torch.empty(a_shape(rng), device="meta")
    return tensor


def nested_value(rng, depth, made):
    """Anything that a checkpoint may hold. Tensors come again later, whole or in part."""
    way = rng.randrange(12 if depth else 7)
    if way < 4:
        if made and rng.random() < 0.2:
            return rng.choice(made)
        made.append(odd_tensor(rng))
        return made[-1]
    if way == 4:
        return rng.choice([None, True, 1 << 80, -5, 2.5, "text \u03c0", b"bytes", (), {1, 2}, torch.Size([2]), torch.half, 3 + 1j])
    if way == 5:
        return rng.choice([np.arange(3.0), np.float32(2), torch.device("cpu"), slice(1, 2), collections.Counter("ab"), range(3)])
    if way == 6:
        return Thing(rng.choice(made) if made else None)
    if way < 9:
        keys = [rng.choice([a_name(rng), a_name(rng), n, (n, "x"), None]) for n in range(rng.randrange(6))]
        items = [(key, nested_value(rng, depth - 1, made)) for key in keys]
        return rng.choice([dict, collections.OrderedDict])(items)
    elements = [nested_value(rng, depth - 1, made) for _ in range(rng.randrange(4))]
    return tuple(elements) if way == 11 else elements


def torch_saved(rng, value):
    """A checkpoint in any of the ways in which it can be saved."""
    options = {"pickle_protocol": rng.choice([2, 2, 3, 4, 5])}
    torch.serialization.set_crc32_options(rng.random() < 0.7)
    with serialization_config.patch("save.storage_alignment", rng.choice([1, 8, 64, 64, 256, 4096])):
        if rng.random() < 0.3:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / rng.choice(["model.pt", "epoch=3-step=7.ckpt", "gr\u00f6\u00dfe \u68af.bin", "a.b.pth", "none"])
                torch.save(value, path, **options)
                data = path.read_bytes()
        else:
            data = saved(rng, lambda file: torch.save(value, file, **options))
    torch.serialization.set_crc32_options(True)
    return data


def torch_nested(rng):
    # Tensors of two types cannot share a storage.
    value = {"state_dict": nested_value(rng, 3, []), "more": nested_value(rng, 2, [])}
    return Made("torch, nested", ".ckpt", torch_saved(rng, value), "torch", load_torch)


def torch_flat(rng):
    state = collections.OrderedDict((name, a_tensor(rng)) for name in names(rng, rng.choice([1, 4, 12])))
    # Of empty names and of those that are too long lmgc makes others.
    expected = {name: bytes_of(tensor) for name, tensor in state.items() if 0 < len(name.encode()) <= 512}
    return Made("torch, state dict", ".pt", torch_saved(rng, state), "torch", load_torch, expected)


def a_module(rng):
    width = rng.randrange(1, 5)
    layers = [torch.nn.Linear(width, width), torch.nn.BatchNorm1d(width), torch.nn.LSTM(width, 2), torch.nn.Embedding(3, width)]
    return torch.nn.Sequential(*rng.sample(layers, rng.randrange(1, 4)))


def torch_training(rng):
    """Module, optimiser and schedule as they are after a step."""
    module = a_module(rng)
    optimizer = rng.choice([torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad])(module.parameters())
    for parameter in module.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    module = rng.choice([module, module.state_dict(), module.half(), [p.grad for p in module.parameters()]])
    value = {"module": module, "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(), "rng": torch.get_rng_state()}
    return Made("torch, training", ".pt", torch_saved(rng, value), "torch", load_torch)


def torch_script(rng):
    module = a_module(rng)[0]
    if isinstance(module, torch.nn.Linear) and rng.random() < 0.5:
        scripted = torch.jit.trace(module, torch.zeros(2, module.in_features))
    else:
        scripted = torch.jit.script(module)
    buffer = io.BytesIO()
    torch.jit.save(scripted, buffer, _extra_files={"notes.txt": a_name(rng)})
    return Made("TorchScript", ".pt", buffer.getvalue(), "torch", lambda data: torch.jit.load(io.BytesIO(data)))


def torch_legacy(rng):
    value = {"state_dict": {name: a_tensor(rng) for name in names(rng, 3)}, "epoch": 3}
    data = saved(rng, lambda file: torch.save(value, file, _use_new_zipfile_serialization=False))
    return Made("torch before 1.6", ".pt", data, "raw", load_torch)


def torch_package(rng):
    def save(folder):
        with torch.package.PackageExporter(folder / "package.pt") as package:
            package.save_pickle("model", "model.pkl", {"a": a_tensor(rng, torch.float32)})
        return (folder / "package.pt").read_bytes()

    return in_folder("torch.package", ".pt", save, lambda data: torch.package.PackageImporter(io.BytesIO(data)))


def torch_export(rng):
    def save(folder):
        module = torch.nn.Linear(2, rng.randrange(1, 9))
        torch.export.save(torch.export.export(module, (torch.ones(1, 2),)), folder / "model.pt2")
        return (folder / "model.pt2").read_bytes()

    return in_folder("torch.export", ".pt2", save, lambda data: torch.export.load(io.BytesIO(data)))


def torch_distributed(rng):
    def save(folder):
        torch.distributed.checkpoint.save({name: a_tensor(rng, torch.float32) for name in ("a", "b")}, checkpoint_id=folder / "x")
        return (folder / "x" / "__0_0.distcp").read_bytes()

    return in_folder("distributed checkpoint", ".distcp", save, lambda data: None)


def in_folder(kind, suffix, save, load):
    with tempfile.TemporaryDirectory() as folder:
        return Made(kind, suffix, save(Path(folder)), "torch", load)


def gguf_value(rng, depth=0):
    way = rng.randrange(5 if depth < 3 else 4)
    if way < 4:
        return [a_name(rng), rng.randrange(1 << 30), rng.random(), rng.random() < 0.5][way]
    one = gguf_value(rng, depth + 1)
    return [one for _ in range(rng.randrange(1, 4))]


def gguf_file(rng, endianess=gguf.GGUFEndian.LITTLE, kind="gguf", format="gguf"):
    expected = {}
    plain = ["<f4", "<f2", "<f8", "|i1", "<i2", "<i4", "<i8"]
    quantised = [t for t in gguf.GGMLQuantizationType if gguf.GGML_QUANT_SIZES[t][0] > 1] + [gguf.GGMLQuantizationType.BF16]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.gguf"
        writer = gguf.GGUFWriter(path, rng.choice(["llama", "odd \u03c0"]), endianess=endianess)
        if rng.random() < 0.7:
            writer.add_custom_alignment(rng.choice([8, 16, 32, 64, 256, 4096]))
        for name in names(rng, rng.choice([0, 1, 6, 30])):
            value = gguf_value(rng)
            writer.add_key_value(name, value, gguf.GGUFValueType.get_type(value))
        for kind_id in gguf.GGUFValueType:
            if kind_id not in (gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.STRING):
                writer.add_key_value(f"of {kind_id.name}", 1, kind_id)
        for name in names(rng, rng.choice([0, 1, 3, 10])):
            if rng.random() < 0.5:
                array = np.ascontiguousarray(an_array(rng, rng.choice(plain), 4))
                expected[name] = array.tobytes()
                writer.add_tensor(name, array.copy())
            else:
                type_id = rng.choice(quantised)
                _, block_bytes = gguf.GGML_QUANT_SIZES[type_id]
                shape = (*a_shape(rng, 2), block_bytes * rng.randrange(1, 4))
                if int(np.prod(shape)) > 1 << 20:
                    shape = shape[1:]
                array = np.frombuffer(some_bytes(rng, int(np.prod(shape))), "|u1").reshape(shape)
                expected[name] = array.tobytes()
                writer.add_tensor(name, array.copy(), raw_dtype=type_id)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        data = path.read_bytes()
    return Made(kind, ".gguf", data, format, load_gguf, {} if format == "raw" else expected)


def load_gguf(data):
    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        file.write(data)
        file.flush()
        return len(gguf.GGUFReader(file.name).tensors)


def gguf_big_endian(rng):
    return gguf_file(rng, gguf.GGUFEndian.BIG, "gguf, big-endian", "raw")


# Kind of file and how often it comes.
KINDS = [
    (safetensors_of_the_library, 5), (safetensors_of_numpy, 2), (safetensors_laid_out_anew, 4), (npy, 10), (npz, 6), (npz_of_zipfile, 4),
    (torch_nested, 8), (torch_flat, 4), (torch_training, 3), (torch_script, 2), (torch_legacy, 1), (gguf_file, 8), (gguf_big_endian, 1),
]
# Slow to make, so each once in a round of all the others.
SELDOM = [torch_package, torch_export, torch_distributed]
