"""Corresponding tokens of two backbones, so that their activations can be compared row by row.

Backbones that write a batch with the same ids (same tokenizer, same number of tokens per image) are compared token by
token, images and chat template included. Others are compared by spans of the record's text that both tokenizers
delimit, averaging the tokens of a span.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from drake.data.record import DatasetRow
from drake.models.backbones import Backbone, Batch
from drake.models.prompts import common_groups

BATCH = 8
"""Records of a forward pass; with the longest prompt it bounds the memory for activations."""


@dataclass(frozen=True)
class Pooling:
    """Averages tokens into rows: the token `index[k]` of the flattened batch is one of those averaged in row
    `group[k]`. rows: how many there are."""

    index: Tensor
    group: Tensor
    rows: int

    def __call__(self, activations: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        """[B, T, d] -> [rows, d]."""
        chosen = activations.flatten(0, 1)[self.index].to(dtype)
        sums = chosen.new_zeros(self.rows, chosen.shape[1]).index_add_(0, self.group, chosen)
        counts = chosen.new_zeros(self.rows).index_add_(0, self.group, chosen.new_ones(len(chosen)))
        return sums / counts[:, None]


@dataclass(frozen=True)
class Pair:
    """The same records for two backbones: the batch of each, and the pooling of its tokens."""

    batches: tuple[Batch, Batch]
    poolings: tuple[Pooling, Pooling]


def pairs(first: Backbone, second: Backbone, records: Sequence[DatasetRow]) -> Iterator[Pair]:
    """The records in batches of `BATCH`, longest first; both poolings of a pair have the same rows."""
    order = sorted(range(len(records)), key=lambda k: (-first.prompt_length(records[k]), k))
    for start in range(0, len(order), BATCH):
        some = [records[k] for k in order[start : start + BATCH]]
        batches = first.batch(some, answers=True), second.batch(some, answers=True)
        if torch.equal(batches[0].input_ids.cpu(), batches[1].input_ids.cpu()):
            poolings = _every_token(batches[0]), _every_token(batches[1])
        else:
            poolings = _by_spans(batches, first, second)
        if poolings[0].rows:
            yield Pair(batches, poolings)


def _every_token(batch: Batch) -> Pooling:
    index = batch.inputs["attention_mask"].flatten().nonzero().squeeze(1)
    return Pooling(index, torch.arange(len(index), device=index.device), len(index))


def _by_spans(batches: tuple[Batch, Batch], first: Backbone, second: Backbone) -> tuple[Pooling, Pooling]:
    index: tuple[list[int], list[int]] = ([], [])
    group: tuple[list[int], list[int]] = ([], [])
    rows = 0
    for number, record in enumerate(batches[0].records):
        for places in common_groups(first.characters_read(record), second.characters_read(record)):
            for side in (0, 1):
                index[side].extend(number * batches[side].input_ids.shape[1] + place for place in places[side])
                group[side].extend([rows] * len(places[side]))
            rows += 1

    def pooling(side: int) -> Pooling:
        device = batches[side].input_ids.device
        return Pooling(torch.tensor(index[side], device=device), torch.tensor(group[side], device=device), rows)

    return pooling(0), pooling(1)
