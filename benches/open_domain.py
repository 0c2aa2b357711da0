"""Questions to many paragraphs: `spanqa batch --search` beside bm25s and transformers with the same reader.

    pip install bm25s PyStemmer torch transformers
    python benches/open_domain.py DATASET.json --model FOLDER --corpus TEXTS.jsonl --spanqa PATH

DATASET is SQuAD-like JSON: a sample of its answerable questions is asked. TEXTS are lines with `text`: all paragraphs that are
searched, those of the data set among them. Both find passages by BM25 with stemmed words (k1 1.2, b 0.75), read `--read` of them with
the model and answer with one span of at most 30 tokens; "no answer" is never said. Python chooses it by spanqa's rule: the sum of its
logits less those of "no answer" in its window, less the logarithm of the passage's rank. Two simpler rules are scored from the same
logits. A passage is a whole paragraph in Python. spanqa finds smaller passages and reads as many windows around them.

Python gets the faster of the settings of `--tries`. The passages of a chunk of questions go through the model together, sorted by
length, which is faster than one question at a time. What is timed there is the loop; for spanqa it is the whole process. Chunks are asked
in turns.
"""

import argparse
import collections
import json
import math
import os
import random
import re
import resource
import string
import subprocess
import tempfile
import time
from pathlib import Path

LONGEST = 384
ANSWER = 30
TRIED = 3
RULES = ["sum", "sum over no answer", "sum over no answer, and rank"]


