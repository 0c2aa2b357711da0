"""Turns a checkpoint into what a peer loads; one conversion per process, so that a failing one takes nothing along.

    python exports.py FORMAT --model DIR --out DIR [--windows FILE]

Every conversion writes under a temporary name and renames at its end: what exists is complete.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

OPSET = 17
CALIBRATION_WINDOWS = 24

# What a conversion writes below --out, and which other conversion it starts from.
FORMATS = {
    "onnx": ("onnx/plain.onnx", None),
    "onnx-fused": ("onnx/fused.onnx", "onnx"),
    "onnx-int8": ("onnx/int8.onnx", "onnx-fused"),
    "onnx-int8-reduced": ("onnx/int8-reduced.onnx", "onnx-fused"),
    "openvino": ("openvino/f32.xml", "onnx"),
    "openvino-sdpa": ("openvino/sdpa.xml", None),
    "openvino-int8": ("openvino/int8.xml", "openvino"),
    "openvino-int8-weights": ("openvino/int8-weights.xml", "openvino"),
    "ctranslate2": ("ctranslate2/model.bin", None),
}


def chain_of(name):
    """The conversions that lead to `name`, first to last."""
    before = FORMATS[name][1]
    return ([] if before is None else chain_of(before)) + [name]


def read_config(model):
    return json.loads((model / "config.json").read_text(encoding="utf-8"))


def input_names(config):
    """DistilBERT knows no segments."""
    names = ["input_ids", "attention_mask", "token_type_ids"]
    return names[:2] if config["model_type"] == "distilbert" else names


def load_traceable(model, attention):
    """The model as a module of positional inputs and two outputs, with inputs to trace it by."""
    import torch
    from transformers import AutoModelForQuestionAnswering

    reader = AutoModelForQuestionAnswering.from_pretrained(
        model, dtype=torch.float32, attn_implementation=attention
    ).eval()
    names = input_names(read_config(model))

    class Traceable(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.reader = reader

        def forward(self, *inputs):
            output = self.reader(**dict(zip(names, inputs)))
            return output.start_logits, output.end_logits

    # One window is padded, or the trace would leave the mask out.
    ids = torch.full((2, 24), 1000)
    mask = torch.ones_like(ids)
    mask[1, 20:] = 0
    return Traceable(), (ids, mask, torch.zeros_like(ids))[: len(names)], names


def write_onnx(model, target, _source, _windows):
    """The tracing exporter and eager attention: the graph that ONNX Runtime's transformer fusions recognise.

    Of the graph that torch's newer exporter writes they match no attention.
    """
    import torch

    module, inputs, names = load_traceable(model, "eager")
    axes = {name: {0: "batch", 1: "length"} for name in [*names, "start", "end"]}
    torch.onnx.export(
        module,
        inputs,
        str(target),
        input_names=names,
        output_names=["start", "end"],
        dynamic_axes=axes,
        opset_version=OPSET,
        dynamo=False,
    )


def write_fused(model, target, source, _windows):
    from onnxruntime.transformers import optimizer

    config = read_config(model)
    heads = config.get("num_attention_heads") or config["n_heads"]
    hidden = config.get("hidden_size") or config["dim"]
    fused = optimizer.optimize_model(str(source), model_type="bert", num_heads=heads, hidden_size=hidden, opt_level=0)
    counts = fused.get_fused_operator_statistics()
    layers = config.get("num_hidden_layers") or config["n_layers"]
    if counts["Attention"] != layers or counts["SkipLayerNormalization"] != 2 * layers:
        raise RuntimeError(f"the fusions of ONNX Runtime did not match this graph: {counts}")
    fused.save_model_to_file(str(target))


def write_onnx_int8(reduce_range):
    def write(_model, target, source, _windows):
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        # The products only: an embedding is looked up, not multiplied. The type is named because inference of types
        # stops at fused operators.
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "Attention"],
            per_channel=True,
            reduce_range=reduce_range,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )

    return write


def save_openvino(converted, target):
    import openvino

    # Beside target: its second file, .bin, takes the same stem.
    folder = target.with_suffix(".partial")
    folder.mkdir()
    openvino.save_model(converted, folder / target.name, compress_to_fp16=False)
    for file in sorted(folder.iterdir()):  # .bin before .xml
        file.rename(target.parent / file.name)
    folder.rmdir()


def write_openvino(_model, target, source, _windows):
    import openvino

    save_openvino(openvino.convert_model(source), target)


def write_openvino_sdpa(model, target, _source, _windows):
    """Converted from torch itself, which keeps the attention as one operation."""
    import openvino

    module, inputs, names = load_traceable(model, "sdpa")
    converted = openvino.convert_model(
        module, example_input=inputs, input=[openvino.PartialShape([-1, -1])] * len(inputs)
    )
    for port, name in zip(converted.inputs, names):
        port.get_tensor().set_names({name})
    save_openvino(converted, target)


def write_openvino_int8(_model, target, source, windows):
    """Weights and activations, the latter with ranges fixed from some of the windows themselves: the best case."""
    import nncf
    import numpy
    import openvino

    core = openvino.Core()
    core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    network = core.read_model(source)
    names = [port.get_any_name() for port in network.inputs]

    def inputs_of(window):
        ids = numpy.array([window["ids"]], dtype=numpy.int64)
        segments = numpy.array([window["segments"]], dtype=numpy.int64)
        every = {"input_ids": ids, "attention_mask": numpy.ones_like(ids), "token_type_ids": segments}
        return {name: every[name] for name in names}

    data = nncf.Dataset(windows[:CALIBRATION_WINDOWS], inputs_of)
    quantised = nncf.quantize(
        network, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=min(CALIBRATION_WINDOWS, len(windows))
    )
    save_openvino(quantised, target)


def write_openvino_int8_weights(_model, target, source, _windows):
    """Weights only; the plugin quantises activations as they come."""
    import nncf
    import openvino

    save_openvino(
        nncf.compress_weights(openvino.Core().read_model(source), mode=nncf.CompressWeightsMode.INT8_SYM), target
    )


def write_ctranslate2(model, target, _source, _windows):
    """Its own converter, fed with the encoder alone and a vocabulary of numbers: ids are passed to it, never text."""
    from ctranslate2.converters import TransformersConverter

    vocab = read_config(model)["vocab_size"]

    class Tokens:
        unk_token = bos_token = eos_token = pad_token = "0"

        @staticmethod
        def get_vocab():
            return {str(i): i for i in range(vocab)}

    class Converter(TransformersConverter):
        def load_tokenizer(self, tokenizer_class, model_name_or_path, **kwargs):
            return Tokens()

    folder = target.parent
    partial = folder.with_name("ctranslate2.partial")
    Converter(str(model)).convert(str(partial), quantization="float32", force=True)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


WRITERS = {
    "onnx": write_onnx,
    "onnx-fused": write_fused,
    "onnx-int8": write_onnx_int8(False),
    "onnx-int8-reduced": write_onnx_int8(True),
    "openvino": write_openvino,
    "openvino-sdpa": write_openvino_sdpa,
    "openvino-int8": write_openvino_int8,
    "openvino-int8-weights": write_openvino_int8_weights,
    "ctranslate2": write_ctranslate2,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("format", choices=FORMATS)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--windows", type=Path, required=True, help="for ranges that are fixed from examples")
    args = parser.parse_args()
    path, before = FORMATS[args.format]
    target = args.out / path
    target.parent.mkdir(parents=True, exist_ok=True)
    source = args.out / FORMATS[before][0] if before else None
    windows = json.loads(args.windows.read_text(encoding="utf-8"))["windows"]
    if target.suffix == ".onnx":
        partial = target.with_name("partial-" + target.name)
        WRITERS[args.format](args.model, partial, source, windows)
        os.replace(partial, target)
    else:
        WRITERS[args.format](args.model, target, source, windows)


if __name__ == "__main__":
    main()
