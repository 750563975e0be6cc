"""One client's round and one evaluation of every method on a fixed federation, to be timed beside others.

    python benchmarks/federation.py [--methods sft,fedmosaic] [--checkpointing] [--repeat 3]
    python benchmarks/federation.py --methods fedmosaic,fedmosaic+aggregation=uniform     what measuring relevance costs

4 clients on two backbones (text layers 8 x 64 with FFN 256, and 14 x 96 with FFN 384; 4 heads, 2 key-value heads,
vocabulary 600; CLIP 64 wide, 2 layers, patch 8), 2 tasks each of 40 train and 40 test records, two pictures of 32 x 32
and about 97 tokens a record, of which 32 stand for pictures. LoRA r 8, alpha 16, 4 blocks; 10 iterations of 4 records,
float32, one thread. The order of methods is shuffled in every repetition; printed is the median. Random weights: the
arithmetic is that of trained ones.
"""

from __future__ import annotations

import argparse
import io
import random
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from drake.common.threads import use_threads
from drake.config import preset
from drake.engines.serial import Shared
from drake.engines.tasks import Job, perform
from drake.engines.worker import Worker
from drake.federation import registry
from drake.federation.method import Architecture, Client, Federation
from drake.models import backbones
from drake.models.tiny.shapes import CHAT_TEMPLATES, new_tokenizer
from drake.runs.answering import Answerer, Answering
from drake.scoring.generation import batches

SHAPES = {"small": (8, 64, 256), "large": (14, 96, 384)}
"""Name -> text layers, width, FFN."""
TASKS, RECORDS, ITERATIONS, BATCH = 2, 40, 10, 4
WORDS = (
    "red",
    "blue",
    "house",
    "ball",
    "left",
    "right",
    "of",
    "the",
    "which",
    "picture",
    "shows",
    "a",
    "small",
    "large",
)


def make_backbone(folder: Path, layers: int, width: int, feed_forward: int) -> None:
    """An ordinary checkpoint of random weights."""
    tokenizer: Any = new_tokenizer("llama", [" ".join(WORDS)] * 4, 600)
    image = tokenizer.convert_tokens_to_ids("<image>")
    text = LlamaConfig(
        vocab_size=600, hidden_size=width, intermediate_size=feed_forward, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True, max_position_embeddings=1024,
        eos_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.bos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8
    )
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(
        LlavaConfig(vision_config=vision, text_config=text, image_token_index=image, image_seq_length=16)
    )
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    model.save_pretrained(folder)
    square = {"height": 32, "width": 32}
    LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size=square, crop_size=square, do_center_crop=False),
        tokenizer=tokenizer, patch_size=8, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATES["llama"],
    ).save_pretrained(folder)  # fmt: skip


def make_record(task: str, split: str, row: int, words: int) -> dict[str, Any]:
    """Two noise pictures and a prompt of so many words."""
    rng = random.Random(f"{task}/{split}/{row}")
    images = []
    for _ in range(2):
        pixels = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        written = io.BytesIO()
        Image.fromarray(pixels).save(written, "PNG")
        images.append({"bytes": written.getvalue()})
    prompt = "<image><image>" + " ".join(rng.choices(WORDS, k=words))
    answer = rng.choice("AB")
    return {"id": f"{task}/{split}/{row}", "task": task, "prompt": prompt, "images": images, "answer": answer}


def federation(folder: Path, checkpointing: bool) -> tuple[dict[str, backbones.Backbone], tuple[Client, ...]]:
    """The two backbones and the four clients."""
    found = {}
    for name, shape in SHAPES.items():
        if not (folder / name).exists():
            make_backbone(folder / name, *shape)
        found[name] = backbones.load(folder / name, checkpointing=checkpointing)
    clients = tuple(Client(i, list(SHAPES)[i % 2], tuple(f"task-{i}-{k}" for k in range(TASKS))) for i in range(4))
    return found, clients


