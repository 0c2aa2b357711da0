"""Trains a reader on a GPU from windows that `spanqa train --lay-only` wrote, with the loss of `--objective joint`.

    spanqa train --base builtin --data squad.json --objective joint --read 3 --lay-only --out squad
    python train.py --base models/builtin --data squad/windows.safetensors --out next --seconds 120
    spanqa models pack next packed.safetensors

Needs torch, numpy and safetensors. `--data FILE,FILE@2@0.8` takes every question of a file twice an epoch, and 0.8 of those without an
answer; of several files, which hold the same questions in other windows, each copy comes from the next. The base is a folder with a
BERT or MPNet and its config.json, int8 rows with `.scale` or plain numbers. MPNet's words stand in the order of BERT's vocabulary, so
that it can be a teacher: `--teacher FOLDER`.
"""

import argparse
import json
import math
import os
import shutil
import time

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file

LAYERS = {
    "bert": {
        "qkv": ["attention.self.query", "attention.self.key", "attention.self.value"],
        "out": ["attention.output.dense"],
        "out_norm": ["attention.output.LayerNorm"],
        "up": ["intermediate.dense"],
        "down": ["output.dense"],
        "down_norm": ["output.LayerNorm"],
    },
    "mpnet": {
        "qkv": ["attention.attn.q", "attention.attn.k", "attention.attn.v"],
        "out": ["attention.attn.o"],
        "out_norm": ["attention.LayerNorm"],
        "up": ["intermediate.dense"],
        "down": ["output.dense"],
        "down_norm": ["output.LayerNorm"],
    },
}
# MPNet's first position.
FIRST_POSITION = {"bert": 0, "mpnet": 2}
# Windows up to each of these lengths are padded together in attention; elsewhere nothing is padded.
PADDED_TO = [128, 192, 512]
# Lower than any logit, and its difference to itself is a number.
NEVER = -1e30


class Windows:
    """Examples of several files: windows behind one another, on the device, and where each example's windows are."""

    def __init__(self, paths, device):
        columns = {name: [] for name in ["ids", "windows", "priors", "golds"]}
        window, example, self.ranges = 0, 0, []
        for path in paths:
            with safe_open(path, "np") as file:
                self.longest = int(file.metadata()["longest"])
                found = {name: file.get_tensor(name) for name in columns}
            found["windows"], found["golds"] = (found[name].astype(np.int64) for name in ["windows", "golds"])
            count = int(found["windows"][:, 3].max()) + 1
            self.ranges.append(range(example, example + count))
            found["windows"][:, 3] += example
            found["golds"][:, 0] += window
            window, example = window + len(found["windows"]), example + count
            for name, column in columns.items():
                column.append(found[name].astype(np.uint16) if name == "ids" else found[name])
        joined = {name: np.concatenate(column) for name, column in columns.items()}
        self.ids = torch.from_numpy(joined["ids"].astype(np.int32)).to(device)
        self.length, self.start, self.end, self.example = joined["windows"].T
        self.offset = np.cumsum(self.length) - self.length
        self.prior = joined["priors"]
        self.golds = joined["golds"]
        windows = np.arange(window)
        self.gold = np.searchsorted(self.golds[:, 0], windows)
        self.gold_count = np.searchsorted(self.golds[:, 0], windows, "right") - self.gold
        self.window = np.searchsorted(self.example, np.arange(example))
        self.window_count = np.bincount(self.example, minlength=example)
        self.tokens = np.bincount(self.example, self.length, example).astype(np.int64)
        self.answerable = np.bincount(self.example, self.gold_count, example) > 0
        self.device = device

    def of(self, examples):
        """The windows of examples, shorter ones first, and the place of each one's example."""
        windows = spread(self.window[examples], self.window_count[examples])
        place = np.repeat(np.arange(len(examples)), self.window_count[examples])
        order = np.argsort(self.length[windows], kind="stable")
        return windows[order], place[order]

    def put(self, numbers):
        tensor = torch.from_numpy(np.ascontiguousarray(numbers))
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else tensor


def spread(first, count):
    """first[0], first[0] + 1, ... count[0] of them, then those of first[1]."""
    ends = np.cumsum(count)
    return np.repeat(first - (ends - count), count) + np.arange(ends[-1] if len(ends) else 0)


