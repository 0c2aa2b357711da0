"""One engine in one process, driven by lines on stdin, answering one JSON line each on stdout.

    python worker.py --engine NAME --settings JSON --exports DIR --model DIR --windows FILE --threads N --dtype f32|f16|bf16|int8
                     --batch-tokens B [--batch-windows K]

First line out: {"ready": true, "load_seconds": s, "detail": "..."}. Then, per line in:

    pass             run all windows once: {"seconds", "tokens", "windows", "peak_rss_bytes"}; only real tokens count
    single I         window I alone: {"seconds"}
    logits PATH [N]  of the first N windows, or all: float32 little-endian, per window in input order start logits, then end
                     logits: {"written"}
    rate LEN COUNT   COUNT made-up windows of LEN tokens: as pass
    batch K          batches of up to K windows from now on: {"batch_windows"} (only the peers have this)
    quit             leave, without a reply

A command that cannot be done answers {"error": "..."}.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy

import exports

AHEAD = 16  # batches that a card may have waiting


class Padded:
    """Right-padded int64 arrays of some windows."""

    def __init__(self, windows, pad_id):
        self.lengths = [len(window["ids"]) for window in windows]
        shape = (len(windows), max(self.lengths))
        self.input_ids = numpy.full(shape, pad_id, dtype=numpy.int64)
        self.attention_mask = numpy.zeros(shape, dtype=numpy.int64)
        self.token_type_ids = numpy.zeros(shape, dtype=numpy.int64)
        for row, (window, length) in enumerate(zip(windows, self.lengths)):
            self.input_ids[row, :length] = window["ids"]
            self.attention_mask[row, :length] = 1
            self.token_type_ids[row, :length] = window["segments"]

    def inputs(self, names):
        return {name: getattr(self, name) for name in names}


class PyTorch:
    """Transformers' own model, scaled dot product attention."""

    def __init__(self, args, settings, config):
        import torch
        from transformers import AutoModelForQuestionAnswering

        torch.set_num_threads(args.threads)
        torch.set_grad_enabled(False)
        self.torch, self.device = torch, settings.get("device", "cpu")
        self.names = exports.input_names(config)
        dtype = {"f16": torch.float16, "bf16": torch.bfloat16}.get(args.dtype, torch.float32)
        model = AutoModelForQuestionAnswering.from_pretrained(args.model, dtype=dtype, attn_implementation="sdpa").eval()
        model = model.to(self.device)
        self.detail = f"torch {torch.__version__}, sdpa, {args.dtype} on {self.device}"
        if settings.get("compile"):
            model = torch.compile(model, dynamic=True)
            self.detail += ", compiled"
        if args.dtype == "int8":
            torch.backends.quantized.engine = settings["backend"]
            model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
            self.detail += f", quantize_dynamic with {settings['backend']}"
        self.model = model

    def run(self, batches):
        done = []
        with self.torch.inference_mode():
            for batch in batches:
                inputs = {
                    name: self.torch.from_numpy(array).to(self.device, non_blocking=True)
                    for name, array in batch.inputs(self.names).items()
                }
                if batch.attention_mask.all():
                    # Known to the caller for free; finding it out inside the model costs a pass over the mask.
                    del inputs["attention_mask"]
                output = self.model(**inputs)
                done.append((output.start_logits, output.end_logits))
                # A card works through what it is given while the next batches are made.
                if self.device == "cpu" or len(done) >= AHEAD:
                    yield from self.fetch(done)
            yield from self.fetch(done)

    def fetch(self, done):
        """The logits of batches that were started, in order; leaves none in `done`."""
        for start, end in done:
            yield start.float().cpu().numpy(), end.float().cpu().numpy()
        done.clear()


class OnnxRuntime:
    """The graph file named in the settings: plain, with the transformer fusions, or quantised after them."""

    def __init__(self, args, settings, config):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = args.threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        path = args.exports / exports.FORMATS[settings["format"]][0]
        self.session = onnxruntime.InferenceSession(str(path), options, providers=[settings.get("provider", "CPUExecutionProvider")])
        self.names = [found.name for found in self.session.get_inputs()]
        self.detail = f"onnxruntime {onnxruntime.__version__}, {path.name}"

    def run(self, batches):
        for batch in batches:
            yield self.session.run(None, batch.inputs(self.names))


class OpenVino:
    """One compiled network. Under the throughput hint batches go through a queue, one per stream at a time."""

    def __init__(self, args, settings, config):
        import openvino

        # Pinning would put the only thread of two processes on the same core.
        properties = {
            "INFERENCE_NUM_THREADS": args.threads,
            "PERFORMANCE_HINT": settings["hint"],
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": "f32",
            **settings.get("properties", {}),
        }
        path = args.exports / exports.FORMATS[settings["format"]][0]
        self.network = openvino.Core().compile_model(str(path), "CPU", properties)
        self.names = [port.get_any_name() for port in self.network.inputs]
        streams = self.network.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self.queue = openvino.AsyncInferQueue(self.network, streams) if streams > 1 else None
        self.request = None if self.queue else self.network.create_infer_request()
        self.detail = (
            f"openvino {openvino.get_version()}, {path.name}, {settings['hint'].lower()} hint, requests: {streams}"
        )

    def run(self, batches):
        if self.queue is None:
            for batch in batches:
                result = self.request.infer(batch.inputs(self.names))
                yield result[0], result[1]
            return
        done = {}

        def keep(request, index):
            done[index] = tuple(request.get_output_tensor(i).data.copy() for i in (0, 1))

        self.queue.set_callback(keep)
        for index, batch in enumerate(batches):
            self.queue.start_async(batch.inputs(self.names), index)
        self.queue.wait_all()
        yield from (done[index] for index in sorted(done))


