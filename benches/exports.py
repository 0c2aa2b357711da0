"""Runs what `spanqa export` writes where it is to run, and compares.

    python exports.py --spanqa PROGRAM check MODEL...                logits and vectors beside check.jsonl, operators after fusion
    python exports.py --spanqa PROGRAM answers MODEL --squad FILE    answers of int8 beside those of f32 and of quantize_dynamic
    python exports.py --spanqa PROGRAM speed MODEL                   tokens a second beside optimum's export of the same model

It needs onnx, onnxruntime, numpy, sympy and tokenizers; openvino and transformers with torch are used where they are installed. The vectors of
an embedder are compared in sentence-transformers and in llama.cpp (xllamacpp). `speed` needs optimum-onnx, which wants transformers before 4.58.
"""

import argparse
import collections
import json
import re
import string
import subprocess
import tempfile
import time
from pathlib import Path

import numpy
import onnx
import onnxruntime

INPUTS = ["input_ids", "attention_mask", "token_type_ids"]
WINDOW, OVERLAP, LONGEST = 384, 128, 30
# The project's limits for logits; integers are judged by their answers.
LIMITS = {"f32": 1e-4, "f16": 2e-2}


def export(args, model, folder, *flags):
    subprocess.run([args.spanqa, "export", model, folder, *flags], check=True, stdout=subprocess.DEVNULL)
    return Path(folder)


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def feed(row, names):
    return {name: numpy.array(row[name], dtype=numpy.int64) for name in names}


def checks(folder):
    return [json.loads(line) for line in (folder / "check.jsonl").read_text(encoding="utf-8").splitlines()]


def padded(row):
    """The same input with padding behind it, if the window has room."""
    fill = 8 if len(row["input_ids"][0]) < 40 else 0
    return row | {name: [row[name][0] + [0 if name == "attention_mask" else 1] * fill] for name in INPUTS[:2]} | {
        name: [row[name][0] + [0] * fill] for name in INPUTS[2:] if name in row
    }


def largest_gap(rows, outputs_of):
    gaps = [0.0]
    for row in rows:
        for given in [row, padded(row)]:
            for name, found in outputs_of(given).items():
                if name in row:
                    expected = numpy.array(row[name])
                    gaps.append(float(numpy.abs(numpy.asarray(found)[0][: len(expected)] - expected).max()))
    return max(gaps)


def in_onnxruntime(path):
    runner = session(path)
    names = [put.name for put in runner.get_inputs()]
    outputs = [put.name for put in runner.get_outputs()]
    return lambda row: dict(zip(outputs, runner.run(None, feed(row, names))))


def in_openvino(path):
    import openvino

    core = openvino.Core()
    core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    network = core.compile_model(str(path), "CPU")
    names = [port.get_any_name() for port in network.inputs]
    return lambda row: {port.get_any_name(): found for port, found in network(feed(row, names)).items()}


def in_transformers(folder):
    import torch
    from transformers import AutoModelForQuestionAnswering

    model, report = AutoModelForQuestionAnswering.from_pretrained(
        folder, output_loading_info=True, torch_dtype=torch.float32
    )
    assert not any(report.values()), report

    def outputs(row):
        given = {name: torch.tensor(row[name]) for name in INPUTS if name in row}
        with torch.no_grad():
            found = model.eval()(**given)
        return {"start_logits": found.start_logits, "end_logits": found.end_logits}

    return outputs


def fused(path, config):
    """The operators that are left after ONNX Runtime's fusions for transformers."""
    from onnxruntime.transformers import optimizer

    heads = config.get("num_attention_heads") or config["n_heads"]
    hidden = config.get("hidden_size") or config["dim"]
    graph = optimizer.optimize_model(str(path), model_type="bert", num_heads=heads, hidden_size=hidden, opt_level=0)
    return graph, collections.Counter(node.op_type for node in graph.model.graph.node)


