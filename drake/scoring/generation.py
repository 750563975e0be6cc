"""Generation: the answers of every client's model to test records. Called at the evaluation points of a run.

A few batches at a time are encoded, once per backbone, and answered by every client of that backbone in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from drake.common.stopping import safe_point
from drake.data.record import DatasetRow
from drake.models.fixed import parameters_fixed

if TYPE_CHECKING:
    from drake.models.backbones import Backbone, Batch


TOGETHER = 4
"""Batches that a client answers before the next client takes its place: a client is made ready once for all of them,
and they are in memory together."""


class Answer(NamedTuple):
    """The answer of one client to one record (by its id): the text, and its token ids up to the end of the turn."""

    client: int
    record: str
    text: str
    token_ids: list[int]


class ForwardOutput(NamedTuple):
    """What `generate` reads from a forward pass. logits: [B, T, V]. past_key_values: the cache, of whatever type the
    model accepts under that name in its next forward pass."""

    logits: Tensor
    past_key_values: Any


@torch.inference_mode()
def generate(model: nn.Module, batch: Batch, stop_ids: Sequence[int], max_new_tokens: int) -> list[list[int]]:
    """Greedy decoding of a left-padded batch: per row the generated ids before the first stop token.

    model: any module whose forward pass takes and returns a cache as a Hugging Face language model does (see
    `ForwardOutput`). Decoding ends as soon as every row has stopped.
    """
    device = batch.input_ids.device
    stops = torch.tensor(list(stop_ids), device=device)
    inputs: dict[str, Any] = dict(batch.inputs)
    done = torch.zeros(len(batch.input_ids), dtype=torch.bool, device=device)
    written: list[Tensor] = []
    for _ in range(max_new_tokens):
        output = model(**inputs, use_cache=True, logits_to_keep=1)
        token = output.logits[:, -1].argmax(-1)
        written.append(token)
        done |= torch.isin(token, stops)
        if done.all():
            break
        mask = inputs["attention_mask"]
        inputs = {
            "input_ids": token[:, None],
            "attention_mask": torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1),
            "position_ids": inputs["position_ids"][..., -1:] + 1,
            "past_key_values": output.past_key_values,
        }
    ends = set(stop_ids)
    rows = torch.stack(written, dim=1).tolist()
    return [row[: next((k for k, token in enumerate(row) if token in ends), len(row))] for row in rows]


def batches(lengths: Sequence[int], token_budget: int) -> Iterator[list[int]]:
    """The indices of prompts of these lengths, longest first, in groups whose padded size stays within `token_budget`
    (at least one prompt)."""
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if group and lengths[group[0]] * (len(group) + 1) > token_budget:
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def answers(
    backbone: Backbone,
    clients: Mapping[int, Callable[[], nn.Module]],
    groups: Iterable[Sequence[DatasetRow]],
    max_new_tokens: int,
) -> Iterator[Answer]:
    """Every client's answer to every record of the groups (see `batches`).

    clients: client number -> make the backbone's model answer as this client, and return it. Its parameters do not
    change until the next one is made (`parameters_fixed`).
    """
    remaining = iter(groups)
    while part := list(islice(remaining, TOGETHER)):
        encoded = [backbone.batch(group, answers=False) for group in part]
        for client, ready in clients.items():
            safe_point()
            model = ready()
            model.eval()
            with parameters_fixed(model):
                written = [generate(model, batch, backbone.stop_ids, max_new_tokens) for batch in encoded]
            for record, row in zip(chain(*part), chain(*written), strict=True):
                yield Answer(client, record["id"], backbone.decode(row), row)
