#!/usr/bin/env python3
"""Speed of lmgc's engine beside transformers' and llama.cpp's: one machine, one run, the same weights, the same tokens.

    python3 -m venv venv && venv/bin/pip install torch transformers accelerate gguf llama-cpp-python
    cargo build --release
    venv/bin/python benches/compare_engines.py --lmgc target/release/lmgc --json speed.json

Measured, in tokens a second, as medians over rounds in which every engine has its turn:

- transformers in bf16 and f32, on the GGUF file's weights, dequantised: one window, logits after every token (what LM-GC does).
- llama.cpp with the file as it is, and requantised to Q8_0 and Q4_0: the same window, logits after the last token only (which
  favours it), with batches of 512 and 2048; then Q8_0 token by token, from position 0 and from the middle of the window.
- lmgc: what `lmgc bench-model --json` prints.

Each engine has a process of its own, and its model is loaded before the clock starts. Where llama.cpp crashes with its repacked
weights (a known defect of its AMX kernels, ggml-org/llama.cpp issue 20824), it is measured without them, and the result says so: then
it is slower than it could be. LLAMA_CPP_LIB_PATH names the folder of a better build of libllama.so.
"""

import argparse
import ctypes
import importlib.metadata
import json
import os
import platform
import re
import shlex
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

N_GENERATED = 128
GGUF = Path("~/.cache/lmgc/models/smollm2-135m/model.gguf").expanduser()
FLAGS = ["avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"]


def transformers_worker(options):
    """Yields its engine's versions, then for each name that is sent the seconds that it took."""
    import torch
    import transformers

    torch.set_num_threads(options["threads"])
    path = Path(options["gguf"])
    models = {
        name: transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=dtype).eval()
        for name, dtype in {"bf16": torch.bfloat16, "f32": torch.float32}.items()
    }
    window = torch.tensor([options["ids"]])
    measures = [["prefill", name, attention] for attention in options["attention"] for name in models]
    name = yield {"versions": {"torch": torch.__version__, "transformers": transformers.__version__}, "measures": measures}
    while True:
        _, dtype, attention = name
        models[dtype].set_attn_implementation(attention)
        with torch.inference_mode():
            start = time.perf_counter()
            logits = models[dtype](window, use_cache=False).logits
            seconds = time.perf_counter() - start
        assert logits.shape[1] == window.shape[1]
        name = yield {"tokens_per_s": window.shape[1] / seconds}


