"""What preset `paper` would take on GPUs: an estimate from floating point operations and memory traffic, not measured.

    python benchmarks/gpu_estimate.py --peak 989 --bandwidth 3.35            # an H100 SXM

`gpu.py` measures the same columns where there is a GPU. Assumed: training and prefill reach the fraction `--share` of
the peak; a decoding step reads the weights and the cache once, at half of the bandwidth; encoded pictures come from the
feature cache; a prompt has 100 tokens of text and 576 a picture; an answer has `--answer-tokens` tokens, its batch
decodes twice as many; the run has 10 clients of one backbone, 20 rounds of 100 steps of 4 records and, at four points,
10, 20, 30 and 40 tasks of `--test-records` records for each client. Adapters, norms, optimizer and server count for
nothing. On eight cards two clients wait for a card that has done its first one; answers are shared evenly.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

CLIENTS, ROUNDS, STEPS, STEP_RECORDS = 10, 20, 100, 4
TASKS_ANSWERED = 10 + 20 + 30 + 40
"""Tasks that a client answers at the four evaluation points."""
TEXT_TOKENS, PICTURE_TOKENS = 100, 576
BATCH_TOKENS = 65_536
"""Padded tokens of an evaluation batch."""
RANK = 128
HALF = 2
"""Bytes of a number in bfloat16."""


@dataclass(frozen=True)
class Shape:
    """A language model and its vision tower (width, layers, heads, size of a picture, size of a patch)."""

    layers: int
    width: int
    feed_forward: int
    heads: int
    key_value_heads: int
    vocabulary: int
    vision: tuple[int, int, int, int, int]
    tied: bool = True

    @property
    def key_value_width(self) -> int:
        return self.width // self.heads * self.key_value_heads

    @property
    def weights(self) -> int:
        """Those of the decoder layers, which every token is multiplied with."""
        projections = 2 * self.width * self.width + 2 * self.width * self.key_value_width
        return self.layers * (projections + 3 * self.width * self.feed_forward)

    @property
    def held(self) -> int:
        """All weights in memory: decoder layers, embeddings, head and vision tower."""
        width, layers, *_ = self.vision
        return self.weights + self.vocabulary * self.width * (1 if self.tied else 2) + 12 * layers * width * width

    @property
    def adapter(self) -> int:
        """Numbers of one adapter of rank `RANK`."""
        sides = 2 * (self.width + self.width) + 2 * (self.width + self.key_value_width)
        return RANK * self.layers * (sides + 3 * (self.width + self.feed_forward))

    def cache(self, tokens: int) -> int:
        """Bytes of the keys and values of so many tokens."""
        return 2 * self.layers * self.key_value_width * tokens * HALF

    def forward(self, tokens: int) -> float:
        """FLOPs of one token in a row of `tokens`: products with weights, and causal attention."""
        return 2 * self.weights + self.layers * 4 * self.width * tokens / 2

    def training(self, tokens: int) -> float:
        """FLOPs of one trained token: forward, and backward to the inputs, since the weights are frozen; backward
        through attention is twice its forward."""
        attention = self.layers * 4 * self.width * tokens / 2
        return 4 * self.weights + 3 * attention


CLIP_L = (1024, 24, 16, 336, 14)
SHAPES = {
    "1b": Shape(16, 2048, 8192, 32, 8, 128_320, CLIP_L),
    "3b": Shape(28, 3072, 8192, 24, 8, 128_320, CLIP_L),
    "8b": Shape(32, 4096, 14_336, 32, 8, 128_320, CLIP_L, tied=False),
    "nano": Shape(4, 64, 128, 4, 2, 600, (64, 2, 4, 32, 8)),
}


def hours(step: float, answers_per_second: float, cards: int, test_records: int, relative_cost: float = 1.0) -> float:
    """Hours of a run of preset `paper`. step: seconds of an SFT-sized optimizer step of 4 records; a method whose steps
    cost more makes fewer."""
    rounds = ROUNDS * -(-CLIENTS // cards) * STEPS / relative_cost * step
    answers = CLIENTS * TASKS_ANSWERED * test_records / answers_per_second / cards
    return (rounds + answers) / 3600


@dataclass(frozen=True)
class Card:
    """A GPU. peak: FLOPs per second in bf16. bandwidth: bytes per second of its memory. share: of the peak reached."""

    peak: float
    bandwidth: float
    share: float

    def step_seconds(self, shape: Shape, tokens: int, checkpointing: bool) -> float:
        """An optimizer step of 4 records of so many tokens; checkpointing computes forward again."""
        again = shape.forward(tokens) if checkpointing else 0
        return STEP_RECORDS * tokens * (shape.training(tokens) + again) / (self.share * self.peak)

    def answers_per_second(self, shape: Shape, tokens: int, answer_tokens: int) -> float:
        """Of prompts of so many tokens, in batches of `BATCH_TOKENS`."""
        records = max(1, BATCH_TOKENS // tokens)
        prefill = records * tokens * shape.forward(tokens) / (self.share * self.peak)
        read = HALF * shape.weights + shape.cache(records * tokens)
        decoding = 2 * answer_tokens * read / (self.bandwidth / 2)
        return records / (prefill + decoding)


def peak_gigabytes(shape: Shape, tokens: int) -> float:
    """The larger of training and answering: weights, the cache or a checkpoint of every layer, one layer's activations,
    an adapter with its gradient and AdamW's moments in float32."""
    of_layer = HALF * (10 * shape.width + 4 * shape.feed_forward)
    training = 16 * shape.adapter + STEP_RECORDS * tokens * (HALF * shape.layers * shape.width + 2 * of_layer)
    answering = shape.cache(BATCH_TOKENS) + BATCH_TOKENS * of_layer
    return (HALF * shape.held + max(training, answering)) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="1b,3b,8b")
    parser.add_argument("--pictures", default="1,2,8")
    parser.add_argument("--peak", type=float, default=989, help="dense bf16 teraFLOPs per second of the GPU")
    parser.add_argument("--bandwidth", type=float, default=3.35, help="terabytes per second of its memory")
    parser.add_argument("--share", type=float, default=0.45, help="fraction of the peak that products reach")
    parser.add_argument("--answer-tokens", type=int, default=4)
    parser.add_argument("--test-records", type=int, default=2000, help="of a task")
    asked = parser.parse_args()
    card = Card(asked.peak * 1e12, asked.bandwidth * 1e12, asked.share)
    print(f"ESTIMATED, not measured: {asked.peak:g} TFLOP/s, {asked.bandwidth:g} TB/s, {asked.share:.0%} of the peak")
    print("| backbone | pictures | s per step | answers per s | peak GB | hours, 1 card | hours, 8 cards | MFU |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name in asked.shapes.split(","):
        shape = SHAPES[name]
        for pictures in map(int, asked.pictures.split(",")):
            tokens = TEXT_TOKENS + PICTURE_TOKENS * pictures
            step = card.step_seconds(shape, tokens, checkpointing=True)
            rate = card.answers_per_second(shape, tokens, asked.answer_tokens)
            times = [hours(step, rate, cards, asked.test_records) for cards in (1, 8)]
            used = STEP_RECORDS * tokens * shape.training(tokens) / step / card.peak
            print(
                f"| {name} | {pictures} | {step:.2f} | {rate:.1f} | {peak_gigabytes(shape, tokens):.0f} | "
                f"{times[0]:.0f} | {times[1]:.1f} | {used:.0%} |"
            )


if __name__ == "__main__":
    main()
