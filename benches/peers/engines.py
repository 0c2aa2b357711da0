"""Which engines are measured, in which variants, and how their workers are started."""

import json
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

WORKER = Path(__file__).resolve().parent / "worker.py"
SPANQA = "spanqa"
REFERENCE = "pytorch"
DTYPES = ("f32", "int8")


@dataclass(frozen=True, eq=False)
class Variant:
    """One way to run an engine; calibration keeps the fastest."""

    label: str
    format: str | None = None  # the export it loads, a key of exports.FORMATS
    settings: dict = field(default_factory=dict)
    env: dict = field(default_factory=dict)
    least_threads: int = 1
    cpu_flag: str | None = None  # what /proc/cpuinfo must list

    def fits(self, threads, cpu_flags):
        return threads >= self.least_threads and (self.cpu_flag is None or self.cpu_flag in cpu_flags)


def openvino_variants(formats):
    """Each network under both hints; with one thread they are the same."""
    return [
        Variant(f"{label}, {hint.lower()} hint", name, {"hint": hint}, least_threads=least)
        for name, label in formats.items()
        for hint, least in (("LATENCY", 1), ("THROUGHPUT", 2))
    ]


# On processors that are not Intel's, CTranslate2 keeps to AVX2 unless told otherwise.
CTRANSLATE2 = [
    Variant("own choice of instructions", "ctranslate2"),
    Variant("AVX-512 forced", "ctranslate2", env={"CT2_FORCE_CPU_ISA": "AVX512"}, cpu_flag="avx512f"),
]

PEERS = {
    ("pytorch", "f32"): [Variant("sdpa")],
    ("pytorch", "int8"): [
        Variant(f"quantize_dynamic, {backend}", settings={"backend": backend}) for backend in ("fbgemm", "onednn")
    ],
    ("onnxruntime", "f32"): [Variant("transformer fusions", "onnx-fused"), Variant("own optimisations only", "onnx")],
    ("onnxruntime", "int8"): [
        Variant("dynamic, full range", "onnx-int8"),
        Variant("dynamic, reduced range", "onnx-int8-reduced"),
    ],
    ("openvino", "f32"): openvino_variants({"openvino": "from ONNX", "openvino-sdpa": "from torch"}),
    ("openvino", "int8"): openvino_variants(
        {"openvino-int8": "static (nncf)", "openvino-int8-weights": "dynamic (nncf weights)"}
    ),
    ("ctranslate2", "f32"): CTRANSLATE2,
    ("ctranslate2", "int8"): CTRANSLATE2,
}
ENGINES = (SPANQA, "onnxruntime", "openvino", "ctranslate2", "pytorch")


def variants_of(engine, dtype, threads, cpu_flags):
    every = [Variant("as built")] if engine == SPANQA else PEERS[engine, dtype]
    return [variant for variant in every if variant.fits(threads, cpu_flags)]


@dataclass(frozen=True)
class Site:
    """Where the workers of one shape find their files."""

    model: Path
    exports: Path
    spanqa: str | None
    spanqa_batch_tokens: int


# What a peer's batch may hold besides its number of windows: more than any calibrated batch needs.
PEER_BATCH_TOKENS = 1 << 20


def command_line(site, engine, dtype, variant, threads, windows, batch=None):
    """The arguments and the environment of one worker; `batch` is windows for a peer, tokens for spanqa."""
    if engine == SPANQA:
        command = shlex.split(site.spanqa)
        tokens = batch or site.spanqa_batch_tokens
    else:
        settings = {**variant.settings, "format": variant.format, "env": variant.env}
        command = [
            sys.executable,
            "-W",
            "ignore",
            str(WORKER),
            "--engine",
            engine,
            "--settings",
            json.dumps(settings),
            "--exports",
            str(site.exports),
            "--batch-windows",
            str(batch or 1),
        ]
        tokens = PEER_BATCH_TOKENS
    command += [
        "--model",
        str(site.model),
        "--windows",
        str(windows),
        "--threads",
        str(threads),
        "--dtype",
        dtype,
        "--batch-tokens",
        str(tokens),
    ]
    return command, variant.env
