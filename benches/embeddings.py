"""How good vectors of `spanqa embed` are: beside transformers, and for finding paragraphs.

    pip install numpy torch transformers
    python benches/embeddings.py parity SPANQA FOLDER SQUAD.json        cosines with transformers on 200 paragraphs and questions
    python benches/embeddings.py retrieval SPANQA SQUAD.json -- FLAGS   hit@1 and hit@5 of 500 questions among all paragraphs

SPANQA is the program, FOLDER a sentence-transformers folder in f32, SQUAD.json a data set in the form of SQuAD 2.0. FLAGS go to
`spanqa embed`, such as `--model FOLDER --dtype f32`.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

QUESTIONS = 500
TEXTS = 200


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


def main():
    arguments = sys.argv[1:]
    flags = arguments[arguments.index("--") + 1:] if "--" in arguments else []
    match arguments[: len(arguments) - len(flags) - bool("--" in arguments)]:
        case ["parity", spanqa, folder, squad]:
            parity(spanqa, folder, squad)
        case ["retrieval", spanqa, squad]:
            retrieval(spanqa, squad, flags)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
