"""Calibration of one engine to its best settings, and the interleaved rounds in which all of them are timed."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import engines
import logits
from process import Pool, Process, Watch, WorkerError

FIRST_BATCH = 4  # at which variants are compared
TRIAL_LENGTH = 180
TRIAL_SECONDS = 1.0
LONGEST_TRIAL = 8.0
# Runtimes may spin for up to 0.2 s after their last batch; the next engine's turn begins after that.
SETTLE_SECONDS = 0.3
LATENCY_LENGTH = 150
LONGEST_WARM_UP = 15.0


@dataclass
class Windows:
    """One file of windows and the lengths in it."""

    path: Path
    lengths: list

    @classmethod
    def read(cls, path):
        windows = json.loads(path.read_text(encoding="utf-8"))["windows"]
        return cls(path, [len(window["ids"]) for window in windows])

    def part(self, index, of):
        """Every `of`-th window by length, as a file of its own: parts are alike, whatever the number of windows."""
        path = self.path.with_name(f"{self.path.stem}-{index + 1}of{of}.json")
        if of == 1:
            return self
        windows = json.loads(self.path.read_text(encoding="utf-8"))["windows"]
        windows.sort(key=lambda window: len(window["ids"]))
        # Back and forth, so that no part gets the longer one of every pair.
        dealt = [
            window
            for turn, begin in enumerate(range(0, len(windows), of))
            for place, window in enumerate(windows[begin : begin + of])
            if (place if turn % 2 == 0 else of - 1 - place) == index
        ]
        path.write_text(json.dumps({"windows": dealt}), encoding="utf-8")
        return Windows(path, [len(window["ids"]) for window in dealt])

    def fill(self, batch):
        """Real tokens in padded ones when batches of `batch` windows are cut from the sorted list."""
        lengths = sorted(self.lengths, reverse=True)
        padded = sum(lengths[begin] * len(lengths[begin : begin + batch]) for begin in range(0, len(lengths), batch))
        return sum(lengths) / padded

    def nearest(self, length, count):
        """Indices of the `count` windows nearest to a length."""
        return sorted(range(len(self.lengths)), key=lambda i: abs(self.lengths[i] - length))[:count]


@dataclass
class Seat:
    """One engine in one dtype: what was found out about it for this shape."""

    engine: str
    dtype: str
    agreements: dict = field(default_factory=dict)  # variant label: its agreement with PyTorch f32
    failures: dict = field(default_factory=dict)  # variant label: why it does not take part
    trials: list = field(default_factory=list)
    chosen: dict = field(default_factory=dict)  # threads: (variant, batch)
    quickest: engines.Variant | None = None  # the variant for single questions
    details: dict = field(default_factory=dict)  # threads: what the worker says it is
    not_measured: str | None = None

    @property
    def name(self):
        return f"{self.engine} {self.dtype}"

    def rate(self, threads):
        """The best tokens/s that calibration saw."""
        return max(
            trial["tokens_per_s"] for trial in self.trials if trial["threads"] == threads and "tokens_per_s" in trial
        )


class Bench:
    """One shape: its site, its windows, and the seats."""

    def __init__(self, site, windows, check, logs, cpu_flags, batches, say):
        self.site, self.windows, self.check, self.logs = site, windows, check, logs
        self.cpu_flags, self.batches, self.say = cpu_flags, batches, say

    def start(self, seat, variant, threads, windows, batch=None, tag=""):
        command, env = engines.command_line(self.site, seat.engine, seat.dtype, variant, threads, windows.path, batch)
        log = self.logs / f"{seat.engine}-{seat.dtype}-{threads}{tag}.log"
        return Process(command, env, threads, log)

    def reference(self, threads):
        """PyTorch's f32 logits of the windows to check by."""
        seat = Seat(engines.REFERENCE, "f32")
        process = self.start(seat, engines.PEERS[engines.REFERENCE, "f32"][0], threads, self.check, tag="-reference")
        path = self.logs / "reference.f32"
        try:
            process.ask(f"logits {path}")
        finally:
            process.close()
        return logits.read_rows(path, self.check.lengths)

    # Calibration

    def calibrate(self, seat, thread_counts, reference, export_failures):
        """Check every variant, then find the fastest variant and batch for each number of threads."""
        most = max(thread_counts)
        for threads in sorted(thread_counts, reverse=True):
            rates, singles = {}, {}
            for variant in engines.variants_of(seat.engine, seat.dtype, threads, self.cpu_flags):
                if variant.format in export_failures:
                    seat.failures[variant.label] = f"export: {export_failures[variant.format]}"
                if variant.label in seat.failures:
                    continue
                try:
                    process = self.start(seat, variant, threads, self.check, tag="-calibration")
                    try:
                        if variant.label not in seat.agreements:
                            self.check_logits(seat, variant, process, reference)
                        if threads == most:
                            singles[variant] = self.time_single(process)
                        rates[variant] = self.try_batch(seat, variant, threads, process, FIRST_BATCH)
                    finally:
                        process.close()
                except (WorkerError, ValueError) as error:
                    seat.failures[variant.label] = str(error)
            if not rates:
                reasons = dict.fromkeys(seat.failures.values())
                seat.not_measured = "; ".join(reasons) or "no variant for this processor"
                return
            best = max(rates, key=rates.get)
            batch = self.choose_batch(seat, best, threads, rates[best])
            seat.chosen[threads] = (best, batch)
            if singles:
                seat.quickest = min(singles, key=singles.get)

    def check_logits(self, seat, variant, process, reference):
        path = self.logs / f"{seat.engine}-{seat.dtype}.f32"
        if seat.engine != engines.SPANQA:
            process.ask("batch 8")
        process.ask(f"logits {path}")
        agreement = logits.compare(reference, logits.read_rows(path, self.check.lengths))
        seat.agreements[variant.label] = agreement
        reason = logits.disagreement(seat.dtype, agreement)
        if reason:
            raise WorkerError(reason)

    def time_single(self, process):
        index = self.check.nearest(LATENCY_LENGTH, 1)[0]
        return min(process.ask(f"single {index}")["seconds"] for _ in range(4))

    def try_batch(self, seat, variant, threads, process, batch):
        """Tokens/s that a batch size would give: its rate without padding, times the real tokens in padded ones."""
        if seat.engine != engines.SPANQA:
            process.ask(f"batch {batch}")
        process.ask(f"rate {TRIAL_LENGTH} {batch}")
        first = process.ask(f"rate {TRIAL_LENGTH} {batch}")
        repeats = max(1, round(TRIAL_SECONDS / first["seconds"]))
        reply = process.ask(f"rate {TRIAL_LENGTH} {batch * repeats}") if repeats > 1 else first
        fill = 1.0 if seat.engine == engines.SPANQA else self.windows.fill(batch)
        rate = reply["tokens"] / reply["seconds"] * fill
        seat.trials.append({"threads": threads, "variant": variant.label, "batch_windows": batch, "tokens_per_s": rate})
        return rate

    def choose_batch(self, seat, variant, threads, first_rate):
        if seat.engine == engines.SPANQA:
            return self.site.spanqa_batch_tokens
        rates = {FIRST_BATCH: first_rate}
        process = self.start(seat, variant, threads, self.check, tag="-calibration")
        try:
            for batch in self.batches:
                if batch not in rates and 2 * batch * TRIAL_LENGTH / first_rate < LONGEST_TRIAL:
                    rates[batch] = self.try_batch(seat, variant, threads, process, batch)
        except WorkerError as error:
            # A batch too large for the engine: the sizes before it stand.
            seat.trials.append(
                {"threads": threads, "variant": variant.label, "batch_windows": batch, "error": str(error)}
            )
        finally:
            process.close()
        return max(rates, key=rates.get)

    # Timing

    def throughput(self, seats, thread_counts, passes):
        """Rounds of one pass per seat and layout. {seat name: {(processes, threads): [turn, ...]}}"""
        layouts = sorted({layout for count in thread_counts for layout in layouts_of(count)})
        turns = {seat.name: {layout: [] for layout in layouts} for seat in seats}
        with Pool(self.room()) as pool:
            for number in range(passes):
                for seat in seats:
                    for layout in layouts if not seat.not_measured else []:
                        try:
                            turns[seat.name][layout].append(self.turn(pool, seat, layout))
                        except WorkerError as error:
                            seat.not_measured = f"during the rounds: {error}"
                            pool.discard(lambda key: key[0] == seat.name)
                            break
                self.say(f"round {number + 1} of {passes} done")
            evictions = pool.evictions
        return turns, evictions

    def room(self):
        """What a start may need before an older worker has to go: copies of the weights, and a runtime."""
        weights = (self.site.model / "model.safetensors").stat().st_size
        return 3 * weights + (1 << 30)

    def turn(self, pool, seat, layout):
        """One pass over all windows by `processes` workers at once."""
        processes, threads = layout
        variant, batch = seat.chosen[threads]
        workers, keys = [], [(seat.name, layout, index) for index in range(processes)]
        for index, key in enumerate(keys):
            part = self.windows.part(index, processes)
            tag = f"-{index + 1}of{processes}"
            worker, new = pool.get(key, lambda: self.start(seat, variant, threads, part, batch, tag), keys)
            seat.details[threads] = worker.ready.get("detail", "")
            self.warm(worker, part, seat, threads, new)
            workers.append(worker)
        time.sleep(SETTLE_SECONDS)
        watch = Watch(pool, workers)
        began = time.perf_counter()
        for worker in workers:
            worker.send("pass")
        # Replies are read side by side: each is stamped when it comes.
        with ThreadPoolExecutor(len(workers)) as readers:
            replies = list(readers.map(Process.receive, workers))
        wall = time.perf_counter() - began
        shares = watch.shares()
        return {
            "tokens_per_s": sum(reply["tokens"] for reply in replies) / wall,
            "questions_per_s": sum(reply["windows"] for reply in replies) / wall,
            "peak_rss_bytes": sum(reply["peak_rss_bytes"] for reply in replies),
            **shares,
        }

    def warm(self, worker, part, seat, threads, new):
        """An untimed pass, because a runtime prepares for every shape of batch when it first meets it.

        A worker that ran before is only woken. Where a pass takes long, those preparations do not show in it, and the
        largest batch is enough.
        """
        if not new:
            worker.ask("single 0")
        elif sum(part.lengths) / seat.rate(threads) < LONGEST_WARM_UP:
            worker.ask("pass")
        else:
            batch = 1 if seat.engine == engines.SPANQA else seat.chosen[threads][1]
            worker.ask(f"rate {max(part.lengths)} {batch}")

    def latency(self, seats, threads, passes, count):
        """Single windows of about 150 tokens, all of them by one seat after the other. {seat name: [seconds, ...]}"""
        indices = self.windows.nearest(LATENCY_LENGTH, count)
        seconds = {seat.name: [] for seat in seats}
        with Pool(self.room()) as pool:
            for _ in range(passes):
                for seat in seats:
                    if seat.not_measured:
                        continue
                    try:
                        worker, new = pool.get(
                            seat.name, lambda: self.start(seat, seat.quickest, threads, self.windows, tag="-latency")
                        )
                        time.sleep(SETTLE_SECONDS)
                        for index in indices if new else indices[:2]:
                            worker.ask(f"single {index}")
                        seconds[seat.name] += [worker.ask(f"single {index}")["seconds"] for index in indices]
                    except WorkerError as error:
                        seat.not_measured = f"single questions: {error}"
                        pool.discard(lambda key: key == seat.name)
        return seconds


def layouts_of(threads):
    """Every way to use this many threads: (processes, threads of each)."""
    return [(processes, threads // processes) for processes in range(1, threads + 1) if threads % processes == 0]


def ask_peak(bench, threads):
    """GEMM GFLOP/s as the spanqa worker measures it, or None when it does not know the command."""
    seat = Seat(engines.SPANQA, "f32")
    try:
        process = bench.start(
            seat, engines.variants_of(seat.engine, "f32", threads, set())[0], threads, bench.check, tag="-peak"
        )
        try:
            return process.ask("peak")
        finally:
            process.close()
    except WorkerError:
        return None
