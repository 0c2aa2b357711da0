"""The model shapes that are measured, what they cost, and where their files lie below the working folder.

Needs nothing but the standard library: the parent process of a benchmark stays small and idle beside its workers.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Shape:
    """One encoder with a question-answering head."""

    name: str
    dialect: str  # the function of tests/fixtures/common.py that writes its config.json
    vocab: int
    hidden: int
    layers: int
    heads: int
    inner: int
    positions: int
    pair: str  # "bert": [CLS] q [SEP] c [SEP]; "roberta": <s> q </s></s> c </s>

    @property
    def pad_id(self):
        return 1 if self.pair == "roberta" else 0

    def layer_weights(self):
        """GEMM parameters of one layer: query, key, value, output, and the two of the feed-forward block."""
        return 4 * self.hidden * self.hidden + 2 * self.hidden * self.inner

    def flops_per_token(self, length):
        """Two per weight, and two GEMMs of the attention: each token meets `length` others, `hidden` wide."""
        return 2 * self.layer_weights() * self.layers + 4 * length * self.hidden * self.layers

    def f32_bytes(self):
        """The checkpoint's size, to the embeddings and the layers."""
        return 4 * (self.layer_weights() * self.layers + (self.vocab + self.positions) * self.hidden)


FLOPS_FORMULA = (
    "FLOPs per token = 2 x (4 hidden^2 + 2 hidden x inner) x layers + 4 x length x hidden x layers, where length is "
    "the mean over tokens of their window's length"
)

SHAPES = {
    shape.name: shape
    for shape in (
        Shape("minilm-l6", "bert_config", 30522, 384, 6, 12, 1536, 512, "bert"),
        Shape("minilm-l12", "bert_config", 30522, 384, 12, 12, 1536, 512, "bert"),
        Shape("distilbert", "distilbert_config", 30522, 768, 6, 12, 3072, 512, "bert"),
        Shape("roberta-base", "roberta_config", 50265, 768, 12, 12, 3072, 514, "roberta"),
        Shape("bert-large", "bert_config", 30522, 1024, 24, 16, 4096, 512, "bert"),
        Shape("xlm-roberta-large", "xlm_roberta_config", 250002, 1024, 24, 16, 4096, 514, "roberta"),
    )
}

# The last one has the layers of bert-large: on a processor it takes long and says nothing new.
CPU_SHAPES = [name for name in SHAPES if name != "xlm-roberta-large"]


def mean_met_length(lengths):
    """How many tokens a token meets on average: long windows hold more of the tokens."""
    return sum(n * n for n in lengths) / sum(lengths)


def model_dir(work, shape):
    return Path(work) / "models" / shape.name


def exports_dir(work, shape):
    return Path(work) / "exports" / shape.name
