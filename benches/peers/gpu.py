"""spanqa on a CUDA card against PyTorch and ONNX Runtime on the same card: the same weights and windows, in turns, in one run.

    python gpu.py --work DIR --squad dev-v2.0.json --spanqa PATH [--out gpu.json]

PATH is spanqa's bench worker, built for CUDA: `cargo bench --features cuda --bench worker --no-run` says where it is. Checkpoints
and windows are those of peers.py. Peers get padded batches sorted by length, of the size at which they are fastest. Prints
Markdown.
"""

import argparse
import datetime
import json
import shlex
import statistics
import sys
from pathlib import Path

import numpy

import exports
import peers
from process import Process, WorkerError
from shapes import SHAPES, exports_dir, mean_met_length

BATCHES = [16, 32, 64, 128, 256]
MATRIX = 8192
# The windows whose logits are compared: enough to see a fault, and soon done on a processor.
CHECK_WINDOWS = 64
# Larger models get fewer windows, but enough to fill the card a few times.
FEWEST_WINDOWS = 3072


def engines_of(args, folder, exported, windows):
    """{name: (command, whether its batch size is to be found)}"""

    def peer(engine, settings, dtype):
        command = [sys.executable, "-W", "ignore", peers.HERE / "worker.py", "--engine", engine, "--settings"]
        command += [json.dumps(settings), "--model", folder, "--exports", exported, "--windows", windows]
        return [*map(str, command), "--threads", "4", "--dtype", dtype, "--batch-tokens", str(1 << 20)]

    own = shlex.split(args.spanqa) + ["--model", str(folder), "--windows", str(windows), "--device", args.device]
    torch = {"device": args.device}
    found = {f"spanqa {dtype}": (own + ["--dtype", dtype], False) for dtype in args.dtypes}
    for dtype in args.dtypes:
        if dtype != "tf32":
            found[f"PyTorch SDPA {dtype}"] = (peer("pytorch", torch, dtype), True)
        if dtype != "tf32" and args.compile:
            found[f"PyTorch SDPA compiled {dtype}"] = (peer("pytorch", {**torch, "compile": True}, dtype), True)
    if args.onnx:
        settings = {"format": args.onnx, "provider": "CUDAExecutionProvider"}
        found["ONNX Runtime"] = (peer("onnxruntime", settings, "f32"), True)
    return found


def matrix_peak(device):
    """FLOP/s of a large product of half-precision matrices, the most of ten."""
    import torch

    if not device.startswith("cuda"):
        return None
    left, right = (torch.randn(MATRIX, MATRIX, device=device, dtype=torch.float16) for _ in range(2))
    seconds = []
    for _ in range(13):
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        left @ right
        ended.record()
        torch.cuda.synchronize()
        seconds.append(began.elapsed_time(ended) / 1000)
    return 2 * MATRIX**3 / min(seconds[3:])


def largest_gap(process, path, reference):
    process.ask(f"logits {path} {CHECK_WINDOWS}")
    return float(numpy.abs(numpy.fromfile(path, "<f4") - reference).max())


def measure(args, shape, peak):
    folder = peers.prepare_model(args, shape)
    count = min(args.windows, max(FEWEST_WINDOWS, peers.windows_count(shape, args.windows)))
    windows = peers.prepare_windows(args, shape, count)
    exported = exports_dir(args.work, shape)
    failures = peers.export(args, shape, windows, [args.onnx]) if args.onnx else {}
    logs = args.work / "logs" / f"gpu-{shape.name}"
    reference_file = logs / "reference.f32"
    running, results = {}, {}
    try:
        commands = engines_of(args, folder, exported, windows.path)
        reference = Process(
            [*commands[f"spanqa {args.dtypes[0]}"][0][:-4], "--device", "cpu", "--dtype", "f32"], {}, 4, logs / "reference.log"
        )
        reference.ask(f"logits {reference_file} {CHECK_WINDOWS}")
        reference.close()
        expected = numpy.fromfile(reference_file, "<f4")
        for name, (command, batched) in commands.items():
            if args.onnx in failures and name == "ONNX Runtime":
                results[name] = {"not_measured": failures[args.onnx]}
                continue
            try:
                peers.say(f"{shape.name}: {name}")
                process = Process(command, {}, 4, logs / f"{name.replace(' ', '-')}.log", timeout=1200)
                running[name] = process
                results[name] = {"detail": process.ready["detail"], "passes": [], "singles": []}
                if batched:
                    process.ask(f"batch {min(args.batches)}")
                results[name]["gap"] = largest_gap(process, logs / "logits.f32", expected)
                if batched:
                    rates = {}
                    for batch in args.batches:
                        process.ask(f"batch {batch}")
                        process.ask("pass")
                        rates[batch] = process.ask("pass")["seconds"]
                    results[name]["batch"] = min(rates, key=rates.get)
                    process.ask(f"batch {results[name]['batch']}")
                process.ask("pass")
            except WorkerError as error:
                results[name] = {"not_measured": str(error)}
                running.pop(name, None)
        for _ in range(args.passes):
            for name, process in running.items():
                results[name]["passes"].append(process.ask("pass")["seconds"])
        for index in [*range(args.singles), *range(args.singles)]:
            for name, process in running.items():
                results[name]["singles"].append(process.ask(f"single {index}")["seconds"])
    finally:
        for process in running.values():
            process.close()
    tokens, count = sum(windows.lengths), len(windows.lengths)
    flops = shape.flops_per_token(mean_met_length(windows.lengths)) * tokens
    return {"tokens": tokens, "windows": count, "flops": flops, "peak": peak, "engines": results}


def section(name, found):
    lines = [f"## {name}: {found['windows']} windows, {found['tokens']} tokens", ""]
    lines += ["| engine | questions/s | tokens/s | TFLOP/s | of the matrix peak | one question, p50 | largest logit difference |"]
    lines += ["|---|---:|---:|---:|---:|---:|---:|"]
    for engine, result in found["engines"].items():
        if "not_measured" in result:
            lines.append(f"| {engine} | not measured: {result['not_measured']} | | | | | |")
            continue
        seconds = statistics.median(result["passes"])
        # Each length is seen once before the second half: what is prepared per length is ready then.
        single = 1000 * statistics.median(result["singles"][len(result["singles"]) // 2 :])
        share = f"{100 * found['flops'] / seconds / found['peak']:.0f} %" if found["peak"] else "-"
        lines.append(
            f"| {engine} | {found['windows'] / seconds:,.0f} | {found['tokens'] / seconds:,.0f} "
            f"| {found['flops'] / seconds / 1e12:.1f} | {share} | {single:.2f} ms | {result['gap']:.1e} |"
        )
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    peers.common_arguments(parser)
    parser.set_defaults(windows=8192, shapes=list(SHAPES), batches=BATCHES)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--dtypes", type=peers.listed(["f16", "bf16", "f32", "tf32"]), default=["f16"])
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave out torch.compile, which takes minutes")
    parser.add_argument("--onnx", choices=list(exports.FORMATS), help="the export that ONNX Runtime is given, if any")
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--singles", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    args = parser.parse_args()
    peers.finish_arguments(parser, args)
    if not args.spanqa:
        parser.error("--spanqa PATH is needed")
    peak = matrix_peak(args.device)
    results = {"command_line": sys.argv, "date": datetime.datetime.now().astimezone().isoformat(), "shapes": {}}
    for name in args.shapes:
        results["shapes"][name] = measure(args, SHAPES[name], peak)
        print(section(name, results["shapes"][name]), flush=True)
        args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
