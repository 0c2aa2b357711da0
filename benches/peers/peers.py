"""spanqa's CPU engine against its peers: the same weights, the same windows, interleaved, in one run.

    python peers.py --work DIR --squad dev-v2.0.json --spanqa PATH [--out results.json]

Makes random checkpoints at five shapes, converts them for every engine, checks that all compute the same logits, finds
the best settings of each, and then times them in turns. Prints Markdown; README.md beside this file says what is
measured and how.
"""

import argparse
import datetime
import importlib.metadata
import json
import subprocess
import sys
import time
from pathlib import Path

import engines
import exports
import measure
import report
from shapes import CPU_SHAPES, SHAPES, exports_dir, mean_met_length, model_dir

HERE = Path(__file__).resolve().parent
VOCAB = HERE.parents[1] / "models" / "builtin" / "vocab.txt"
PACKAGES = (
    "torch",
    "transformers",
    "onnx",
    "onnxruntime",
    "openvino",
    "nncf",
    "ctranslate2",
    "numpy",
    "tokenizers",
    "safetensors",
)
FEWEST_WINDOWS = 16
CHECK_WINDOWS = 64


def say(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def cpu_info():
    """Model name and flags of the first processor."""
    found = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    return found.get("model name", "unknown"), set(found.get("flags", found.get("Features", "")).split())


def package_versions():
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def run_script(log, *command):
    """One of the scripts beside this one, in its own process. Returns why it failed, or None."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as file:
        status = subprocess.run(
            [sys.executable, "-W", "ignore", *map(str, command)], stdout=file, stderr=file, cwd=HERE
        ).returncode
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return None if status == 0 else f"exit status {status}: {lines[-1][:300] if lines else 'no output'}"


def windows_count(shape, asked):
    """`asked` for the smallest shape; larger ones get fewer, so that a pass takes about as long."""
    smallest = min(SHAPES.values(), key=lambda other: other.flops_per_token(200))
    scaled = round(asked * smallest.flops_per_token(200) / shape.flops_per_token(200))
    return min(asked, max(FEWEST_WINDOWS, scaled))


def prepare_windows(args, shape, count):
    path = args.work / "windows" / f"{shape.pair}-{count}.json"
    if not path.exists():
        failed = run_script(
            args.work / "logs" / "windows.log",
            "prepare.py",
            "windows",
            path,
            shape.name,
            "--squad",
            *args.squad,
            "--vocab",
            args.vocab,
            "--count",
            count,
        )
        if failed:
            sys.exit(f"windows: {failed}")
    return measure.Windows.read(path)


def prepare_model(args, shape):
    folder = model_dir(args.work, shape)
    if not (folder / "config.json").exists():
        say(f"{shape.name}: making the checkpoint")
        failed = run_script(
            args.work / "logs" / f"{shape.name}-checkpoint.log", "prepare.py", "checkpoint", folder, shape.name
        )
        if failed:
            sys.exit(f"checkpoint of {shape.name}: {failed}")
    return folder


def export(args, shape, windows, wanted):
    """Every conversion that a variant wants. {format: why it failed}"""
    out, failures = exports_dir(args.work, shape), {}
    for name in dict.fromkeys(step for format in wanted for step in exports.chain_of(format)):
        before = exports.FORMATS[name][1]
        if before in failures:
            failures[name] = failures[before]
        elif not (out / exports.FORMATS[name][0]).exists():
            say(f"{shape.name}: exporting {name}")
            failed = run_script(
                args.work / "logs" / f"{shape.name}-export-{name}.log",
                "exports.py",
                name,
                "--model",
                model_dir(args.work, shape),
                "--out",
                out,
                "--windows",
                windows.path,
            )
            if failed:
                failures[name] = failed
    return failures


def make_bench(args, shape, count):
    """The files of one shape, made where they are missing, and what could not be exported."""
    folder = prepare_model(args, shape)
    windows = prepare_windows(args, shape, count)
    check = prepare_windows(args, shape, min(count, CHECK_WINDOWS))
    flags = cpu_info()[1]
    variants = [
        variant
        for engine in args.engines
        for dtype in args.dtypes
        for variant in engines.variants_of(engine, dtype, max(args.threads), flags)
    ]
    failures = export(args, shape, check, [variant.format for variant in variants if variant.format])
    site = engines.Site(folder, exports_dir(args.work, shape), args.spanqa, args.batch_tokens)
    logs = args.work / "logs" / shape.name
    logs.mkdir(parents=True, exist_ok=True)
    bench = measure.Bench(site, windows, check, logs, flags, args.batches, lambda text: say(f"{shape.name}: {text}"))
    return bench, failures


def measure_shape(args, shape, bench, export_failures, peak):
    """Everything about one shape, ready for results.json."""
    most = max(args.threads)
    seats = [measure.Seat(engine, dtype) for engine in args.engines for dtype in args.dtypes]
    bench.say("reference logits")
    reference = bench.reference(most)
    thread_counts = {threads for count in args.threads for _, threads in measure.layouts_of(count)}
    for seat in seats:
        bench.say(f"calibrating {seat.name}")
        bench.calibrate(seat, thread_counts, reference, export_failures)
        if seat.not_measured:
            bench.say(f"{seat.name} is not measured: {seat.not_measured}")
    turns, evictions = bench.throughput(seats, args.threads, args.passes)
    bench.say("single questions")
    seconds = bench.latency(seats, most, args.passes, args.singles)

    lengths = bench.windows.lengths
    flops = shape.flops_per_token(mean_met_length(lengths))
    measured = {seat.name: turns[seat.name] for seat in seats if not seat.not_measured}
    baseline = measured.get(report.BASELINE)
    every = [turn for layouts in measured.values() for found in layouts.values() for turn in found]
    return {
        "windows": len(lengths),
        "tokens": sum(lengths),
        "passes": args.passes,
        "flops_per_token": flops,
        "restarts_for_memory": evictions,
        "disturbance": {key: max(turn[key] for turn in every) for key in ("idle_workers", "foreign")}
        if every
        else None,
        "seats": {seat.name: seat_result(seat, turns, seconds, baseline, args.threads, flops, peak) for seat in seats},
    }


def seat_result(seat, turns, seconds, baseline, threads, flops, peak):
    result = {
        "not_measured": seat.not_measured,
        "agreements": seat.agreements,
        "failures": seat.failures,
        "trials": seat.trials,
        "chosen": {
            count: {"variant": variant.label, "batch": batch} for count, (variant, batch) in sorted(seat.chosen.items())
        },
        "variant_for_single": seat.quickest.label if seat.quickest else None,
        "details": seat.details,
    }
    if not seat.not_measured:
        mine = turns[seat.name]
        result["turns"] = {f"{p} x {t}": found for (p, t), found in mine.items()}
        result["singles_s"] = seconds[seat.name]
        result["summary"] = report.summarise_seat(mine, baseline, threads, seconds[seat.name], flops, peak)
    return result


def listed(choices):
    """An argument type: names out of `choices`, separated by commas."""

    def parse(text):
        names = text.split(",")
        for name in names:
            if name not in choices:
                raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(choices)}")
        return names

    return parse


def numbers(text):
    found = sorted({int(part) for part in text.split(",")})
    if found[0] < 1:
        raise argparse.ArgumentTypeError("thread counts begin at 1")
    return found


def common_arguments(parser):
    """What curves.py takes as well."""
    parser.add_argument(
        "--work",
        type=Path,
        required=True,
        help="checkpoints and exports are made here once: about 16 GB for all shapes",
    )
    parser.add_argument(
        "--squad", type=Path, nargs="+", required=True, help="files of SQuAD form, for real questions and contexts"
    )
    parser.add_argument("--spanqa", help="the command of spanqa's bench worker")
    parser.add_argument("--vocab", type=Path, default=VOCAB, help="uncased WordPiece vocabulary")
    parser.add_argument("--shapes", type=listed(SHAPES), default=CPU_SHAPES)
    parser.add_argument("--batch-tokens", type=int, default=2048, help="what the spanqa worker may pack into a batch")
    parser.add_argument("--windows", type=int, default=256, help="for the smallest shape; larger ones get fewer")
    parser.add_argument(
        "--batches", type=numbers, default=[1, 4, 8, 16, 32], help="windows in a peer's batch that calibration tries"
    )


def finish_arguments(parser, args):
    """Paths that hold in any folder, because the scripts run in their own."""
    args.work = args.work.resolve()
    for path in [*args.squad, args.vocab]:
        if not path.is_file():
            parser.error(f"no file {path}")
    args.squad = [path.resolve() for path in args.squad]
    args.vocab = args.vocab.resolve()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    common_arguments(parser)
    parser.add_argument("--engines", type=listed(engines.ENGINES), default=list(engines.ENGINES))
    parser.add_argument("--dtypes", type=listed(engines.DTYPES), default=list(engines.DTYPES))
    parser.add_argument(
        "--threads", type=numbers, default=[1, 2], help="comma-separated; latency is measured at the largest"
    )
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--singles", type=int, default=30, help="windows asked alone, in every pass")
    parser.add_argument("--out", type=Path, default=Path("results.json"))
    args = parser.parse_args()
    finish_arguments(parser, args)
    if engines.SPANQA in args.engines and not args.spanqa:
        parser.error("--spanqa PATH is needed, or --engines without spanqa")
    return args


def main():
    args = parse_arguments()
    results = {
        "command_line": sys.argv,
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "cpu": cpu_info()[0],
        "python": sys.version.split()[0],
        "packages": package_versions(),
        "peak": None,
        "shapes": {},
    }
    for name in args.shapes:
        bench, export_failures = make_bench(args, SHAPES[name], windows_count(SHAPES[name], args.windows))
        if engines.SPANQA in args.engines and not results["shapes"]:
            results["peak"] = measure.ask_peak(bench, max(args.threads))
        results["shapes"][name] = measure_shape(args, SHAPES[name], bench, export_failures, results["peak"])
        print(report.shape_section(name, results["shapes"][name], args.threads), flush=True)
        # After every shape: a run that is cut short keeps what it has.
        args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(report.peak_line(results["peak"], args.threads))
    versions = ", ".join(f"{name} {version}" for name, version in results["packages"].items() if version)
    print(f"\n{results['cpu']}, {results['date'][:10]}; Python {results['python']}, {versions}.")


if __name__ == "__main__":
    main()