def seconds(call: Any) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def worker_of(folder: Path, method_name: str, checkpointing: bool) -> tuple[Worker, tuple[Client, ...]]:
    """A worker that trains and answers by the method ("name" or "name+option=value"), and its clients."""
    found, clients = federation(folder, checkpointing)
    words = 97 - 32 - 12  # the chat template takes a dozen
    records = {
        (task, split): [make_record(task, split, row, words) for row in range(RECORDS)]
        for client in clients
        for task in client.tasks
        for split in ("train", "test")
    }
    training = replace(
        preset("mini").training,
        rank=8,
        alpha=16,
        learning_rate=1e-4,
        micro_batch=BATCH,
        accumulation=1,
        steps=ITERATIONS,
    )

    def public(count: int, purpose: str) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        for (_, split), mine in records.items():
            found += mine if split == "train" else []
        return found[:count]

    def plan(client: int, round: int) -> list[list[list[dict[str, Any]]]]:
        mine = records[clients[client].tasks[0], "train"]
        return [[mine[BATCH * k : BATCH * (k + 1)]] for k in range(ITERATIONS)]

    name, *options = method_name.split("+")
    method = registry.find(name)(training, dict(option.split("=") for option in options))
    worker = Worker(method, found.__getitem__, plan, lambda task, row: records[task, "test"][row])
    architectures = {name: Architecture(name, "llama", SHAPES[name][0]) for name in found}
    worker.join(Federation(clients, architectures, 0, 1, training, worker.backbone, public))
    return worker, clients


def training_and_answering(worker: Worker, client: Client) -> tuple[Job, Answering, int]:
    """A client's second round and its answers to all test records, as tasks, and the number of those records. Pictures
    are encoded and memory is allocated by now."""
    job = Job(client, 0, worker.initial_state(client), None)
    result = perform(job, worker)
    places = [(task, row) for task in client.tasks for row in range(RECORDS)]
    assert worker.record is not None
    lengths = [worker.backbone(client.backbone).prompt_length(worker.record(*place)) for place in places]
    groups = tuple(tuple(places[i] for i in group) for group in batches(lengths, 2048))
    held = {client.id: Answerer(client, result.state, None)}
    answering = Answering(client.backbone, Shared(held), groups, 8, 1.0)
    perform(answering, worker)
    return Job(client, 0, result.state, None), answering, len(places)


def measure(folder: Path, method_name: str, checkpointing: bool) -> dict[str, float]:
    """ "train small" and "train large" [s per iteration], "eval small" and "eval large" [ms per record]."""
    worker, clients = worker_of(folder, method_name, checkpointing)
    figures = {}
    for client in clients[:2]:
        job, answering, records = training_and_answering(worker, client)
        size = client.backbone
        figures[f"train {size}"] = seconds(lambda job=job: perform(job, worker)) / ITERATIONS
        figures[f"eval {size}"] = 1000 * seconds(lambda task=answering: perform(task, worker)) / records
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(registry.names()))
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    use_threads(1)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in asked.methods.split(",")}
    with tempfile.TemporaryDirectory() as folder:
        for repetition in range(asked.repeat):
            for name in random.Random(repetition).sample(list(found), len(found)):
                found[name].append(measure(Path(folder), name, asked.checkpointing))
    print(f"gradient checkpointing {'on' if asked.checkpointing else 'off'}, median of {asked.repeat}")
    print("| method | s per iteration, small | large | ms per evaluated record, small | large |")
    print("|---|---:|---:|---:|---:|")
    for name, runs in found.items():
        middle = {key: median(run[key] for run in runs) for key in runs[0]}
        train, evaluation = ([middle[f"{what} {size}"] for size in SHAPES] for what in ("train", "eval"))
        print(f"| {name} | {train[0]:.4f} | {train[1]:.4f} | {evaluation[0]:.2f} | {evaluation[1]:.2f} |")


if __name__ == "__main__":
    main()
