"""Rows of token ids -> one padded batch, and the logits of its answer tokens. `Backbone.batch` builds batches here.

Nothing here knows chat templates, pictures or checkpoints: rows come in as ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor, nn

from drake.data.record import DatasetRow
from drake.errors import DrakeError

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration

IGNORED = -100
"""The label of tokens that carry no loss."""


class Batch(NamedTuple):
    """Records as one padded batch of B rows and T tokens.

    records: the records, in the order of the rows.
    input_ids: [B, T], image tokens expanded to the number of feature tokens.
    inputs: for `model(**inputs)`: `inputs_embeds` [B, T, d], `attention_mask` and `position_ids` [B, T].
    labels: [B, T], -100 except for the tokens of the answer and its end of turn; None for generation.
    """

    records: tuple[DatasetRow, ...]
    input_ids: Tensor
    inputs: dict[str, Tensor]
    labels: Tensor | None


class Row(NamedTuple):
    """Token ids of one record: the prompt, image tokens expanded, and after it the answer if there is one.

    prompt_length: how many of `ids` belong to the prompt.
    """

    ids: list[int]
    prompt_length: int


class PaddedIds(NamedTuple):
    """Rows padded to one width, on the CPU: ids, attention mask and labels, [B, T] each; labels None for generation."""

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor | None


def pad(rows: Sequence[Row], pad_id: int, *, answers: bool) -> PaddedIds:
    """Rows of equal width: padded on the right with labels (`answers`), on the left without."""
    height, width = len(rows), max(len(row.ids) for row in rows)
    input_ids = torch.full((height, width), pad_id)
    mask = torch.zeros((height, width), dtype=torch.long)
    labels = torch.full((height, width), IGNORED) if answers else None
    for number, (ids, prompt_length) in enumerate(rows):
        start = 0 if answers else width - len(ids)
        input_ids[number, start : start + len(ids)] = torch.tensor(ids)
        mask[number, start : start + len(ids)] = 1
        if labels is not None:
            labels[number, prompt_length : len(ids)] = torch.tensor(ids[prompt_length:])
    return PaddedIds(input_ids, mask, labels)


def expand_image_tokens(ids: list[int], image_token: int, lengths: Sequence[int], record: DatasetRow) -> list[int]:
    """`ids` with the k-th image token repeated `lengths[k]` times, once per feature token of the k-th picture.

    Raises DrakeError, which names the record, where there are more or fewer image tokens than lengths.
    """
    if ids.count(image_token) != len(lengths):
        raise DrakeError(
            f"record {record['id']!r} has {len(lengths)} pictures but its prompt {ids.count(image_token)} image "
            "tokens; the numbers must be equal."
        )
    left = iter(lengths)
    return [token for id_ in ids for token in ([id_] * next(left) if id_ == image_token else [id_])]


def answer_logits(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits [n, V] and targets [n] of the batch's n answer tokens, rows in order.

    `model` is a LlavaForConditionalGeneration, with or without adapters. lm_head runs on these positions only: the
    cross-entropy of the two is the usual loss at a fraction of the memory.
    """
    if batch.labels is None:
        raise ValueError("a batch without answers has no targets")
    llava = cast("LlavaForConditionalGeneration", model)
    targets = batch.labels[:, 1:]
    wanted = targets != IGNORED
    # With padding on the right a causal model needs no mask: no answer token attends to what follows it.
    embeds = batch.inputs["inputs_embeds"]
    hidden = llava.model(inputs_embeds=embeds, use_cache=False).last_hidden_state[:, :-1]
    return llava.lm_head(hidden[wanted]), targets[wanted]
