"""What a GPU does: client-rounds per hour, answers and tokens per second, peak memory, model FLOP utilisation, and the
hours of preset `paper` on one card and on eight.

    python benchmarks/gpu.py --shapes 1b,3b,8b --pictures 1,2,8 --methods sft,fedmosaic --batch auto --peak 989
    python benchmarks/gpu.py --shapes nano --rank 8 --device cpu --steps 2             # drives the same lines anywhere

Backbones of the shapes of LLaVA on Llama 3.2 1B, 3B and Llama 3.1 8B with CLIP-L/14-336 (576 tokens a picture), of
random weights made on the device: nothing is downloaded. Records hold `--pictures` pictures and about 100 tokens of
text; training numbers are those of preset `paper`. A client-round is 100 optimizer steps of SFT, fewer of a dearer
method. Answers are `--answer-tokens` tokens long, since random weights never stop, in batches of `--eval-tokens`.
Utilisation counts 4 FLOPs per token and weight of the language model (forward, and backward to the inputs: the weights
are frozen) plus attention; what checkpointing computes again is not work done. --peak: dense bf16 teraFLOPs per second
of the GPU (H100 SXM: 989). --batch auto: the largest power of two that fits. Hours follow from the two speeds as in
`gpu_estimate.py`, which estimates the same table where there is no GPU.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import torch
from federation import WORDS, make_record
from gpu_estimate import BATCH_TOKENS, SHAPES, STEP_RECORDS, hours
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from drake.config import preset
from drake.engines.tasks import Job, perform
from drake.engines.worker import Worker
from drake.federation import registry
from drake.federation.method import Architecture, Client, Federation
from drake.models.backbones import Backbone
from drake.models.largest_batch import fits_in_memory, largest_that_fits
from drake.models.tiny.shapes import CHAT_TEMPLATES, new_tokenizer
from drake.scoring.generation import answers


def make_backbone(name: str, device: str, dtype: torch.dtype, checkpointing: bool) -> Backbone:
    """Random weights, made where they stay."""
    shape = SHAPES[name]
    width, layers, heads, size, patch = shape.vision
    tokenizer: Any = new_tokenizer("llama", [" ".join(WORDS)] * 4, 600)
    text = LlamaConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.width, intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.key_value_heads,
        tie_word_embeddings=shape.tied, max_position_embeddings=8192, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=heads,
        image_size=size, patch_size=patch,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(size // patch) ** 2,
    )
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = LlavaForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(torch.float32)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    if checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    square = {"height": size, "width": size}
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size=square, crop_size=square, do_center_crop=False),
        tokenizer=tokenizer, patch_size=patch, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATES["llama"],
    )  # fmt: skip
    return Backbone(name, "llama", "random", model, processor, torch.device(device), dtype)


class Trained(NamedTuple):
    """What is timed. seconds: of an optimizer step of a batch. tokens: of a record with its answer. answer: makes the
    client answer so many batches of the asked size, and returns the number of answers."""

    seconds: float
    tokens: int
    answer: Callable[[int], int]


def run_steps(
    name: str, method_name: str, backbone: Backbone, asked: argparse.Namespace, batch: int, pictures: int
) -> Trained:
    """Optimizer steps of `batch` records, after one step to warm up."""
    backbone.model.train()
    record: Any = make_record("task", "train", 0, 90)
    record["images"] = (record["images"] * pictures)[:pictures]
    record["prompt"] = "<image>" * pictures + record["prompt"].replace("<image>", "")
    training = replace(preset("paper").training, micro_batch=batch, accumulation=1, steps=asked.steps, rank=asked.rank)
    client = Client(0, name, ("task",))
    steps = {0: [[[record] * batch]] * 2, 1: [[[record] * batch]] * asked.steps}
    method = registry.find(method_name)(training)
    worker = Worker(method, lambda _: backbone, lambda client, round: steps[round])
    architecture = Architecture(name, "llama", SHAPES[name].layers)
    worker.join(Federation((client,), {name: architecture}, 0, 2, training, worker.backbone, lambda count, purpose: []))
    result = perform(Job(client, 0, worker.initial_state(client), None), worker)
    _wait(asked.device)
    started = time.perf_counter()
    state = perform(Job(client, 1, result.state, None), worker).state
    _wait(asked.device)
    seconds = (time.perf_counter() - started) / asked.steps
    prompt = backbone.prompt_length(record)
    group = [record] * max(1, asked.eval_tokens // prompt)

    def answer(count: int) -> int:
        ready = {0: lambda: worker.answer_as(client, state, None, 2, True)}
        return len(list(answers(backbone, ready, [group] * count, asked.answer_tokens)))

    return Trained(seconds, prompt + 2, answer)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def largest_batch(name: str, method_name: str, backbone: Backbone, asked: argparse.Namespace, pictures: int) -> int:
    """The largest power of two that fits the memory of the GPU, tried upwards."""
    once = argparse.Namespace(**vars(asked) | {"steps": 1})

    def fits(size: int) -> bool:
        attempt = partial(run_steps, name, method_name, backbone, once, size, pictures)
        return fits_in_memory(attempt, backbone.device, share=1.0)

    return largest_that_fits(fits, 1, most=64)


def row_of(name: str, method_name: str, pictures: int, asked: argparse.Namespace) -> str:
    """A row of the table, measured."""
    cuda = asked.device.startswith("cuda")
    backbone = make_backbone(name, asked.device, torch.bfloat16, asked.checkpointing)
    auto = asked.batch == "auto"
    batch = largest_batch(name, method_name, backbone, asked, pictures) if auto else int(asked.batch)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    trained = run_steps(name, method_name, backbone, asked, batch, pictures)
    trained.answer(1)
    _wait(asked.device)
    started = time.perf_counter()
    rate = trained.answer(asked.eval_batches) / (time.perf_counter() - started)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = torch.cuda.max_memory_allocated() / 1e9 if cuda else kilobytes / 1e6
    speed = batch * trained.tokens / trained.seconds
    used = speed * SHAPES[name].training(trained.tokens) / (asked.peak * 1e12) if asked.peak else None
    cost = registry.find(method_name).relative_cost
    step = trained.seconds * STEP_RECORDS / batch
    times = [hours(step, rate, cards, asked.test_records, cost) for cards in (1, 8)]
    return (
        f"| {name} | {method_name} | {pictures} | {batch} | {3600 / (step * 100 / cost):.1f} | {speed:,.0f} | "
        f"{rate:.1f} | {peak:.1f} | {times[0]:.1f} | {times[1]:.1f} | {'-' if used is None else f'{used:.1%}'} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="1b,3b,8b")
    parser.add_argument("--methods", default="sft,fedmosaic")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--pictures", default="1,2,8")
    parser.add_argument("--batch", default="4", help="records per step, or auto")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--rank", type=int, default=128)
    parser.add_argument("--eval-tokens", type=int, default=BATCH_TOKENS, help="padded tokens of an evaluation batch")
    parser.add_argument("--eval-batches", type=int, default=4)
    parser.add_argument("--answer-tokens", type=int, default=8, help="as a batch decodes until its last answer ends")
    parser.add_argument("--test-records", type=int, default=2000, help="of a task, for the hours")
    parser.add_argument("--peak", type=float, help="teraFLOPs per second of the device in bf16")
    asked = parser.parse_args()
    cuda = asked.device.startswith("cuda")
    where = torch.cuda.get_device_name() if cuda else "CPU"
    print(f"{where}, bf16, gradient checkpointing {'on' if asked.checkpointing else 'off'}")
    print(
        "| backbone | method | pictures | records per step | client-rounds per hour | tokens per s | answers per s | "
        "peak GB | hours, 1 card | hours, 8 cards | MFU |"
    )
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name, method_name, pictures in product(
        asked.shapes.split(","), asked.methods.split(","), map(int, asked.pictures.split(","))
    ):
        print(row_of(name, method_name, pictures, asked), flush=True)
        if cuda:
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