def normalised(text):
    """As the official script of SQuAD compares answers."""
    text = "".join(char for char in text.lower() if char not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def f1(said, gold):
    said, gold = normalised(said).split(), normalised(gold).split()
    same = sum((collections.Counter(said) & collections.Counter(gold)).values())
    if not said or not gold:
        return float(said == gold)
    return 2 * same / (len(said) + len(gold))


def scored(asked, said):
    exact = [max(normalised(one) == normalised(gold) for gold in golds) for (_, _, golds), one in zip(asked, said)]
    parts = [max(f1(one, gold) for gold in golds) for (_, _, golds), one in zip(asked, said)]
    return 100 * sum(exact) / len(asked), 100 * sum(parts) / len(asked)


def questions(path, count, seed):
    data = json.loads(Path(path).read_text(encoding="utf-8"))["data"]
    found = [(one["id"], one["question"], [answer["text"] for answer in one["answers"]])
             for article in data for paragraph in article["paragraphs"] for one in paragraph["qas"]
             if one["answers"] and not one.get("is_impossible")]
    return random.Random(seed).sample(found, count)


class Python:
    """bm25s finds, transformers reads."""

    def __init__(self, args, texts):
        import bm25s
        import Stemmer
        import torch
        from transformers import AutoModelForQuestionAnswering, AutoTokenizer

        torch.set_num_threads(args.threads)
        self.torch, self.bm25s, self.texts, self.read = torch, bm25s, texts, args.read
        self.stemmer = Stemmer.Stemmer("english")
        started = time.time()
        self.index = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
        self.index.index(bm25s.tokenize(texts, stopwords="en", stemmer=self.stemmer, show_progress=False), show_progress=False)
        self.indexing = time.time() - started
        self.tokenizer = AutoTokenizer.from_pretrained(args.model)
        model = AutoModelForQuestionAnswering.from_pretrained(args.model, dtype=torch.float32).eval()
        makers = {
            "f32": lambda: model,
            "bf16": lambda: AutoModelForQuestionAnswering.from_pretrained(args.model, dtype=torch.bfloat16).eval(),
            "compiled": lambda: torch.compile(model, dynamic=True),
        }
        self.models = {name: makers[name]() for name in args.tries}
        self.setting = args.tries[0]
        self.tokens, self.said = 0, {rule: [] for rule in RULES}

    def choose(self, asked):
        """Takes the fastest of the settings that are tried."""
        taken = {}
        for self.setting in self.models:
            # Once before, so that what is compiled is compiled.
            self.answers(asked)
            before = time.process_time(), time.time()
            self.answers(asked)
            taken[self.setting] = time.process_time() - before[0]
            print(f"  python, {self.setting}: {(time.time() - before[1]) / len(asked):.2f} s a question, "
                  f"{taken[self.setting] / len(asked):.2f} s of processor", flush=True)
        self.setting = min(taken, key=taken.get)
        self.tokens, self.said = 0, {rule: [] for rule in RULES}

    def answers(self, asked):
        model, batch = self.models[self.setting], 32
        torch = self.torch
        words = self.bm25s.tokenize([text for _, text, _ in asked], stopwords="en", stemmer=self.stemmer, show_progress=False)
        found, _ = self.index.retrieve(words, k=self.read, show_progress=False)
        pairs = [(number, text, self.texts[at], rank) for number, (_, text, _) in enumerate(asked)
                 for rank, at in enumerate(found[number], 1)]
        windows = self.tokenizer([pair[1] for pair in pairs], [pair[2] for pair in pairs], truncation="only_second",
                                 max_length=LONGEST, stride=128, return_overflowing_tokens=True, return_offsets_mapping=True)
        origin = windows["overflow_to_sample_mapping"]
        order = sorted(range(len(origin)), key=lambda at: len(windows["input_ids"][at]))
        best = [[(-float("inf"), "")] * len(RULES) for _ in asked]
        for start in range(0, len(order), batch):
            chosen = order[start:start + batch]
            padded = self.tokenizer.pad({key: [windows[key][at] for at in chosen] for key in self.tokenizer.model_input_names
                                         if key in windows}, return_tensors="pt")
            self.tokens += int(padded["attention_mask"].sum())
            with torch.inference_mode():
                out = model(**padded)
            starts, ends = out.start_logits.float(), out.end_logits.float()
            null = starts[:, 0] + ends[:, 0]
            of_text = torch.zeros(starts.shape, dtype=torch.bool)
            for row, at in enumerate(chosen):
                of_text[row, :len(windows["input_ids"][at])] = torch.tensor([part == 1 for part in windows.sequence_ids(at)])
            starts, ends = starts.masked_fill(~of_text, -1e9), ends.masked_fill(~of_text, -1e9)
            # The best span that ends in each of the next tokens.
            sums = torch.stack([starts[:, :starts.shape[1] - step] + ends[:, step:] if step == 0 else
                                torch.nn.functional.pad(starts[:, :-step] + ends[:, step:], (0, step), value=-1e9)
                                for step in range(min(ANSWER, starts.shape[1]))], dim=1)
            values, places = sums.flatten(1).max(1)
            for row, at in enumerate(chosen):
                number, _, text, rank = pairs[origin[at]]
                step, first = divmod(int(places[row]), starts.shape[1])
                offsets = windows["offset_mapping"][at]
                quoted = text[offsets[first][0]:offsets[first + step][1]]
                over = float(values[row] - null[row])
                for rule, score in enumerate([float(values[row]), over, over - math.log(rank)]):
                    best[number][rule] = max(best[number][rule], (score, quoted))
        for rule, name in enumerate(RULES):
            self.said[name] += [rules[rule][1] for rules in best]
        return [rules[-1][1] for rules in best]


class Spanqa:
    """One process for a chunk of questions."""

    def __init__(self, args, folder, flags):
        self.command = [args.spanqa, "batch", "--search", args.corpus, "--index", folder, "--quiet", "--offline", "--model", args.model,
                        "--threads", str(args.threads), "--read", str(args.read), "--always-answer",
                        "--max-answer-tokens", str(ANSWER), *flags]
        started = time.time()
        subprocess.run([args.spanqa, "index", args.corpus, "--index", folder, "--quiet"], check=True, stdout=subprocess.DEVNULL)
        self.indexing = time.time() - started

    def answers(self, asked):
        lines = "".join(json.dumps({"id": id, "question": text}) + "\n" for id, text, _ in asked)
        done = subprocess.run(self.command, input=lines.encode(), capture_output=True, check=False)
        if done.returncode > 1:
            raise SystemExit(done.stderr.decode())
        found = {record["id"]: record["answers"] for record in map(json.loads, done.stdout.splitlines())}
        return [found[id][0]["text"] if found[id] else "" for id, _, _ in asked]


def processor():
    """Seconds of this process and of those that ended."""
    return sum(one.ru_utime + one.ru_stime
               for one in map(resource.getrusage, [resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--model", required=True, help="a folder that both load")
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--spanqa", default="spanqa")
    parser.add_argument("--read", type=int, default=24)
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--chunk", type=int, default=20, help="questions until it is the other's turn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--tries", nargs="+", choices=["f32", "bf16", "compiled"], default=["f32"],
                        help="settings of Python, of which the fastest is taken")
    parser.add_argument("--also", action="append", default=[], help='more rows of spanqa, such as "--dtype int8"')
    args = parser.parse_args()
    texts = [json.loads(line)["text"] for line in Path(args.corpus).read_text(encoding="utf-8").splitlines()]
    asked = questions(args.dataset, args.questions + TRIED, args.seed)
    tried, asked = asked[:TRIED], asked[TRIED:]
    python = Python(args, texts)
    if len(args.tries) > 1:
        python.choose(tried)
    with tempfile.TemporaryDirectory() as folder:
        flags = {"spanqa": [], **{f"spanqa {more}": more.split() for more in args.also}}
        systems = {name: Spanqa(args, folder, more) for name, more in flags.items()}
        print(f"{len(texts)} texts; indexing took spanqa {systems['spanqa'].indexing:.1f} s, bm25s {python.indexing:.1f} s")
        systems[f"bm25s + transformers, {python.setting}"] = python
        said, wall, busy = {name: [] for name in systems}, collections.Counter(), collections.Counter()
        for at in range(0, len(asked), args.chunk):
            for name, system in systems.items():
                before = time.time(), processor()
                said[name] += system.answers(asked[at:at + args.chunk])
                wall[name] += time.time() - before[0]
                busy[name] += processor() - before[1]
            done = asked[:at + args.chunk]
            print(f"{len(done)} questions (seed {args.seed}), {args.read} read, {args.threads} threads, load {os.getloadavg()[0]:.1f}; "
                  f"python read {python.tokens / len(done):.0f} tokens a question")
            last = list(systems)[-1]
            for name in systems:
                exact, f = scored(done, said[name])
                print(f"  {name}: exact {exact:.1f}, F1 {f:.1f}; {wall[name] / len(done):.3f} s a question "
                      f"({wall[last] / wall[name]:.2f} times as fast as python), {busy[name] / len(done):.3f} s of processor "
                      f"({busy[last] / busy[name]:.2f} times)", flush=True)
            for rule, spans in python.said.items():
                print("  python by {}: exact {:.1f}, F1 {:.1f}".format(rule, *scored(done, spans)), flush=True)


if __name__ == "__main__":
    main()