class CTranslate2:
    """Its encoder, which drops padding inside, and the question-answering head in numpy."""

    def __init__(self, args, settings, config):
        import ctranslate2
        from safetensors.numpy import load_file

        self.ctranslate2 = ctranslate2
        compute_type = {"f32": "float32", "int8": "int8_float32"}[args.dtype]
        folder = (args.exports / exports.FORMATS["ctranslate2"][0]).parent
        self.encoder = ctranslate2.Encoder(
            str(folder), device="cpu", compute_type=compute_type, intra_threads=args.threads, inter_threads=1
        )
        weights = load_file(args.model / "model.safetensors")
        self.weight, self.bias = weights["qa_outputs.weight"].T.copy(), weights["qa_outputs.bias"].copy()
        self.segmented = config["model_type"] != "distilbert"
        self.detail = f"ctranslate2 {ctranslate2.__version__}, {self.encoder.compute_type}"
        if settings.get("env"):
            self.detail += ", " + " ".join(f"{key}={value}" for key, value in settings["env"].items())

    def run(self, batches):
        view = self.ctranslate2.StorageView.from_array
        for batch in batches:
            segments = {"token_type_ids": batch.token_type_ids.tolist()} if self.segmented else {}
            output = self.encoder.forward_batch(
                view(batch.input_ids.astype(numpy.int32)),
                view(numpy.array(batch.lengths, dtype=numpy.int32)),
                **segments,
            )
            hidden = numpy.asarray(output.last_hidden_state)
            logits = hidden @ self.weight + self.bias
            yield logits[:, :, 0], logits[:, :, 1]


ENGINES = {"pytorch": PyTorch, "onnxruntime": OnnxRuntime, "openvino": OpenVino, "ctranslate2": CTranslate2}


class Worker:
    """The commands, over any engine."""

    def __init__(self, args):
        config = exports.read_config(args.model)
        self.pad_id = config["pad_token_id"]
        self.windows = json.loads(args.windows.read_text(encoding="utf-8"))["windows"]
        self.batch_windows, self.batch_tokens = args.batch_windows, args.batch_tokens
        self.engine = ENGINES[args.engine](args, json.loads(args.settings), config)

    def batches(self, windows):
        """Padded batches within both limits, with their indices; longest first: the largest memory is taken once."""
        order = sorted(range(len(windows)), key=lambda i: -len(windows[i]["ids"]))
        begin = 0
        while begin < len(order):
            fitting = self.batch_tokens // len(windows[order[begin]]["ids"])
            members = order[begin : begin + max(1, min(self.batch_windows, fitting))]
            yield members, Padded([windows[i] for i in members], self.pad_id)
            begin += len(members)

    def timed(self, windows):
        began = time.perf_counter()
        for _ in self.engine.run(batch for _, batch in self.batches(windows)):
            pass
        return {
            "seconds": time.perf_counter() - began,
            "tokens": sum(len(w["ids"]) for w in windows),
            "windows": len(windows),
            "peak_rss_bytes": peak_rss(),
        }

    def command_pass(self):
        return self.timed(self.windows)

    def command_single(self, index):
        began = time.perf_counter()
        for _ in self.engine.run([Padded([self.windows[int(index)]], self.pad_id)]):
            pass
        return {"seconds": time.perf_counter() - began}

    def command_logits(self, path, count=None):
        windows = self.windows[: int(count)] if count else self.windows
        parts = [b""] * len(windows)
        batches = list(self.batches(windows))
        results = self.engine.run(batch for _, batch in batches)
        for (members, _), (start, end) in zip(batches, results, strict=True):
            for row, index in enumerate(members):
                length = len(windows[index]["ids"])
                parts[index] = numpy.concatenate([start[row, :length], end[row, :length]]).astype("<f4").tobytes()
        data = b"".join(parts)
        Path(path).write_bytes(data)
        return {"written": len(data) // 4}

    def command_rate(self, length, count):
        ids = [token for window in self.windows for token in window["ids"]]
        length, count = int(length), int(count)
        made = []
        for begin in range(0, length * count, length):
            taken = [ids[i % len(ids)] for i in range(begin, begin + length)]
            made.append({"ids": taken, "segments": [0] * length})
        return self.timed(made)

    def command_batch(self, windows):
        self.batch_windows = int(windows)
        return {"batch_windows": self.batch_windows}


def peak_rss():
    """The high-water mark of this program: what getrusage gives begins at the parent's size."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmHWM in /proc/self/status")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--engine", choices=ENGINES, required=True)
    parser.add_argument("--settings", default="{}", help="what the engine class reads, as JSON")
    parser.add_argument("--exports", type=Path, default=Path(), help="where exports.py has written")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--windows", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--dtype", choices=["f32", "f16", "bf16", "int8"], required=True)
    parser.add_argument("--batch-tokens", type=int, required=True, help="padded tokens in a batch, at most")
    parser.add_argument("--batch-windows", type=int, default=32)
    args = parser.parse_args()

    def reply(value):
        print(json.dumps(value), flush=True)

    began = time.perf_counter()
    worker = Worker(args)
    reply({"ready": True, "load_seconds": time.perf_counter() - began, "detail": worker.engine.detail})
    for line in sys.stdin:
        name, *words = line.split()
        if name == "quit":
            return
        command = getattr(worker, f"command_{name}", None)
        if command is None:
            reply({"error": f"no command {name!r}"})
            continue
        try:
            reply(command(*words))
        except Exception as error:  # whatever an engine throws is the parent's to report
            reply({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
