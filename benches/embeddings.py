"""How good vectors of `spanqa embed` are: beside transformers, and for finding paragraphs.

    pip install numpy torch transformers
    python benches/embeddings.py parity SPANQA FOLDER SQUAD.json        cosines with transformers on 200 paragraphs and questions
    python benches/embeddings.py retrieval SPANQA SQUAD.json -- FLAGS   hit@1 and hit@5 of 500 questions among all paragraphs
    python benches/embeddings.py speed SPANQA FOLDER SQUAD.json         all paragraphs, beside ONNX Runtime and fastembed, in turns

SPANQA is the program, FOLDER a sentence-transformers folder in f32, SQUAD.json a data set in the form of SQuAD 2.0. FLAGS go to
`spanqa embed`, such as `--model FOLDER --dtype f32`. For `speed` install onnx, onnxruntime and fastembed, too: FOLDER is exported by
torch and quantised by ONNX Runtime. All have two threads, the same weights and the same limit of tokens; the peers get texts sorted by
length, in batches of 16, which is faster for them than larger ones or none. Their times are those of the loop alone, spanqa's those of
whole processes.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

QUESTIONS = 500
TEXTS = 200
THREADS = 2
BATCH = 16
ROUNDS = 3
INPUTS = ["input_ids", "attention_mask", "token_type_ids"]


def embed(spanqa, texts, flags):
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "vectors.npy"
        lines = "\n".join(json.dumps(text) for text in texts)
        subprocess.run([spanqa, "embed", "--jsonl", "--quiet", "-o", out, *flags], input=lines.encode(), check=True)
        return np.load(out)


def paragraphs(path):
    data = json.loads(Path(path).read_text())["data"]
    return [paragraph for article in data for paragraph in article["paragraphs"]]


def evenly(things, count):
    """So many of the things, the same ones every time."""
    return [things[at * len(things) // count] for at in range(count)]


def parity(spanqa, folder, squad):
    import torch
    from transformers import AutoModel, AutoTokenizer

    found = paragraphs(squad)
    texts = evenly([paragraph["context"] for paragraph in found], TEXTS // 2)
    texts += evenly([question["question"] for paragraph in found for question in paragraph["qas"]], TEXTS // 2)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    longest = json.loads((Path(folder) / "sentence_bert_config.json").read_text())["max_seq_length"]
    expected = []
    for text in texts:
        batch = tokenizer(text.strip(), truncation=True, max_length=longest, return_tensors="pt")
        with torch.no_grad():
            mean = model(**batch).last_hidden_state[0].mean(0)
        expected.append(torch.nn.functional.normalize(mean, dim=0).numpy())
    expected = np.stack(expected)
    for flags in [["--model", folder, "--dtype", "f32"], ["--dtype", "f32"], []]:
        ours = embed(spanqa, texts, flags)
        cosines = (ours * expected).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(expected, axis=1)
        print(f"{' '.join(flags) or 'built in'}: cosine least {cosines.min():.7f}, mean {cosines.mean():.7f}; "
              f"largest difference of a number {np.abs(ours - expected).max():.1e}")


def retrieval(spanqa, squad, flags):
    found = paragraphs(squad)
    asked = [(question["question"], at) for at, paragraph in enumerate(found)
             for question in paragraph["qas"] if not question.get("is_impossible")]
    asked = evenly(asked, QUESTIONS)
    corpus = embed(spanqa, [paragraph["context"] for paragraph in found], flags)
    questions = embed(spanqa, [question for question, _ in asked], flags)
    scores = questions @ corpus.T
    right = scores[np.arange(len(asked)), [at for _, at in asked]]
    ranks = (scores > right[:, None]).sum(1)
    hits = ", ".join(f"hit@{k} {100 * (ranks < k).mean():.1f}" for k in [1, 5])
    print(f"{' '.join(flags) or 'built in'}: {len(asked)} questions among {len(found)} paragraphs: {hits}")


def spanqa_way(spanqa, flags):
    return lambda texts: embed(spanqa, texts, ["--threads", str(THREADS), *flags])


def onnx_way(model, folder, longest):
    """What one writes who knows ONNX Runtime: sorted batches, the mean of the states."""
    import onnxruntime
    from transformers import AutoTokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def run(texts):
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        vectors = np.empty((len(texts), session.get_outputs()[0].shape[-1]), np.float32)
        for start in range(0, len(texts), BATCH):
            places = order[start:start + BATCH]
            batch = tokenizer([texts[at] for at in places], padding=True, truncation=True, max_length=longest, return_tensors="np")
            states = session.run(None, {name: batch[name] for name in INPUTS})[0]
            mask = batch["attention_mask"][..., None]
            means = (states * mask).sum(1) / mask.sum(1)
            vectors[places] = means / np.linalg.norm(means, axis=1, keepdims=True)
        return vectors

    return run


def fastembed_way(folder):
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(model="own", pooling=PoolingType.MEAN, normalization=True, dim=384,
                                   sources=ModelSource(url="https://example.org"), model_file="model.onnx")
    model = TextEmbedding("own", threads=THREADS, specific_model_path=str(folder))

    def run(texts):
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        vectors = list(model.embed([texts[at] for at in order], batch_size=BATCH))
        back = np.empty((len(texts), len(vectors[0])), np.float32)
        back[order] = vectors
        return back

    return run


def exported(folder, to, longest):
    """The encoder in f32 and in int8, beside its tokenizer."""
    import shutil

    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from transformers import AutoModel

    shutil.copytree(folder, to, dirs_exist_ok=True)
    # The limit of the tokens, where fastembed looks for it.
    settings = json.loads((to / "tokenizer_config.json").read_text())
    (to / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": longest, "max_length": longest}))
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()

    class States(torch.nn.Module):
        def __init__(self):
            super().__init__()
            # Of the module's own, or the weights would be constants, which the quantiser passes over.
            self.model = model

        def forward(self, *given):
            return self.model(**dict(zip(INPUTS, given))).last_hidden_state

    example = tuple(torch.ones(2, 8, dtype=torch.long) for _ in INPUTS)
    axes = {name: {0: "batch", 1: "length"} for name in [*INPUTS, "states"]}
    torch.onnx.export(States(), example, str(to / "model.onnx"), input_names=INPUTS, output_names=["states"],
                      dynamic_axes=axes, opset_version=17, dynamo=False)
    quantize_dynamic(to / "model.onnx", to / "int8.onnx", weight_type=QuantType.QInt8, per_channel=True)


def speed(spanqa, folder, squad):
    texts = [paragraph["context"].strip() for paragraph in paragraphs(squad)]
    longest = json.loads((Path(folder) / "sentence_bert_config.json").read_text())["max_seq_length"]
    with tempfile.TemporaryDirectory() as temporary:
        onnx = Path(temporary)
        exported(folder, onnx, longest)
        ways = {
            "spanqa embed --dtype f32": spanqa_way(spanqa, ["--model", folder, "--dtype", "f32"]),
            "ONNX Runtime, f32": onnx_way(onnx / "model.onnx", folder, longest),
            "fastembed, f32": fastembed_way(onnx),
            "spanqa embed --dtype int8": spanqa_way(spanqa, ["--model", folder, "--dtype", "int8"]),
            "ONNX Runtime, int8": onnx_way(onnx / "int8.onnx", folder, longest),
        }
        vectors = {name: run(texts) for name, run in ways.items()}
        first = next(iter(vectors.values()))
        for name, other in vectors.items():
            print(f"{name}: cosine with the first at least {(first * other).sum(1).min():.5f}")
        times = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, run in ways.items():
                started = time.time()
                run(texts)
                times[name].append(time.time() - started)
        for name, all_of_it in times.items():
            middle = sorted(all_of_it)[ROUNDS // 2]
            print(f"{name}: {len(texts) / middle:.1f} texts/s ({len(texts) / max(all_of_it):.1f} to {len(texts) / min(all_of_it):.1f})")


def main():
    arguments = sys.argv[1:]
    flags = arguments[arguments.index("--") + 1:] if "--" in arguments else []
    match arguments[: len(arguments) - len(flags) - bool("--" in arguments)]:
        case ["parity", spanqa, folder, squad]:
            parity(spanqa, folder, squad)
        case ["retrieval", spanqa, squad]:
            retrieval(spanqa, squad, flags)
        case ["speed", spanqa, folder, squad]:
            speed(spanqa, folder, squad)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