class Batch:
    """Windows behind one another, sorted by length, and the rows that each token has where they are padded."""

    def __init__(self, data, windows):
        lengths = data.length[windows]
        self.count, self.tokens = len(windows), int(lengths.sum())
        self.first = np.cumsum(lengths) - lengths
        self.window = np.repeat(np.arange(self.count), lengths)
        self.position = np.arange(self.tokens) - self.first[self.window]
        self.source = data.put(data.offset[windows][self.window] + self.position)
        self.ids = data.ids[self.source].long()
        self.positions = data.put(self.position)
        self.segments = data.put((self.position >= data.start[windows][self.window]).astype(np.float32))
        ends = np.searchsorted(lengths, PADDED_TO, "right")
        row, rows, self.groups = 0, np.empty(self.count, np.int64), []
        for begin, end in zip([0, *ends[:-1]], ends):
            if begin < end:
                # Kernels want rows of a multiple of 16.
                width = -(-int(lengths[end - 1]) // 16) * 16
                rows[begin:end] = row + np.arange(end - begin) * width
                row += (end - begin) * width
                hidden = np.where(np.arange(width) < lengths[begin:end, None], 0, -np.inf).astype(np.float32)
                self.groups.append((int(end - begin), width, data.put(hidden)[:, None, None, :]))
        self.padded = row
        self.rows = data.put(rows[self.window] + self.position)


class Targets:
    """What of a batch may be chosen, and what should be."""

    def __init__(self, data, batch, windows, place, questions):
        self.count = questions
        start, end = data.start[windows][batch.window], data.end[windows][batch.window]
        inside = (batch.position >= start) & (batch.position < end)
        reach = np.where(inside, np.minimum(end - batch.position, data.longest), 0)
        self.reach, self.longest = data.put(reach), data.longest
        self.question = data.put(place[batch.window])
        self.prior = data.put(data.prior[windows][batch.window])
        self.first, self.window_question = data.put(batch.first), data.put(place)
        counts = data.gold_count[windows]
        golds = data.golds[spread(data.gold[windows], counts)]
        window = np.repeat(np.arange(len(windows)), counts)
        first, last = batch.first[window] + golds[:, 1], batch.first[window] + golds[:, 2]
        self.gold = [data.put(first), data.put(last)]
        self.gold_question = data.put(place[window])
        long = np.flatnonzero(last - first >= data.longest)
        self.long = data.put(long)
        answerable = np.zeros(questions, bool)
        answerable[place[window]] = True
        self.answerable = data.put(answerable)


class Pad(torch.autograd.Function):
    """Rows to their places among empty ones. Each place is taken once, so the gradient is a look-up."""

    @staticmethod
    def forward(ctx, numbers, rows, padded):
        ctx.save_for_backward(rows)
        return numbers.new_zeros(padded, numbers.shape[1]).index_copy_(0, rows, numbers)

    @staticmethod
    def backward(ctx, gradient):
        return gradient[ctx.saved_tensors[0]], None, None


class Unpad(torch.autograd.Function):
    """The opposite."""

    @staticmethod
    def forward(ctx, numbers, rows):
        ctx.save_for_backward(rows)
        ctx.padded = len(numbers)
        return numbers[rows]

    @staticmethod
    def backward(ctx, gradient):
        rows = ctx.saved_tensors[0]
        return gradient.new_zeros(ctx.padded, gradient.shape[1]).index_copy_(0, rows, gradient), None


class Model:
    """An encoder with a span head: its numbers by short names, and how they are read and written."""

    def __init__(self, folder, device, seed=0):
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            self.config = json.load(file)
        self.kind, self.depth = self.config["model_type"], self.config["num_hidden_layers"]
        self.heads, self.epsilon = self.config["num_attention_heads"], self.config["layer_norm_eps"]
        stored = load_file(os.path.join(folder, "model.safetensors"))
        scaled = {name for name in stored if name + ".scale" in stored}
        plain = {
            name.removeprefix(self.kind + "."): (
                tensor.float() * stored[name + ".scale"].float()[:, None] if name in scaled else tensor.float()
            )
            for name, tensor in stored.items()
            if not name.endswith(".scale")
        }
        if "qa_outputs.weight" not in plain:
            draw = torch.Generator().manual_seed(seed)
            plain["qa_outputs.weight"] = 0.02 * torch.randn(2, self.config["hidden_size"], generator=draw)
            plain["qa_outputs.bias"] = torch.zeros(2)
        self.weights = {}
        for name, parts in self.names().items():
            self.weights[name] = torch.cat([plain[part] for part in parts]).to(device).requires_grad_()

    def names(self):
        """Which stored tensors each one is made of."""
        short = {"words": "embeddings.word_embeddings", "positions": "embeddings.position_embeddings"}
        if self.kind == "bert":
            short["types"] = "embeddings.token_type_embeddings"
        else:
            short["distances"] = "encoder.relative_attention_bias"
        names = {name: [f"{module}.weight"] for name, module in short.items()}
        modules = {"norm": ["embeddings.LayerNorm"], "head": ["qa_outputs"]}
        for layer in range(self.depth):
            for name, parts in LAYERS[self.kind].items():
                modules[f"{layer}.{name}"] = [f"encoder.layer.{layer}.{part}" for part in parts]
        for name, parts in modules.items():
            for side in ["weight", "bias"]:
                names[f"{name}.{side}"] = [f"{part}.{side}" for part in parts]
        return names

    def save(self, folder, base, weights):
        os.makedirs(folder, exist_ok=True)
        stored = {}
        for name, parts in self.names().items():
            for part, tensor in zip(parts, weights[name].detach().cpu().half().chunk(len(parts))):
                prefix = "" if part.startswith("qa_outputs") else self.kind + "."
                stored[prefix + part] = tensor.contiguous()
        save_file(stored, os.path.join(folder, "model.safetensors"), {"format": "pt"})
        for name in ["config.json", "tokenizer_config.json", "vocab.txt"]:
            if os.path.exists(os.path.join(base, name)):
                shutil.copy(os.path.join(base, name), folder)

    def distances(self, width):
        """MPNet's bias for how far tokens are apart, [head, token, token]: 16 buckets on each side, logarithmic from 8 on."""
        table = self.weights["distances"].detach()
        place = torch.arange(width, device=table.device)
        apart = place[:, None] - place[None, :]
        far = 8 + (torch.log(apart.abs().clamp(min=1) / 8) / math.log(128 / 8) * 8).long()
        bucket = torch.where(apart.abs() < 8, apart.abs(), far.clamp(max=15)) + 16 * (apart < 0)
        return table[bucket].permute(2, 0, 1)

    def logits(self, batch, dropout=0.0, weights=None):
        """Start and end logits of each token."""
        w = weights or self.weights

        def layer_norm(x, name):
            return F.layer_norm(x.float(), x.shape[-1:], w[name + ".weight"], w[name + ".bias"], self.epsilon)

        def linear(x, name):
            return F.linear(x, w[name + ".weight"], w[name + ".bias"])

        x = F.embedding(batch.ids, w["words"]) + F.embedding(batch.positions + FIRST_POSITION[self.kind], w["positions"])
        if self.kind == "bert":
            x = x + w["types"][0] + batch.segments[:, None] * (w["types"][1] - w["types"][0])
        x = F.dropout(layer_norm(x, "norm"), dropout)
        half = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype
        masks = []
        for _, width, hidden in batch.groups:
            masks.append((hidden + self.distances(width) if self.kind == "mpnet" else hidden).to(half).contiguous())
        for layer in range(self.depth):
            padded = Pad.apply(linear(x, f"{layer}.qkv"), batch.rows, batch.padded)
            mixed, row = [], 0
            for (count, width, _), mask in zip(batch.groups, masks):
                part = padded[row : row + count * width].view(count, width, 3, self.heads, -1)
                q, k, v = part.permute(2, 0, 3, 1, 4)
                seen = F.scaled_dot_product_attention(q, k, v, mask, dropout)
                mixed.append(seen.transpose(1, 2).reshape(count * width, -1))
                row += count * width
            seen = Unpad.apply(torch.cat(mixed), batch.rows)
            x = layer_norm(x + F.dropout(linear(seen, f"{layer}.out"), dropout), f"{layer}.out_norm")
            up = F.gelu(linear(x, f"{layer}.up"))
            x = layer_norm(x + F.dropout(linear(up, f"{layer}.down"), dropout), f"{layer}.down_norm")
        # Half precision would round logits to a sixteenth.
        with torch.autocast(x.device.type, enabled=False):
            return linear(x, "head").T


def log_sums(values, question, count):
    """The logarithm of the sum of exponentials of each question."""
    top = values.new_full((count,), NEVER).scatter_reduce(0, question, values.detach(), "amax")
    return top + torch.zeros_like(top).index_add(0, question, (values - top[question]).exp()).log()


class Scores:
    """The logits of all spans and "no answer": `band` [token, length], where a span starts and its tokens less one."""

    def __init__(self, logits, targets):
        start, end = logits
        band = start[:, None] + F.pad(end, (0, targets.longest - 1)).unfold(0, targets.longest, 1)
        allowed = torch.arange(targets.longest, device=band.device) < targets.reach[:, None]
        self.band = torch.where(allowed, band + targets.prior[:, None], NEVER)
        first, last = targets.gold
        self.gold = start[first] + end[last] + targets.prior[first]
        nulls = (start + end)[targets.first]
        none = nulls.new_full((targets.count,), math.inf)
        self.null = none.scatter_reduce(0, targets.window_question, nulls, "amin")

    def total(self, targets, temperature=1.0):
        """The logarithm of the sum over everything that may be chosen. Answers longer than spans may be are among it."""
        values = [(self.band / temperature).logsumexp(1), self.null / temperature, self.gold[targets.long] / temperature]
        questions = torch.arange(targets.count, device=self.null.device)
        places = [targets.question, questions, targets.gold_question[targets.long]]
        return log_sums(torch.cat(values), torch.cat(places), targets.count)


def joint_loss(scores, targets):
    """For each question: one softmax over all spans of its windows and "no answer", the weakest that any window says."""
    right = torch.where(targets.answerable, NEVER, scores.null)
    questions = torch.arange(targets.count, device=right.device)
    right = log_sums(torch.cat([scores.gold, right]), torch.cat([targets.gold_question, questions]), targets.count)
    return scores.total(targets) - right


def divergence(mine, theirs, targets, temperature):
    """How far the student's softened distribution is from the teacher's, for each question."""
    totals = theirs.total(targets, temperature)
    parts = (theirs.band / temperature - totals[targets.question][:, None]).exp() * (theirs.band - mine.band)
    sums = torch.zeros_like(totals).index_add(0, targets.question, parts.sum(1))
    sums = sums + (theirs.null / temperature - totals).exp() * (theirs.null - mine.null)
    long = targets.long
    extra = (theirs.gold[long] / temperature - totals[targets.gold_question[long]]).exp()
    sums = sums.index_add(0, targets.gold_question[long], extra * (theirs.gold[long] - mine.gold[long]))
    return sums / temperature + mine.total(targets, temperature) - totals


class Teacher:
    """A model whose logits are computed when a window is first seen."""

    def __init__(self, model, data):
        self.model, self.data = model, data
        self.known = np.zeros(len(data.length), bool)
        self.cache = torch.zeros(2, len(data.ids), device=data.device)

    @torch.no_grad()
    def logits(self, batch, windows):
        fresh = windows[~self.known[windows]]
        if len(fresh):
            other = Batch(self.data, fresh)
            self.cache[:, other.source] = self.model.logits(other)
            self.known[fresh] = True
        return self.cache[:, batch.source]


def steps(data, sources, budget, seed):
    """Batches of examples without end: each epoch takes every source as often as it says, in an order of its own."""
    draw, epoch = np.random.default_rng(seed), 0
    while True:
        taken = []
        for files, repeat, nulls in sources:
            copies = int(repeat) + (repeat % 1 > 0)
            for copy in range(copies):
                examples = np.array(data.ranges[files[(epoch * copies + copy) % len(files)]])
                share = np.where(data.answerable[examples], 1.0, nulls) * min(1.0, repeat - copy)
                taken.append(examples[draw.random(len(examples)) < share])
        order = draw.permutation(np.concatenate(taken))
        cut = np.cumsum(data.tokens[order]) // budget
        yield from ((epoch, part) for part in np.split(order, np.flatnonzero(np.diff(cut)) + 1))
        epoch += 1


@torch.no_grad()
def evaluate(model, weights, data, name):
    """Prints the loss and the shares of right replies, token by token. Returns that of all at the best threshold."""
    losses, margins, rights, answerable = [], [], [], []
    for examples in np.array_split(np.arange(len(data.tokens)), max(1, data.tokens.sum() // 32768)):
        windows, place = data.of(examples)
        batch = Batch(data, windows)
        targets = Targets(data, batch, windows, place, len(examples))
        scores = Scores(model.logits(batch, weights=weights), targets)
        best = scores.null.new_full((targets.count,), NEVER)
        gold = best.scatter_reduce(0, targets.gold_question, scores.gold, "amax")
        best = best.scatter_reduce(0, targets.question, scores.band.amax(1), "amax")
        losses.append(joint_loss(scores, targets))
        margins.append(best - scores.null)
        rights.append(targets.answerable & (gold >= best - 1e-5))
        answerable.append(targets.answerable)
    loss, margin, right, answerable = (torch.cat(part).cpu().numpy() for part in [losses, margins, rights, answerable])
    answered = margin > 0
    # With a threshold under the k-th highest margin the k highest are answered.
    order = np.argsort(-margin)
    refused = (~answerable).sum() - np.concatenate([[0], np.cumsum(~answerable[order])])
    totals = (np.concatenate([[0], np.cumsum(right[order])]) + refused) / len(loss)
    decided = np.where(answerable, right & answered, ~answered)

    def mean(numbers):
        return f"{100 * numbers.mean():.1f}" if len(numbers) else "-"

    print(
        f"{name}: loss {loss.mean():.3f}, exact {mean(right[answerable])} if made to answer; "
        f"at threshold 0 {mean(decided[answerable])} right, "
        f"{mean(decided[~answerable])} refused, {mean(decided)} in all; {100 * totals.max():.1f} at the best threshold",
        flush=True,
    )
    return totals.max()


class Run:
    """A model that learns, its average, and what it learns from."""

    def __init__(self, args):
        self.args, self.started = args, time.monotonic()
        self.device = torch.device(args.device)
        torch.manual_seed(args.seed)
        torch.backends.cuda.matmul.allow_tf32 = True
        # It would prepare a plan for every new shape.
        torch.backends.cuda.enable_cudnn_sdp(False)
        self.half = torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")
        files, self.sources = [], []
        for text in args.data:
            names, repeat, nulls = [*text.split("@"), "1", "1"][:3]
            first = len(files)
            files.extend(names.split(","))
            self.sources.append((range(first, len(files)), float(repeat), float(nulls)))
        self.data = Windows(files, self.device)
        for path, part in zip(files, self.data.ranges):
            nulls = int((~self.data.answerable[part]).sum())
            print(f"{path}: {len(part)} questions, {nulls} without an answer, {self.data.tokens[part].sum()} tokens")
        self.held_out = [(os.path.basename(path).split(".")[0], Windows([path], self.device)) for path in args.eval]
        self.model = Model(args.base, self.device, args.seed)
        self.teacher = Teacher(Model(args.teacher, self.device), self.data) if args.teacher else None
        self.average = {name: tensor.detach().clone() for name, tensor in self.model.weights.items()}
        # The table of distances does not learn.
        names = [name for name in self.model.weights if name != "distances"]
        self.learning = [self.model.weights[name] for name in names]
        self.averages = [self.average[name] for name in names]
        groups = [
            {"params": [tensor for tensor in self.learning if tensor.dim() == 2], "weight_decay": args.weight_decay},
            {"params": [tensor for tensor in self.learning if tensor.dim() == 1], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=args.rate, betas=(0.9, 0.98), fused=True)

    def examine(self, model, weights, label):
        """The sum over the held-out files of the share of right replies."""
        with self.half:
            return sum(evaluate(model, weights, data, f"{label}, {name}") for name, data in self.held_out)

    def step(self, step, examples, rate):
        """Learns from some examples. Returns their loss and tokens."""
        args = self.args
        windows, place = self.data.of(examples)
        batch = Batch(self.data, windows)
        targets = Targets(self.data, batch, windows, place, len(examples))
        with self.half:
            scores = Scores(self.model.logits(batch, args.dropout), targets)
            loss = joint_loss(scores, targets).mean()
            if self.teacher:
                theirs = Scores(self.teacher.logits(batch, windows), targets)
                apart = divergence(scores, theirs, targets, args.temperature).mean()
                loss = (1 - args.teacher_weight) * loss + args.teacher_weight * args.temperature**2 * apart
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.learning, 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.optimiser.zero_grad()
        # Young averages would remember the base for long.
        keep = min(args.ema, (step + 1) / (step + 11))
        torch._foreach_lerp_(self.averages, [tensor.detach() for tensor in self.learning], 1 - keep)
        return loss.detach(), batch.tokens

    def train(self):
        """Steps until the time or the steps are used up; the rate rises in the first of them and falls to zero."""
        args = self.args
        if not args.no_base:
            self.examine(self.model, None, "base")
        if self.teacher:
            self.examine(self.teacher.model, None, "teacher")
        clock = said = time.monotonic()
        print(f"{clock - self.started:.1f} s until the first step", flush=True)
        step, tokens, examined, losses = 0, 0, 0, []
        for epoch, examples in steps(self.data, self.sources, args.tokens_per_step, args.seed):
            progress = max((time.monotonic() - clock) / args.seconds, step / max(1, args.max_steps))
            if progress >= 1 or step >= args.max_steps:
                break
            # The clock runs while the GPU warms up, so steps count as well.
            rate = args.rate * min((step + 1) / 50, progress / max(args.warmup, 1e-9), (1 - progress) / (1 - args.warmup))
            loss, count = self.step(step, examples, rate)
            losses.append(loss)
            step, tokens = step + 1, tokens + count
            # Waiting keeps the clock honest: the GPU lags behind what is asked of it.
            if step % 10 == 0 or step <= 5:
                mean, now = torch.stack(losses).mean().item(), time.monotonic()
                if not math.isfinite(mean):
                    raise SystemExit(f"the loss is not a number at step {step}")
                if now - said > 5 or step <= 5:
                    speed = tokens / (now - clock)
                    print(
                        f"step {step}, epoch {epoch}, {now - clock:.0f} s, loss {mean:.4f}, rate {rate:.1e}, {speed:.0f} tokens/s",
                        flush=True,
                    )
                    said, losses = now, []
            if progress * args.evaluations >= examined + 1:
                examined += 1
                self.examine(self.model, self.average, f"step {step}, average")
        print(f"{step} steps, {tokens} tokens, {time.monotonic() - clock:.1f} s", flush=True)

    def save(self):
        """Writes the average or the last weights, whichever replies better; without held-out questions the average."""
        average = self.examine(self.model, self.average, "end, average")
        last = self.examine(self.model, None, "end, last")
        print("kept", "the last weights" if last > average else "the average")
        self.model.save(self.args.out, self.args.base, self.model.weights if last > average else self.average)
        memory = torch.cuda.max_memory_allocated() / 2**30 if self.device.type == "cuda" else 0
        print(f"{memory:.1f} GiB on the GPU at most, {time.monotonic() - self.started:.1f} s in all")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--data", required=True, nargs="+", metavar="FILE[,FILE][@REPEAT[@NULLS]]")
    parser.add_argument("--eval", default=[], nargs="*", metavar="FILE", help="held-out questions; their scores are printed")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seconds", type=float, default=math.inf, help="when the rate reaches zero and the run ends")
    parser.add_argument("--max-steps", type=int, default=10**9)
    parser.add_argument("--tokens-per-step", type=int, default=24576)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--warmup", type=float, default=0.05)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--ema", type=float, default=0.999, help="what the average of the weights keeps at each step")
    parser.add_argument("--evaluations", type=int, default=4)
    parser.add_argument("--no-base", action="store_true", help="do not evaluate the base, as where its head is fresh")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--teacher", metavar="FOLDER")
    parser.add_argument("--teacher-weight", type=float, default=0.5, help="the teacher's share of the loss")
    parser.add_argument("--temperature", type=float, default=2.0)
    run = Run(parser.parse_args())
    run.train()
    run.save()


if __name__ == "__main__":
    main()
