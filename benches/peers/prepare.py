"""Random checkpoints at the measured shapes, and windows of real questions with their contexts.

    python prepare.py checkpoint OUT_DIR SHAPE
    python prepare.py windows OUT_FILE SHAPE --squad FILE... --vocab vocab.txt --count N

The weights come from the generator that the parity fixtures use. The text goes through the uncased WordPiece vocabulary
for all shapes: speed depends on lengths, not on what the ids stand for.
"""

import argparse
import json
import random
import sys
from pathlib import Path

from shapes import SHAPES

FIXTURES = Path(__file__).resolve().parents[2] / "tests" / "fixtures"
SEED = 20
MAX_TOKENS = 384
# Texts tokenised to know the distribution of lengths, of which `--count` windows are then taken at even steps.
SAMPLE = 2048


def make_checkpoint(out, shape):
    """config.json and model.safetensors with weights that neither collapse nor explode over many layers."""
    sys.path.insert(0, str(FIXTURES))
    import common
    import full_size
    import torch
    from safetensors.torch import save_file

    config = getattr(common, shape.dialect)(
        shape.vocab, shape.hidden, shape.layers, shape.heads, shape.inner, shape.positions
    )
    with torch.no_grad():
        model = common.build(config)
    common.randomise(model, full_size.GAINS, SEED)
    out.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), out / "model.safetensors", {"format": "pt"})
    # Written last: a folder with a config.json is complete.
    common.write_json(out / "config.json", config, indent=2)


def read_questions(paths):
    """(question, context) of every question in files of SQuAD form."""
    pairs = []
    for path in paths:
        for article in json.loads(Path(path).read_text(encoding="utf-8"))["data"]:
            for paragraph in article["paragraphs"]:
                pairs += [(qa["question"].strip(), paragraph["context"]) for qa in paragraph["qas"]]
    return pairs


def join(shape, question, context):
    """Token ids and segment ids of one pair, cut at the end to MAX_TOKENS."""
    if shape.pair == "bert":  # 101 [CLS], 102 [SEP]
        first = [101, *question, 102]
        ids = [*first, *context[: MAX_TOKENS - len(first) - 1], 102]
        return ids, [0] * len(first) + [1] * (len(ids) - len(first))
    first = [0, *question, 2, 2]
    ids = [*first, *context[: MAX_TOKENS - len(first) - 1], 2]
    return ids, [0] * len(ids)


def make_windows(shape, squad, vocab, count):
    """`count` windows whose lengths are spread like those of the whole data set, in random order."""
    sys.path.insert(0, str(FIXTURES))
    import full_size

    tokenizer = full_size.wordpiece(vocab, True)
    rng = random.Random(SEED)
    pairs = read_questions(squad)
    rng.shuffle(pairs)
    windows = []
    for question, context in pairs[: max(SAMPLE, count)]:
        question_ids = tokenizer.encode(question, add_special_tokens=False).ids[: MAX_TOKENS // 4]
        ids, segments = join(shape, question_ids, tokenizer.encode(context, add_special_tokens=False).ids)
        windows.append({"ids": ids, "segments": segments})
    if len(windows) < count:
        sys.exit(f"{len(windows)} questions in {', '.join(map(str, squad))}, {count} asked for")
    windows.sort(key=lambda window: len(window["ids"]))
    taken = [windows[(2 * i + 1) * len(windows) // (2 * count)] for i in range(count)]
    rng.shuffle(taken)
    return taken


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parts = parser.add_subparsers(dest="part", required=True)
    checkpoint = parts.add_parser("checkpoint")
    checkpoint.add_argument("out", type=Path)
    checkpoint.add_argument("shape", choices=SHAPES)
    windows = parts.add_parser("windows")
    windows.add_argument("out", type=Path)
    windows.add_argument("shape", choices=SHAPES)
    windows.add_argument("--squad", nargs="+", type=Path, required=True)
    windows.add_argument("--vocab", type=Path, required=True)
    windows.add_argument("--count", type=int, required=True)
    args = parser.parse_args()
    shape = SHAPES[args.shape]
    if args.part == "checkpoint":
        make_checkpoint(args.out, shape)
    else:
        found = make_windows(shape, args.squad, args.vocab, args.count)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps({"windows": found}), encoding="utf-8")


if __name__ == "__main__":
    main()