def in_llama(folder):
    """Vectors from llama.cpp, by the wheel xllamacpp."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(folder / "model.gguf")
    params.embedding = True
    params.n_ctx = params.n_batch = params.n_ubatch = 512
    params.warmup = False
    server = xllamacpp.Server(params)
    return lambda text: numpy.array(server.handle_embeddings({"input": text})["data"][0]["embedding"])


def check_embedder(args, model, place, rows):
    """The folder in sentence-transformers, and GGUF in llama.cpp: the least cosine between its vectors and ours."""

    def least(vector_of):
        def cosine(row):
            ours, theirs = numpy.array(row["sentence_embedding"]), numpy.asarray(vector_of(row["text"]))
            return float(ours @ theirs / numpy.linalg.norm(ours) / numpy.linalg.norm(theirs))

        return min(map(cosine, rows))

    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(str(export(args, model, f"{place}/sentence-transformers")), device="cpu")
    found = {"sentence-transformers": least(encoder.encode)}
    for dtype in ["f32", "f16"]:
        folder = export(args, model, f"{place}/gguf-{dtype}", "--format", "gguf", "--dtype", dtype)
        found[f"gguf {dtype}"] = least(in_llama(folder))
    print("  least cosine", {name: f"{cosine:.6f}" for name, cosine in found.items()})
    assert all(cosine > 0.999 for cosine in found.values())


def at_load(path, *sizes):
    """The operators that are left when ONNX Runtime has loaded a model, whose inputs may have fixed sizes."""
    with tempfile.TemporaryDirectory() as place:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = f"{place}/optimised.onnx"
        for name, size in sizes:
            options.add_free_dimension_override_by_name(name, size)
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        graph = onnx.load(options.optimized_model_filepath, load_external_data=False).graph
        return collections.Counter(node.op_type for node in graph.node)


FUSED = ["Attention", "SkipLayerNormalization", "BiasGelu"]


def fusions(path, config):
    """Every layer is fused by the optimiser, GELU whenever a model is loaded, and normalisations then if its length is fixed."""
    layers = config.get("num_hidden_layers") or config["n_layers"]
    _, left = fused(path, config)
    offline, loaded, fixed = left, at_load(path), at_load(path, ("sequence_length", 64))
    for name, counts in [("optimiser", offline), ("at load", loaded), ("at load, fixed length", fixed)]:
        print(f"  fused by {name}:", {kind: counts[kind] for kind in FUSED}, "in", layers, "layers")
    assert offline["Attention"] == offline["BiasGelu"] == loaded["BiasGelu"] == layers
    assert min(offline["SkipLayerNormalization"], fixed["SkipLayerNormalization"]) >= 2 * layers


def check(args):
    for model in args.models:
        print(model)
        with tempfile.TemporaryDirectory() as place:
            for dtype in ["f32", "f16", "int8"]:
                folder = export(args, model, f"{place}/{dtype}", "--format", "onnx", "--dtype", dtype)
                path, rows = folder / "model.onnx", checks(folder)
                onnx.checker.check_model(str(path), full_check=True)
                gaps = {"onnxruntime": largest_gap(rows, in_onnxruntime(path))}
                try:
                    gaps["openvino"] = largest_gap(rows, in_openvino(path))
                except ImportError:
                    pass
                print(f"  onnx {dtype:5}", {name: f"{gap:.1e}" for name, gap in gaps.items()})
                assert all(gap <= LIMITS.get(dtype, numpy.inf) for gap in gaps.values())
                if dtype == "f32":
                    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
                    fusions(path, config)
            if "start_logits" not in rows[0]:
                check_embedder(args, model, place, rows)
                continue
            for dtype in ["f32", "f16", "bf16"]:
                folder = export(args, model, f"{place}/st-{dtype}", "--dtype", dtype)
                try:
                    print(f"  safetensors {dtype:5} transformers {largest_gap(rows, in_transformers(folder)):.1e}")
                except ImportError:
                    break


def questions_of(path, count):
    """Every so many questions of a data set, so that all articles are among them."""
    data = json.loads(Path(path).read_text(encoding="utf-8"))["data"]
    every = [
        (answered["question"], paragraph["context"], [answer["text"] for answer in answered["answers"]] or [""])
        for article in data
        for paragraph in article["paragraphs"]
        for answered in paragraph["qas"]
    ]
    return every[:: max(1, len(every) // count)][:count]


def answer(run, names, tokenizer, question, context):
    """The best span of all windows, or nothing, by the rules of run_qa."""
    tokenizer.enable_truncation(WINDOW, stride=OVERLAP, strategy="only_second")
    encoded = tokenizer.encode(question.strip(), context)
    best, nothing = (-numpy.inf, ""), numpy.inf
    for window in [encoded, *encoded.overflowing]:
        row = {
            "input_ids": [window.ids],
            "attention_mask": [window.attention_mask],
            "token_type_ids": [window.type_ids],
        }
        start, end = (logits[0] for logits in run(None, feed(row, names)))
        nothing = min(nothing, start[0] + end[0])
        inside = [place for place, owner in enumerate(window.sequence_ids) if owner == 1]
        for first in sorted(inside, key=lambda place: -start[place])[:20]:
            for last in range(first, min(first + LONGEST, inside[-1] + 1)):
                if start[first] + end[last] > best[0]:
                    text = context[window.offsets[first][0] : window.offsets[last][1]]
                    best = (start[first] + end[last], text)
    return best[1] if best[0] > nothing else ""


def words(text):
    text = "".join(char for char in text.lower() if char not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def f1(found, golds):
    def one(found, gold):
        found, gold = words(found), words(gold)
        same = sum((collections.Counter(found) & collections.Counter(gold)).values())
        if not found or not gold or not same:
            return float(found == gold)
        return 2 * same / (len(found) + len(gold))

    return max(one(found, gold) for gold in golds)


def answers(args):
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from tokenizers import Tokenizer

    asked = questions_of(args.squad, args.questions)
    with tempfile.TemporaryDirectory() as place:
        whole = export(args, args.model, f"{place}/f32", "--format", "onnx")
        ours = export(args, args.model, f"{place}/int8", "--format", "onnx", "--dtype", "int8")
        theirs = Path(place) / "dynamic.onnx"
        quantize_dynamic(
            whole / "model.onnx", theirs, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8
        )
        tokenizer = Tokenizer.from_file(str(whole / "tokenizer.json"))
        found = {}
        for name, path in [("f32", whole / "model.onnx"), ("int8", ours / "model.onnx"), ("dynamic", theirs)]:
            runner = session(path)
            names = [put.name for put in runner.get_inputs()]
            found[name] = [answer(runner.run, names, tokenizer, question, context) for question, context, _ in asked]
            score = 100 * sum(f1(text, golds) for text, (_, _, golds) in zip(found[name], asked)) / len(asked)
            same = 100 * sum(a == b for a, b in zip(found[name], found["f32"])) / len(asked)
            size = path.stat().st_size / 1e6
            print(f"{name:8} F1 {score:5.2f}, same answer as f32 {same:5.1f} %, {size:.0f} MB, {len(asked)} questions")


def speed(args):
    from optimum.exporters.onnx import main_export

    with tempfile.TemporaryDirectory() as place:
        weights = export(args, args.model, f"{place}/weights")
        main_export(str(weights), f"{place}/optimum", task="question-answering", do_validation=False)
        ours = export(args, args.model, f"{place}/ours", "--format", "onnx")
        config = json.loads((ours / "config.json").read_text(encoding="utf-8"))
        paths = {"optimum": Path(place) / "optimum/model.onnx", "spanqa": ours / "model.onnx"}
        for name in list(paths):
            graph, _ = fused(paths[name], config)
            paths[f"{name}, fused"] = Path(place) / f"{name}-fused.onnx"
            graph.save_model_to_file(str(paths[f"{name}, fused"]))
        paths["spanqa int8"] = export(args, args.model, f"{place}/int8", "--format", "onnx", "--dtype", "int8") / "model.onnx"
        runners = {name: session(path) for name, path in paths.items()}
        ids = numpy.random.default_rng(1).integers(1000, 20000, (8, 184))
        row = {"input_ids": ids, "attention_mask": numpy.ones_like(ids), "token_type_ids": numpy.zeros_like(ids)}
        best = dict.fromkeys(runners, numpy.inf)
        # By turns, so that a busy moment hits all of them.
        for _ in range(args.rounds):
            for name, runner in runners.items():
                given = feed(row, [put.name for put in runner.get_inputs()])
                began = time.perf_counter()
                runner.run(None, given)
                best[name] = min(best[name], time.perf_counter() - began)
        for name, seconds in best.items():
            print(f"{name:16} {ids.size / seconds:7.0f} tokens/s")
        for kind in ["", ", fused"]:
            ratio = best[f"optimum{kind}"] / best[f"spanqa{kind}"]
            print(f"ratio{kind}: {ratio:.3f}")
            assert ratio >= 0.97


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spanqa", default="spanqa")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("check")
    command.add_argument("models", nargs="+")
    command.set_defaults(run=check)
    command = commands.add_parser("answers")
    command.add_argument("model")
    command.add_argument("--squad", required=True)
    command.add_argument("--questions", type=int, default=500)
    command.set_defaults(run=answers)
    command = commands.add_parser("speed")
    command.add_argument("model")
    command.add_argument("--rounds", type=int, default=20)
    command.set_defaults(run=speed)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
