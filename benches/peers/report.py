"""From turns to medians, and from medians to Markdown."""

import statistics

from engines import SPANQA
from measure import layouts_of
from shapes import FLOPS_FORMULA

BASELINE = "onnxruntime f32"


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def percentile(values, share):
    """The value that `share` of all do not exceed, as they were measured."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def best_layout(turns, threads):
    """Of the ways to use `threads`, the one with the highest median."""
    return max(
        layouts_of(threads), key=lambda layout: statistics.median(turn["tokens_per_s"] for turn in turns[layout])
    )


def summarise_seat(turns, baseline, thread_counts, seconds, flops, peak):
    """What one seat's turns come to. `baseline` are the turns of ONNX Runtime in f32, or None."""
    by_threads = {}
    for count in thread_counts:
        layout = best_layout(turns, count)
        rates = [turn["tokens_per_s"] for turn in turns[layout]]
        entry = {
            "layout": layout,
            "tokens_per_s": spread(rates),
            "questions_per_s": statistics.median(turn["questions_per_s"] for turn in turns[layout]),
            "layouts": {
                f"{p} x {t}": spread([turn["tokens_per_s"] for turn in turns[p, t]]) for p, t in layouts_of(count)
            },
        }
        if baseline:
            others = baseline[best_layout(baseline, count)]
            entry["ratio"] = spread([mine / other["tokens_per_s"] for mine, other in zip(rates, others)])
        gflops = (peak or {}).get({1: "f32_gflops_1", max(thread_counts): "f32_gflops_all"}.get(count))
        if gflops:
            entry["share_of_f32_peak"] = statistics.median(rates) * flops / (gflops * 1e9)
        by_threads[count] = entry
    one_process = turns[1, max(thread_counts)]
    return {
        "threads": by_threads,
        "peak_rss_bytes": max(turn["peak_rss_bytes"] for turn in one_process),
        "latency_s": {"p50": percentile(seconds, 0.5), "p95": percentile(seconds, 0.95), "count": len(seconds)},
    }


def table(header, rows, text_columns=1):
    """A Markdown table; the first columns are text, the others are set right."""
    rule = ["---"] * text_columns + ["---:"] * (len(header) - text_columns)
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(rule) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def threads_text(count):
    return f"{count} thread{'s' if count > 1 else ''}"


def ranged(values):
    return f"{number(values['median'])} ({number(values['min'])}-{number(values['max'])})"


def speed_table(shape, thread_counts):
    header = ["engine"]
    for count in thread_counts:
        header += [f"tokens/s, {threads_text(count)}"] + (["processes x threads"] if count > 1 else []) + ["ratio"]
    header += ["questions/s", "p50 ms", "p95 ms", "peak RSS MB", "of f32 peak"]
    most = max(thread_counts)
    rows = []
    for name, seat in shape["seats"].items():
        summary = seat.get("summary")
        if not summary:
            continue
        row = [f"**{name}**" if name.startswith(SPANQA) else name]
        for count in thread_counts:
            entry = summary["threads"][count]
            row.append(ranged(entry["tokens_per_s"]))
            if count > 1:
                row.append("{} x {}".format(*entry["layout"]))
            row.append(f"{entry['ratio']['median']:.2f}" if "ratio" in entry else "")
        share = summary["threads"][most].get("share_of_f32_peak")
        latency = summary["latency_s"]
        row += [
            number(summary["threads"][most]["questions_per_s"]),
            f"{latency['p50'] * 1e3:.1f}",
            f"{latency['p95'] * 1e3:.1f}",
            f"{summary['peak_rss_bytes'] / 1e6:,.0f}",
            f"{share:.0%}" if share and name.endswith("f32") else "",
        ]
        rows.append(row)
    return table(header, rows)


def settings_table(shape):
    """What calibration chose, and how far the logits are from PyTorch's f32."""
    rows = []
    for name, seat in shape["seats"].items():
        for threads, chosen in seat["chosen"].items():
            agreement = seat["agreements"][chosen["variant"]]
            unit = "token" if name.startswith(SPANQA) else "window"
            batch = f"{chosen['batch']:,} {unit}{'s' if chosen['batch'] > 1 else ''}"
            rows.append(
                [
                    f"{name}, {threads_text(threads)}",
                    chosen["variant"],
                    batch,
                    f"{agreement['largest']:.1e}",
                    f"{agreement['correlation']:.5f}",
                    f"{agreement['same_argmax']:.1%}",
                ]
            )
    return table(["engine", "setting", "batch", "largest logit difference", "correlation", "same argmax"], rows, 2)


def shape_section(name, shape, thread_counts):
    """The Markdown of one shape."""
    tokens, count, most = shape["tokens"], shape["windows"], max(thread_counts)
    parts = [
        f"### {name}",
        "",
        f"{count} windows, mean {tokens / count:.0f} tokens; median (least-greatest) of {shape['passes']} interleaved "
        f"passes; ratio to ONNX Runtime f32 within a round; questions/s and memory with {threads_text(most)}, "
        f"memory of one process; latency of one window of about 150 tokens with {threads_text(most)}.",
        "",
        speed_table(shape, thread_counts),
        "",
        settings_table(shape),
        "",
    ]
    missing = [
        f"- {seat_name}: {seat['not_measured']}" for seat_name, seat in shape["seats"].items() if seat["not_measured"]
    ]
    for seat_name, seat in shape["seats"].items():
        if not seat["not_measured"]:
            missing += [f"- {seat_name}, {label}: {why}" for label, why in seat["failures"].items()]
    if missing:
        parts += ["Not measured:", "", *missing, ""]
    if shape["disturbance"]:
        parts += [
            f"Beside the engine being timed, idle workers used at most "
            f"{shape['disturbance']['idle_workers']:.1%} of a core and "
            f"the rest of the machine at most {shape['disturbance']['foreign']:.0%}.",
            "",
        ]
    return "\n".join(parts)


def peak_line(peak, thread_counts):
    if not peak:
        return "The spanqa worker did not report a GEMM peak; no share of it is given."
    return (
        f"GEMM peak, f32, as spanqa measures it: {peak['f32_gflops_1']:.0f} GFLOP/s with one thread, "
        f"{peak['f32_gflops_all']:.0f} with all {max(thread_counts)}. "
        f"Share of peak = tokens/s x FLOPs per token / peak; "
        f"{FLOPS_FORMULA}."
    )
