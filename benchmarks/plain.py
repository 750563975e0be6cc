"""DRAKE against the plain way with the same libraries: transformers' processor and generate, PEFT's own layers,
pictures encoded every time, records in the order of the data, 1, 4 or 16 of them at a time (the official code takes 1).

    python benchmarks/plain.py [--backbone tiny-llama-m] [--clients 10] [--records 4]

Both answer the same test records of 40 mini tasks for the same clients, and both train the same steps. The answers must
be the same; printed is how many times as fast DRAKE is.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from drake_baselines.sft import ADAPTER, SFT
from peft import LoraConfig, inject_adapter_in_model

from drake.common.threads import use_threads
from drake.config import Config, preset
from drake.data.benchmark import load
from drake.data.building import cached_mini
from drake.data.pictures import decoded_images
from drake.engines.serial import Shared
from drake.engines.tasks import Job, perform
from drake.engines.worker import Worker
from drake.federation import adapters
from drake.federation.method import Architecture, Client, Federation, State
from drake.models import backbones
from drake.models.backbones import Backbone
from drake.models.prompts import PLACEHOLDER
from drake.runs.answering import Answerer, Answering
from drake.scoring.generation import batches

STEP = 16
NEW_TOKENS = 8


def plain_inputs(backbone: Backbone, records: Sequence[Mapping[str, Any]], side: str, answers: bool) -> dict[str, Any]:
    """What the processor makes of a batch."""
    texts, pictures = [], []
    for record in records:
        pieces = record["prompt"].split(PLACEHOLDER)
        content: list[dict[str, str]] = []
        for number, piece in enumerate(pieces):
            content += [{"type": "image"}] if number else []
            content += [{"type": "text", "text": piece}] if piece else []
        turn = [{"role": "user", "content": content}]
        text = backbone.processor.apply_chat_template(turn, add_generation_prompt=True)
        texts.append(text + record["answer"] + backbone.tokenizer.eos_token if answers else text)
        pictures += decoded_images(record)
    backbone.tokenizer.padding_side = side
    processor: Any = backbone.processor
    return processor(
        text=texts, images=pictures, padding=True, return_tensors="pt", add_special_tokens=False
    )  # fmt: skip


def plain_model(name: str, chosen: Config) -> Backbone:
    """The backbone with PEFT's LoRA on it."""
    backbone = backbones.load(name)
    training = chosen.training
    config = LoraConfig(r=training.rank, lora_alpha=int(training.alpha), target_modules=adapters.TARGETS)
    inject_adapter_in_model(config, backbone.model, ADAPTER)
    return backbone


def write(model: torch.nn.Module, state: State) -> None:
    adapters.write(model, ADAPTER, state)


def plain_answers(
    backbone: Backbone, states: Mapping[int, State], records: Sequence[Mapping[str, Any]], size: int
) -> dict[tuple[int, str], str]:
    """Client by client, batch by batch."""
    said = {}
    model: Any = backbone.model
    model.eval()
    for client, state in states.items():
        write(backbone.model, state)
        for start in range(0, len(records), size):
            part = records[start : start + size]
            inputs = plain_inputs(backbone, part, "left", answers=False)
            with torch.inference_mode():
                rows = model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
            for record, row in zip(part, rows[:, inputs["input_ids"].shape[1] :], strict=True):
                said[client, record["id"]] = backbone.decode(row)
    return said


def plain_steps(
    backbone: Backbone, state: State, steps: Sequence[Sequence[Mapping[str, Any]]], rate: float, size: int
) -> None:
    """Full logits, stock loss, AdamW."""
    write(backbone.model, state)
    trained = adapters.train_only(backbone.model, adapters.tensors(backbone.model, ADAPTER).values())
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=0.0)
    backbone.model.train()
    for records in steps:
        for first in range(0, len(records), size):
            inputs = plain_inputs(backbone, records[first : first + size], "right", answers=True)
            labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)  # which count costs nothing
            (backbone.model(**inputs, labels=labels).loss * size / len(records)).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="tiny-llama-m")
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--records", type=int, default=4)
    asked = parser.parse_args()
    use_threads(1)
    chosen = preset("mini")
    benchmark = load(
        cached_mini(0, train=chosen.data.train, test=chosen.data.test, public_per_world=chosen.data.public)
    )
    own = [task for client in benchmark.clients for task in client]
    places = [(task, row) for task in own for row in range(asked.records)]
    records = [benchmark.records(task, "test")[row] for task, row in places]
    steps = [[benchmark.records(own[4 * k], "train")[row] for row in range(STEP)] for k in range(8)]

    backbone = backbones.load(asked.backbone)
    clients = tuple(Client(i, asked.backbone, (own[0],)) for i in range(asked.clients))
    worker = Worker(
        SFT(chosen.training),
        lambda name: backbone,
        lambda client, round: [[step] for step in steps],
        lambda task, row: benchmark.records(task, "test")[row],
    )
    architecture = Architecture(asked.backbone, backbone.family, backbone.num_layers)
    worker.join(Federation(clients, {asked.backbone: architecture}, 0, 1, chosen.training, worker.backbone, _none))
    start = worker.initial_state(clients[0])
    result = perform(Job(clients[0], 0, start, None), worker)  # from here on every picture is known
    ours_train, _ = seconds(lambda: perform(Job(clients[0], 0, start, None), worker))
    states = {client.id: {name: t * (1 + 0.1 * client.id) for name, t in result.state.items()} for client in clients}

    def ours() -> dict[tuple[int, str], str]:
        held = {client.id: Answerer(client, states[client.id], None) for client in clients}
        lengths, tokens = [backbone.prompt_length(record) for record in records], chosen.evaluation.tokens
        assert isinstance(tokens, int)
        groups = tuple(tuple(places[i] for i in group) for group in batches(lengths, tokens))
        found = Answering(asked.backbone, Shared(held), groups, NEW_TOKENS, 1.0)(worker)
        return {(answer.client, answer.record): answer.text for answer in found}

    ours_eval, said = seconds(ours)
    plain = plain_model(asked.backbone, chosen)
    rate = chosen.training.learning_rate
    print("| | records at a time | plain (s) | here (s) | times as fast | same answers |")
    print("|---|---:|---:|---:|---:|---:|")
    for size in (1, 4, STEP):
        plain_eval, expected = seconds(lambda size=size: plain_answers(plain, states, records, size))
        same = sum(said[key] == text for key, text in expected.items())
        plain_train, _ = seconds(lambda size=size: plain_steps(plain, start, steps, rate, size))
        times = plain_eval / ours_eval
        right = f"{same} of {len(expected)}"
        print(f"| evaluation | {size} | {plain_eval:.2f} | {ours_eval:.2f} | {times:.1f} | {right} |")
        times = plain_train / ours_train
        print(f"| training, {len(steps)} steps | {size} | {plain_train:.2f} | {ours_train:.2f} | {times:.1f} | |")


def _none(count: int, purpose: str) -> list[Mapping[str, Any]]:
    return []


if __name__ == "__main__":
    main()
