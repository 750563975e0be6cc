"""What a model predicts on public records, in the form in which FedMKT sends it.

losses [n]               the CE of every answer, averaged over its tokens
logits [n, tokens, k]    the k largest of each of the answer's first tokens
ids    [n, tokens, k]    whose they are, int32; -1 where there is nothing: behind a short answer, at a token about
                         which nothing is predicted, in place of a logit of minus infinity
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from drake.federation.method import State
from drake.models.backbones import IGNORED, Batch

from .distillation import answer_lengths
from .translation import Target


def sent_about(batches: Sequence[Batch], logits: Sequence[Tensor], tokens: int, largest: int) -> State:
    """Of the records of the batches; logits: for every batch [answer tokens, V]."""
    losses, scores = [], []
    for batch, predicted in zip(batches, logits, strict=True):
        lengths = answer_lengths(batch)
        each = F.cross_entropy(predicted, batch.labels[batch.labels != IGNORED], reduction="none")
        losses += [part.mean() for part in each.split(lengths)]
        scores += [Target(torch.arange(len(part), device=part.device), part) for part in predicted.split(lengths)]
    return {"losses": torch.stack(losses)} | packed(scores, tokens, largest)


def packed(scores: Sequence[Target], tokens: int, largest: int) -> State:
    """`logits` and `ids` of one Target for each record, which may hold any scores in place of probabilities; k is
    `largest`, or the vocabulary where that is smaller."""
    k = min(largest, scores[0].probabilities.shape[1])
    logits = scores[0].probabilities.new_zeros(len(scores), tokens, k)
    ids = torch.full(logits.shape, -1, dtype=torch.int32, device=logits.device)
    for number, (rows, values) in enumerate(scores):
        first = rows < tokens
        best, whose = values[first].topk(k)
        known = best.isfinite()
        logits[number, rows[first]] = best.where(known, torch.zeros_like(best))
        ids[number, rows[first]] = whose.where(known, torch.full_like(whose, -1)).int()
    return {"logits": logits, "ids": ids}


def unpacked(message: Mapping[str, Tensor], number: int, width: int) -> Target:
    """What is predicted on record `number`: the softmax of the logits that are there, in a vocabulary of `width`."""
    ids, logits = message["ids"][number], message["logits"][number]
    rows = (ids >= 0).any(-1).nonzero().squeeze(1)
    known = ids[rows] >= 0
    shares = logits[rows].masked_fill(~known, -torch.inf).softmax(-1)
    probabilities = shares.new_zeros(len(rows), width)
    return Target(rows, probabilities.scatter_add_(1, ids[rows].clamp(min=0).long(), shares))