def llama_worker(options):
    """The same for llama.cpp."""
    import llama_cpp as llama

    llama.llama_backend_init()
    ids, source = options["ids"], options["gguf"]
    files = {"as it is": source}
    for name, file_type in {"Q8_0": llama.LLAMA_FTYPE_MOSTLY_Q8_0, "Q4_0": llama.LLAMA_FTYPE_MOSTLY_Q4_0}.items():
        files[name] = os.path.join(options["folder"], f"{name}.gguf")
        if not os.path.exists(files[name]):
            params = llama.llama_model_quantize_default_params()
            params.ftype, params.allow_requantize, params.nthread = file_type, True, options["threads"]
            if llama.llama_model_quantize(source.encode(), files[name].encode(), ctypes.byref(params)) != 0:
                raise RuntimeError(f"llama.cpp cannot requantise to {name}")
    contexts = {}
    for name, file in files.items():
        params = llama.llama_model_default_params()
        params.use_extra_bufts = options["repack"]
        model = llama.llama_model_load_from_file(file.encode(), params)
        for n_batch in (512, 2048):
            params = llama.llama_context_default_params()
            params.n_ctx = len(ids)
            params.n_batch = params.n_ubatch = n_batch
            params.n_threads = params.n_threads_batch = options["threads"]
            contexts[name, n_batch] = llama.llama_init_from_model(model, params)

    def feed(context, tokens):
        array = (llama.llama_token * len(tokens))(*tokens)
        if llama.llama_decode(context, llama.llama_batch_get_one(array, len(tokens))) != 0:
            raise RuntimeError("llama.cpp cannot decode")
        llama.llama_synchronize(context)

    def prefill(context, tokens):
        llama.llama_memory_clear(llama.llama_get_memory(context), True)
        n_batch = llama.llama_n_batch(context)
        for at in range(0, len(tokens), n_batch):
            feed(context, tokens[at : at + n_batch])

    for context in contexts.values():
        prefill(context, ids[:64])  # A crash had better come now.
    measures = [["prefill", name, f"batches of {n_batch}"] for name, n_batch in contexts]
    measures += [["generation", "Q8_0", f"from position {at}"] for at in (0, len(ids) // 2)]
    versions = {"llama-cpp-python": llama.__version__, "llama.cpp": llama.llama_print_system_info().decode().strip()}
    name = yield {"versions": versions, "measures": measures}
    while True:
        what, file, detail = name
        number = int(detail.split()[-1])
        if what == "prefill":
            tokens, context = ids, contexts[file, number]
            start = time.perf_counter()
            prefill(context, tokens)
        else:
            tokens, context = ids[number : number + N_GENERATED], contexts[file, 512]
            prefill(context, ids[:number])
            start = time.perf_counter()
            for token in tokens:
                feed(context, [token])
        name = yield {"tokens_per_s": len(tokens) / (time.perf_counter() - start)}


WORKERS = {"transformers": transformers_worker, "llama.cpp": llama_worker}


def serve(engine):
    """Runs a worker: options and then names come as JSON lines, and so go the answers."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # What libraries print is not an answer.
    worker = WORKERS[engine](json.loads(sys.stdin.readline()))
    print(json.dumps(next(worker)), file=answers)
    for line in sys.stdin:
        print(json.dumps(worker.send(json.loads(line))), file=answers)


class Engine:
    """A worker's process."""

    def __init__(self, name, options, log):
        self.name = name
        environment = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
        environment |= {"OMP_NUM_THREADS": str(options["threads"]), "MKL_NUM_THREADS": str(options["threads"])}
        command = [sys.executable, __file__, "--worker", name]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment, text=True, bufsize=1
        )
        self.about = self.ask(options)

    def ask(self, question):
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise ChildProcessError(f"{self.name} ended with status {self.process.wait()}")
        return json.loads(answer)


def start(name, options, log, notes):
    try:
        return Engine(name, options | {"repack": True}, log)
    except ChildProcessError as error:
        if name != "llama.cpp":
            raise
        notes.append(f"{error}; measured without repacked weights and AMX (use_extra_bufts = false)")
        return Engine(name, options | {"repack": False}, log)


def lmgc(command):
    """What `lmgc bench-model --json` measures: [what, mask, detail] and tokens a second."""
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for line in output.splitlines():
        record = json.loads(line) if line.startswith("{") else {}
        if "tokens_per_s" in record:
            detail = f"{record.get('n_windows', 1)} windows of {record.get('window', '?')}"
            yield [record.get("what", "?"), f"mask {record.get('mask', '?')}", detail], record["tokens_per_s"]


def token_ids(options):
    """The ids of a file (little-endian u32), or random ones of tokens that are one or two hexadecimal digits."""
    if options.ids is not None:
        data = options.ids.read_bytes()
        ids = [id for (id,) in struct.iter_unpack("<I", data[: len(data) // 4 * 4])]
    else:
        import random

        import gguf

        field = gguf.GGUFReader(options.gguf).get_field("tokenizer.ggml.tokens")
        tokens = [bytes(field.parts[part]).decode() for part in field.data]
        digits = [id for id, token in enumerate(tokens) if re.fullmatch("[Ġ▁]?[0-9a-f]{1,2}", token)]
        ids = random.Random(0).choices(digits, k=options.window)
    if len(ids) < options.window:
        raise SystemExit(f"{len(ids)} token ids do not fill a window of {options.window}")
    return ids[: options.window]


def machine(options):
    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search("model name\\s*: (.*)", cpuinfo)
    flags = set(cpuinfo.partition("\nflags")[2].partition("\n")[0].split())
    return {
        "cpu": model[1] if model else platform.processor(), "flags": [flag for flag in FLAGS if flag in flags],
        "n_cpus": os.cpu_count(), "threads": options.threads, "load_before": os.getloadavg()[0], "python": platform.python_version(),
        "gguf": importlib.metadata.version("gguf"), "system": platform.platform(),
        "llama_cpp_lib_path": os.environ.get("LLAMA_CPP_LIB_PATH"),
    }


def ratios(rows):
    """Our rates over theirs, where both were measured. Theirs is the best that was seen."""

    def best(engine, what, *parts):
        found = [
            row["median"] for row in rows
            if row["engine"] == engine and row["what"] == what and all(part in f"{row['type']} {row['detail']}" for part in parts)
        ]
        return max(found, default=None)

    ours = {mask: best("lmgc", "prefill", f"mask {mask}") for mask in ("alphabet", "none")}
    pairs = {}
    for mask, rate in ours.items():
        pairs[f"prefill, mask {mask} / transformers bf16"] = rate, best("transformers", "prefill", "bf16")
        pairs[f"prefill, mask {mask} / transformers f32"] = rate, best("transformers", "prefill", "f32")
        pairs[f"prefill, mask {mask} / best of llama.cpp"] = rate, best("llama.cpp", "prefill")
    for n_windows in (1, 4, 16):
        decode = best("lmgc", "decode", "mask alphabet", f" {n_windows} windows")
        pairs[f"decode of {n_windows} windows / our prefill, mask alphabet"] = decode, ours["alphabet"]
    single = best("lmgc", "decode", "mask alphabet", " 1 windows")
    pairs["decode of 1 window / llama.cpp's generation, Q8_0"] = single, best("llama.cpp", "generation", "Q8_0")
    return {name: a / b for name, (a, b) in pairs.items() if a and b}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=Path, default=GGUF, help="the model (default: SmolLM2-135M in the model store)")
    parser.add_argument("--ids", type=Path, help="token ids, little-endian u32 (default: random hexadecimal tokens)")
    parser.add_argument("--window", type=int, default=2048, help="tokens a window (default: 2048)")
    parser.add_argument("--threads", type=int, default=2, help="threads of every engine (default: 2)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds behind an unmeasured one (default: 5)")
    parser.add_argument("--engines", nargs="*", choices=WORKERS, default=list(WORKERS), help="peers to measure (default: all)")
    parser.add_argument("--attention", nargs="+", choices=["sdpa", "eager"], default=["sdpa"], help="of transformers (default: sdpa)")
    parser.add_argument("--lmgc", type=Path, help="the program lmgc; without it, peers only")
    parser.add_argument("--lmgc-args", help="arguments of lmgc bench-model (default: --json --model GGUF --threads THREADS)")
    parser.add_argument("--folder", type=Path, help="where requantised files are kept (default: a temporary one)")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    parser.add_argument("--log", type=Path, default=Path(os.devnull), help="what the engines print besides")
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("at least one round must be measured")
    if options.worker is not None:
        return serve(options.worker)

    result = {"machine": machine(options), "notes": [], "versions": {}, "rounds": options.rounds, "window": options.window}
    rates = {}
    with tempfile.TemporaryDirectory() as temporary, options.log.open("w") as log:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for_workers = {
            "gguf": str(options.gguf), "ids": token_ids(options), "threads": options.threads, "attention": options.attention,
            "folder": str(folder),
        }
        engines = [start(name, for_workers, log, result["notes"]) for name in options.engines]
        for engine in engines:
            result["versions"] |= engine.about["versions"]
        if options.lmgc is not None:
            arguments = options.lmgc_args or f"--json --model {shlex.quote(str(options.gguf))} --threads {options.threads}"
            command = [options.lmgc.resolve(), "bench-model", *shlex.split(arguments)]
            version = subprocess.run([options.lmgc.resolve(), "--version"], check=True, capture_output=True, text=True).stdout
            result["versions"]["lmgc"] = version.strip()
        for round in range(options.rounds + 1):
            measured = []
            for engine in engines:
                for name in engine.about["measures"]:
                    measured.append((engine.name, name, engine.ask(name)["tokens_per_s"]))
            if options.lmgc is not None:
                measured += [("lmgc", name, rate) for name, rate in lmgc(command)]
            for engine, name, rate in measured:
                rates.setdefault((engine, *name), []).append(rate)
                print(f"round {round}: {engine} {' '.join(name)}: {rate:.0f} tokens/s", file=sys.stderr)
        for engine in engines:
            engine.process.stdin.close()
            engine.process.wait()
    result["measured"] = [
        {
            "engine": engine, "what": what, "type": type, "detail": detail, "median": statistics.median(values[1:]),
            "min": min(values[1:]), "max": max(values[1:]), "tokens_per_s": values[1:],
        }
        for (engine, what, type, detail), values in rates.items()
    ]
    result["ratios"] = ratios(result["measured"])
    result["machine"]["load_after"] = os.getloadavg()[0]

    for part in ("machine", "versions"):
        for name, value in result[part].items():
            print(f"{name}: {value}")
    for note in result["notes"]:
        print(f"note: {note}")
    print(f"\n{'engine':13} {'what':11} {'type':14} {'detail':22} {'median':>8} {'min':>8} {'max':>8}  tokens/s")
    for row in result["measured"]:
        figures = " ".join(f"{row[figure]:8.0f}" for figure in ("median", "min", "max"))
        print(f"{row['engine']:13} {row['what']:11} {row['type']:14} {row['detail']:22} {figures}")
    for name, ratio in result["ratios"].items():
        print(f"{ratio:6.2f}  {name}")
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
