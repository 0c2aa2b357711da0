"""How tokens/s of spanqa and of ONNX Runtime move with window length, batch size, threads and model size.

    python curves.py --work DIR --squad dev-v2.0.json --spanqa PATH --out DIR

Writes curves.json and one SVG per curve. ONNX Runtime runs with the variant and the batch that calibration finds best.
"""

import argparse
import json
import os
from pathlib import Path

import engines
import measure
import peers
import report
import svg
from process import WorkerError
from shapes import SHAPES

LENGTHS = (16, 32, 64, 128, 256, 384, 512)
BUDGETS = (1, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
LENGTH = 180
COLOURS = {engines.SPANQA: "#d9730d", "onnxruntime": "#2f81f7"}


def take(process, length, least, args):
    """Tokens/s over windows of one length, at least `least` of them; None when a point would take too long."""
    few = min(least, 4)
    process.ask(f"rate {length} {few}")
    predicted = process.ask(f"rate {length} {few}")["seconds"] * least / few
    if predicted > args.limit:
        return None
    # Untimed once: a new shape of batch is prepared for when it is first met.
    warm = process.ask(f"rate {length} {least}")
    count = least * max(1, round(args.seconds / warm["seconds"]))
    reply = process.ask(f"rate {length} {count}")
    return reply["tokens"] / reply["seconds"]


def millions(shape):
    """Weights in the layers, which is what a token meets; the embeddings are only looked up."""
    return round(shape.layer_weights() * shape.layers / 1e6, 1)


class Curves:
    """The points of every curve, engine by engine: {curve: {seat name: [[x, tokens/s], ...]}}"""

    def __init__(self, args):
        self.args, self.found, self.skipped = args, {}, []

    def point(self, curve, x, bench, seat, batch, length=LENGTH, threads=None):
        """One worker, one point. `batch` is tokens for spanqa, windows for the peer."""
        variant, _ = seat.chosen[self.args.most_threads]
        least = max(1, batch // length) if seat.engine == engines.SPANQA else batch
        try:
            process = bench.start(seat, variant, threads or self.args.most_threads, bench.check, batch, "-curves")
            try:
                rate = take(process, length, least, self.args)
            finally:
                process.close()
        except WorkerError as error:
            self.skipped.append(f"{curve}, {seat.name}, {x}: {error}")
            return
        if rate is None:
            self.skipped.append(f"{curve}, {seat.name}, {x}: longer than {self.args.limit:.0f} s")
            return
        self.found.setdefault(curve, {}).setdefault(seat.name, []).append([x, rate])
        peers.say(f"{curve} {x}: {seat.name} {rate:,.0f} tokens/s")

    def best_batch(self, seat, length=LENGTH):
        """The calibrated batch; the peer's keeps its tokens when windows have another length."""
        _, batch = seat.chosen[self.args.most_threads]
        return batch if seat.engine == engines.SPANQA else max(1, round(batch * measure.TRIAL_LENGTH / length))

    def over_length(self, bench, seats):
        for length in LENGTHS:
            for seat in seats:
                self.point("length", length, bench, seat, self.best_batch(seat, length), length=length)

    def over_batch(self, bench, seats):
        """spanqa by its budget of tokens, the peer by the windows that fit into the same budget."""
        for budget in BUDGETS:
            for seat in seats:
                batch = budget if seat.engine == engines.SPANQA else max(1, budget // LENGTH)
                self.point("batch", budget, bench, seat, batch)

    def over_threads(self, bench, seats):
        for threads in range(1, self.args.most_threads + 1):
            for seat in seats:
                self.point("threads", threads, bench, seat, self.best_batch(seat), threads=threads)

    def over_size(self, bench, seats, shape):
        for seat in seats:
            self.point("size", millions(shape), bench, seat, self.best_batch(seat))


def calibrated(args, shape):
    """The bench of a shape, and those of its seats that can be measured."""
    bench, export_failures = peers.make_bench(args, shape, peers.windows_count(shape, args.windows))
    reference = bench.reference(args.most_threads)
    seats = [measure.Seat(engine, dtype) for engine in args.engines for dtype in args.dtypes]
    for seat in seats:
        bench.say(f"calibrating {seat.name}")
        bench.calibrate(seat, [args.most_threads], reference, export_failures)
        if seat.not_measured:
            bench.say(f"{seat.name} is not measured: {seat.not_measured}")
    return bench, [seat for seat in seats if not seat.not_measured]


def draw(args, found, shape):
    """One SVG per curve that has points."""
    threads = report.threads_text(args.most_threads)
    charts = {
        "length": (
            f"{shape.name}, {threads}: window length",
            "tokens in a window",
            {"x_log": True, "x_marks": LENGTHS},
        ),
        "batch": (
            f"{shape.name}, {threads}: batch size, windows of {LENGTH} tokens",
            "tokens in a batch, at most",
            {"x_log": True, "x_marks": BUDGETS},
        ),
        "threads": (f"{shape.name}: threads", "threads", {"x_marks": range(1, args.most_threads + 1)}),
        "size": (
            f"Model size, {threads}",
            "million weights in the layers",
            {"x_log": True, "y_log": True, "x_marks": [millions(SHAPES[name]) for name in args.shapes]},
        ),
    }
    for curve, (title, x_label, options) in charts.items():
        lines = found.get(curve, {})
        order = [f"{engine} {dtype}" for engine in args.engines for dtype in args.dtypes]
        series = [
            (name, COLOURS[name.split()[0]], name.endswith("int8"), lines[name]) for name in order if name in lines
        ]
        if series:
            (args.out / f"{curve}.svg").write_text(
                svg.line_chart(title, x_label, "tokens/s", series, **options), encoding="utf-8"
            )


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    peers.common_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for curves.json and the SVG files")
    parser.add_argument(
        "--shape", choices=SHAPES, default="minilm-l6", help="the shape of all curves but that over size"
    )
    parser.add_argument("--most-threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=2.0, help="about how long a point is timed")
    parser.add_argument(
        "--limit", type=float, default=15.0, help="a point that would take longer for one batch is left out"
    )
    parser.add_argument("--dtypes", type=peers.listed(engines.DTYPES), default=list(engines.DTYPES))
    args = parser.parse_args()
    peers.finish_arguments(parser, args)
    args.threads = [args.most_threads]
    args.engines = [engines.SPANQA, "onnxruntime"]
    if not args.spanqa:
        parser.error("--spanqa PATH is needed")
    return args


def main():
    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    curves = Curves(args)
    for name in dict.fromkeys([args.shape, *args.shapes]):
        shape = SHAPES[name]
        bench, seats = calibrated(args, shape)
        if name == args.shape:
            curves.over_length(bench, seats)
            curves.over_batch(bench, seats)
            curves.over_threads(bench, seats)
        curves.over_size(bench, seats, shape)
        # After every shape: a run that is cut short keeps what it has.
        draw(args, curves.found, SHAPES[args.shape])
        found = {
            "cpu": peers.cpu_info()[0],
            "packages": peers.package_versions(),
            "shape": args.shape,
            "curves": curves.found,
            "skipped": curves.skipped,
        }
        (args.out / "curves.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
