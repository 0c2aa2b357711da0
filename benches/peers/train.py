"""PyTorch's training speed, to set beside spanqa's own.

    python train.py --model DIR --squad FILE... [--threads N] [--steps N] [--batch-tokens B] [--micro-tokens M]
                    [--device cuda --dtype bf16]

Prints one JSON line. Only real tokens count, padding earns nothing. A step is timed from its windows to the changed
weights: padding the batches, forward, loss, backward, clipping, AdamW. Tokenising and the warm-up steps are not.

The windows are SQuAD questions with their contexts and random spans for answers, since speed does not depend on them.
A step takes windows in random order until its token budget is full, sorts them by length, and runs them in
micro-batches whose gradients add up.
"""

import argparse
import itertools
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForQuestionAnswering

import exports
import prepare
from worker import Padded, peak_rss

# Keywords of AdamW. The fused one passes over the weights once.
OPTIMIZERS = {"fused": {"fused": True}, "foreach": {"foreach": True}, "loop": {"foreach": False}}
CLIP_NORM = 1.0
WEIGHT_DECAY = 0.01


@dataclass(frozen=True)
class Joined:
    """The one thing that prepare.make_windows asks a shape."""

    pair: str


def labelled_windows(args, config):
    """Windows in random order, each with a random span of at most 30 tokens as its answer."""
    pair = "bert" if config["model_type"] in ("bert", "distilbert") else "roberta"
    windows = prepare.make_windows(Joined(pair), args.squad, args.vocab or args.model / "vocab.txt", args.windows)
    rng = random.Random(prepare.SEED)
    for window in windows:
        start = rng.randrange(len(window["ids"]))
        window["span"] = (start, min(start + rng.randrange(30), len(window["ids"]) - 1))
    return windows


def steps_of(windows, batch_tokens):
    """Lists of windows of at most `batch_tokens` real tokens together, round and round."""
    step, room = [], batch_tokens
    for window in itertools.cycle(windows):
        if step and len(window["ids"]) > room:
            yield step
            step, room = [], batch_tokens
        step.append(window)
        room -= len(window["ids"])


def micro_batches(step, micro_tokens):
    """Longest windows first, as many at a time as fit into `micro_tokens` with their padding."""
    order = sorted(step, key=lambda window: -len(window["ids"]))
    while order:
        count = max(1, micro_tokens // len(order[0]["ids"]))
        yield order[:count]
        order = order[count:]


class Trainer:
    """A model, its optimizer, and what one step does with them."""

    def __init__(self, args, config):
        self.names = exports.input_names(config)
        self.pad_id, self.micro_tokens = config["pad_token_id"], args.micro_tokens
        self.device = args.device
        # Products in another type; weights, sums and the loss stay f32.
        self.dtype = {"f32": None, "f16": torch.float16, "bf16": torch.bfloat16}[args.dtype]
        model = AutoModelForQuestionAnswering.from_pretrained(
            args.model, dtype=torch.float32, attn_implementation=args.attention
        ).train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = args.dropout
        model = model.to(self.device)
        self.parameters = list(model.parameters())
        groups = [
            {"params": [p for p in self.parameters if p.dim() > 1], "weight_decay": WEIGHT_DECAY},
            {"params": [p for p in self.parameters if p.dim() == 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(
            groups, lr=args.learning_rate, betas=(0.9, 0.98), **OPTIMIZERS[args.optimizer]
        )
        self.model = torch.compile(model, dynamic=True) if args.compile else model

    def backward(self, windows, share):
        """Adds the gradient of one micro-batch, and returns its part of the step's loss."""
        batch = Padded(windows, self.pad_id)
        inputs = {name: torch.from_numpy(array).to(self.device) for name, array in batch.inputs(self.names).items()}
        real = inputs["attention_mask"].bool()
        if batch.attention_mask.all():
            del inputs["attention_mask"]
        with torch.autocast(self.device, self.dtype, enabled=self.dtype is not None):
            output = self.model(**inputs)
        starts, ends = torch.tensor([window["span"] for window in windows], device=self.device).unbind(1)
        loss = 0.0
        for logits, wanted in ((output.start_logits, starts), (output.end_logits, ends)):
            loss = loss + torch.nn.functional.cross_entropy(logits.float().masked_fill(~real, -torch.inf), wanted) / 2
        (loss * share).backward()
        return loss.detach() * share

    def step(self, windows):
        """One optimizer step. Returns the mean loss of its windows."""
        self.optimizer.zero_grad(set_to_none=True)
        parts = micro_batches(windows, self.micro_tokens)
        loss = sum(self.backward(part, len(part) / len(windows)) for part in parts)
        torch.nn.utils.clip_grad_norm_(self.parameters, CLIP_NORM)
        self.optimizer.step()
        return loss.item()


def padded_tokens(step, micro_tokens):
    return sum(len(part) * len(part[0]["ids"]) for part in micro_batches(step, micro_tokens))


def measure(args):
    """The result as a dictionary for JSON."""
    torch.set_num_threads(args.threads)
    config = exports.read_config(args.model)
    trainer = Trainer(args, config)
    steps = steps_of(labelled_windows(args, config), args.batch_tokens)
    for step in itertools.islice(steps, args.warmup):
        trainer.step(step)
    seconds, losses, tokens, padded = [], [], 0, 0
    used = time.process_time()
    for step in itertools.islice(steps, args.steps):
        began = time.perf_counter()
        losses.append(trainer.step(step))
        seconds.append(time.perf_counter() - began)
        tokens += sum(len(window["ids"]) for window in step)
        padded += padded_tokens(step, args.micro_tokens)
    used = time.process_time() - used
    return {
        "tokens_per_second": round(tokens / sum(seconds), 1),
        # Well below 1 means that something else had the cores, or that threads waited asleep.
        "core_share": round(used / sum(seconds) / args.threads, 3),
        "tokens": tokens,
        "padding": round(1 - tokens / padded, 4),
        "step_seconds": [round(value, 4) for value in seconds],
        "losses": [round(value, 4) for value in losses],
        "peak_rss_bytes": peak_rss(),
        "threads": args.threads,
        "settings": {
            "torch": torch.__version__,
            "model": args.model.name,
            "device": args.device,
            "dtype": args.dtype,
            "attention": args.attention,
            "optimizer": args.optimizer,
            "compile": args.compile,
            "dropout": args.dropout,
            "batch_tokens": args.batch_tokens,
            "micro_tokens": args.micro_tokens,
            "warmup": args.warmup,
        },
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of a checkpoint")
    parser.add_argument("--squad", nargs="+", type=Path, required=True)
    parser.add_argument("--vocab", type=Path, help="uncased WordPiece vocabulary, by default the model's vocab.txt")
    parser.add_argument("--windows", type=int, default=512, help="different windows, used again when they run out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=10, help="timed steps")
    parser.add_argument("--warmup", type=int, default=1, help="steps before; --compile wants some more")
    parser.add_argument("--batch-tokens", type=int, default=6144, help="real tokens of a step, at most")
    parser.add_argument("--micro-tokens", type=int, default=1024, help="padded tokens run at a time, at most")
    parser.add_argument("--learning-rate", type=float, default=2e-5)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--attention", choices=["sdpa", "eager"], default="sdpa")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="fused")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["f32", "f16", "bf16"], default="f32")
    print(json.dumps(measure(parser.parse_args())), flush=True)


if __name__ == "__main__":
    main()
