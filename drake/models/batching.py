"""Rows of token ids -> one padded batch, and the logits of its answer tokens. `Backbone.batch` builds batches here.

Nothing here knows chat templates, pictures or checkpoints: rows come in as ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from drake.data.record import DatasetRow
from drake.errors import DrakeError

IGNORED = -100
"""The label of tokens that carry no loss."""


class Batch(NamedTuple):
    """Records as one padded batch of B rows and T tokens.

    records: the records, in the order of the rows.
    input_ids: [B, T], image tokens expanded to the number of feature tokens.
    inputs: for `model(**inputs)`: `inputs_embeds` [B, T, d], `attention_mask` and `position_ids` [B, T], and whatever
    else the architecture needs (`drake.models.layouts`).
    labels: [B, T], -100 except for the tokens of the answer and its end of turn; None for generation.
    """

    records: tuple[DatasetRow, ...]
    input_ids: Tensor
    inputs: dict[str, Any]
    labels: Tensor | None

    @property
    def unmasked(self) -> dict[str, Any]:
        """`inputs` of a batch with answers without the mask and the positions that count tokens: such a batch is padded
        on the right, where no real token attends to what follows it, and the model counts from 0 itself."""
        plain = {"attention_mask"} | ({"position_ids"} if self.inputs["position_ids"].ndim == 2 else set())
        return {name: value for name, value in self.inputs.items() if name not in plain}


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


def check_image_tokens(ids: Sequence[int], image_token: int, lengths: Sequence[int], record: DatasetRow) -> None:
    """Raise DrakeError, which names the record, where there are more or fewer image tokens in a prompt's ids than rows
    of features. lengths: rows of each picture."""
    if ids.count(image_token) != sum(lengths):
        raise DrakeError(
            f"record {record['id']!r} has {len(lengths)} pictures of {sum(lengths)} features but its prompt "
            f"{ids.count(image_token)} image tokens; the numbers must be equal."
        )


def answer_logits(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits [n, V] and targets [n] of the batch's n answer tokens, rows in order.

    `model` is a backbone's, with or without adapters. lm_head runs on these positions only: the
    cross-entropy of the two is the usual loss at a fraction of the memory.
    """
    if batch.labels is None:
        raise ValueError("a batch without answers has no targets")
    read = cast("Any", model)
    targets = batch.labels[:, 1:]
    wanted = targets != IGNORED
    hidden = read.model(**batch.unmasked, use_cache=False).last_hidden_state[:, :-1]
    return read.lm_head(hidden[wanted]), targets[wanted]
