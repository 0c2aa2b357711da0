"""What a few hundred questions of another domain do for a model: `spanqa train` on some of them, `spanqa eval` on others.

    python few_shot.py --spanqa PATH --model MODEL --out FOLDER --squad squad2-dev.json \
        --domain NAME TRAIN TEST [--domain NAME TRAIN TEST ...] [--counts 200,1000] [--source NAME=SOURCE ...]

TRAIN and TEST are data sets in any form that spanqa reads. `--source NAME=SOURCE` takes from a TRAIN of JSON lines (also .gz) only
the rows whose "source" is SOURCE. Each model is trained once; folders that are there already are used as they are. Prints a table:
F1 and exact of each model on TEST and on the SQuAD file, which shows what was forgotten.
"""

import argparse
import gzip
import json
import subprocess
from pathlib import Path


def rows_of(path, source, out):
    """The rows of one source, as a file of their own."""
    opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
    with opened as lines, out.open("w", encoding="utf-8") as kept:
        kept.writelines(line for line in lines if json.loads(line)["source"] == source)
    return out


def train(args, data, count, out):
    if not (out / "model.safetensors").exists():
        command = [args.spanqa, "train", "--base", args.model, "--data", str(data), "--sample", str(count), "--out", str(out)]
        subprocess.run([*command, *args.recipe.split()], check=True)


def scores(args, model, data):
    """Exact and F1; remembered beside the model's name, because an evaluation takes minutes."""
    memory = args.out / f"{Path(model).name}-{data.name}.json"
    if not memory.exists():
        command = [args.spanqa, "eval", str(data), "--model", str(model), "--format", "json", "--dtype", args.dtype, "--quiet"]
        memory.write_text(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    official = json.loads(memory.read_text())["official"]
    return official.get("exact", official.get("exact_match")), official["f1"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spanqa", required=True)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--squad", type=Path, required=True)
    parser.add_argument("--domain", nargs=3, action="append", metavar=("NAME", "TRAIN", "TEST"), required=True)
    parser.add_argument("--source", action="append", default=[], metavar="NAME=SOURCE")
    parser.add_argument("--counts", default="200,1000")
    parser.add_argument("--dtype", default="f32", help="number type of the evaluations")
    parser.add_argument("--recipe", default="--epochs 3 --batch-tokens 1536 --rate 1.5e-4")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    sources = dict(pair.split("=", 1) for pair in args.source)

    print("| data | questions learned from | exact | F1 | SQuAD exact | SQuAD F1 |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, data, test in args.domain:
        data, test = Path(data), Path(test)
        if name in sources:
            data = rows_of(data, sources[name], args.out / f"{name}.jsonl")
        for count in [0, *map(int, args.counts.split(","))]:
            model = args.out / f"{name}-{count}" if count else args.model
            if count:
                train(args, data, count, model)
            figures = [*scores(args, model, test), *scores(args, model, args.squad)]
            print(f"| {name} | {count} | " + " | ".join(f"{figure:.2f}" for figure in figures) + " |", flush=True)


if __name__ == "__main__":
    main()
