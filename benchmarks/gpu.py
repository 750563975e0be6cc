"""What a GPU does: client-rounds per hour, tokens per second, peak memory and model FLOP utilisation.

    python benchmarks/gpu.py --shapes 1b,3b --methods sft,fedmosaic --batch auto --peak 989
    python benchmarks/gpu.py --shapes nano --rank 8 --device cpu --steps 2             # drives the same lines anywhere

Backbones of the shapes of LLaVA on Llama 3.2 1B and 3B with CLIP-L/14-336, of random weights made on the device:
nothing is downloaded. Records hold `--pictures` pictures and about 100 tokens of text; training numbers are those of
preset `paper`. A client-round is 100 optimizer steps of SFT, fewer of a dearer method. Utilisation counts 4 FLOPs per
token and weight of the language model (forward, and backward to the inputs: the weights are frozen) plus attention;
what checkpointing computes again is not work done. --peak: dense bf16 teraFLOPs per second of the GPU (H100 SXM: 989).
--batch auto: the largest power of two that fits.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from federation import WORDS, make_record
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


class Shape(NamedTuple):
    layers: int
    width: int
    feed_forward: int
    heads: int
    key_value_heads: int
    vocabulary: int
    vision: tuple[int, int, int, int, int]  # width, layers, heads, picture, patch


CLIP_L = (1024, 24, 16, 336, 14)
SHAPES = {
    "1b": Shape(16, 2048, 8192, 32, 8, 128_320, CLIP_L),
    "3b": Shape(28, 3072, 8192, 24, 8, 128_320, CLIP_L),
    "nano": Shape(4, 64, 128, 4, 2, 600, (64, 2, 4, 32, 8)),
}


def make_backbone(name: str, device: str, dtype: torch.dtype, checkpointing: bool) -> Backbone:
    """Random weights, made where they stay."""
    shape = SHAPES[name]
    width, layers, heads, size, patch = shape.vision
    tokenizer: Any = new_tokenizer("llama", [" ".join(WORDS)] * 4, 600)
    text = LlamaConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.width, intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.key_value_heads,
        tie_word_embeddings=True, max_position_embeddings=8192, pad_token_id=tokenizer.pad_token_id,
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


def flops_per_token(shape: Shape, tokens: int) -> float:
    """Of one trained token in a row of `tokens`: products with frozen weights forward and back, causal attention."""
    head = shape.width // shape.heads
    projections = 2 * shape.width * shape.width + 2 * shape.width * head * shape.key_value_heads
    weights = shape.layers * (projections + 3 * shape.width * shape.feed_forward)
    attention = shape.layers * 2 * shape.width * tokens / 2  # scores and values, half of them masked
    return 4 * weights + 3 * 2 * attention


def run_steps(name: str, method_name: str, backbone: Backbone, asked: argparse.Namespace, batch: int) -> dict:
    """Seconds per optimizer step of `batch` records, after one step to warm up."""
    backbone.model.train()
    record = make_record("task", "train", 0, 90)
    record["images"] = (record["images"] * asked.pictures)[: asked.pictures]
    record["prompt"] = "<image>" * asked.pictures + record["prompt"].replace("<image>", "")
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
    perform(Job(client, 1, result.state, None), worker)
    _wait(asked.device)
    tokens = backbone.prompt_length(record) + 2
    return {"seconds": (time.perf_counter() - started) / asked.steps, "tokens": tokens, "batch": batch}


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def largest_batch(name: str, method_name: str, backbone: Backbone, asked: argparse.Namespace) -> int:
    """The largest power of two that fits the memory of the GPU, tried upwards."""
    once = argparse.Namespace(**vars(asked) | {"steps": 1})

    def fits(size: int) -> bool:
        return fits_in_memory(lambda: run_steps(name, method_name, backbone, once, size), backbone.device, share=1.0)

    return largest_that_fits(fits, 1, most=64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="1b,3b")
    parser.add_argument("--methods", default="sft,fedmosaic")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--pictures", type=int, default=2)
    parser.add_argument("--batch", default="4", help="records per step, or auto")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--rank", type=int, default=128)
    parser.add_argument("--peak", type=float, help="teraFLOPs per second of the device in bf16")
    asked = parser.parse_args()
    cuda = asked.device.startswith("cuda")
    where = torch.cuda.get_device_name() if cuda else "CPU"
    print(f"{where}, bf16, gradient checkpointing {'on' if asked.checkpointing else 'off'}")
    print("| backbone | method | records per step | client-rounds per hour | tokens per s | peak GB | MFU |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for name in asked.shapes.split(","):
        for method_name in asked.methods.split(","):
            backbone = make_backbone(name, asked.device, torch.bfloat16, asked.checkpointing)
            auto = asked.batch == "auto"
            batch = largest_batch(name, method_name, backbone, asked) if auto else int(asked.batch)
            if cuda:
                torch.cuda.reset_peak_memory_stats()
            row = run_steps(name, method_name, backbone, asked, batch)
            kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            peak = torch.cuda.max_memory_allocated() / 1e9 if cuda else kilobytes / 1e6
            speed = row["batch"] * row["tokens"] / row["seconds"]
            share = speed * flops_per_token(SHAPES[name], row["tokens"]) / (asked.peak * 1e12) if asked.peak else None
            rounds = 3600 / (row["seconds"] * 100 / registry.find(method_name).relative_cost)
            print(
                f"| {name} | {method_name} | {batch} | {rounds:.1f} | {speed:,.0f} | {peak:.1f} | "
                f"{'-' if share is None else f'{share:.1%}'} |"
            )
            del backbone
            if cuda:
                torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
