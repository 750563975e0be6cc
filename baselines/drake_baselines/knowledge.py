"""What FedMKT exchanges: predictions on public records, and the loss that learns from them.

losses [n]               the CE of every record's answer, averaged over its tokens
logits [n, tokens, k]    the k largest logits at each of the answer's first tokens
ids    [n, tokens, k]    the token ids of these logits, int32; -1 where there is none: after the end of a short answer,
                         at a token without a prediction, and in place of a logit of minus infinity
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from drake.data.record import DatasetRow
from drake.federation.messages import State
from drake.models.backbones import Batch

from .distillation import Loss, answer_lengths, answer_tokens, divergence, joined
from .translation import Target, Translation


def packed_predictions(batches: Sequence[Batch], logits: Sequence[Tensor], tokens: int, largest: int) -> State:
    """`losses`, `logits` and `ids` of the batches' records. logits: for every batch [answer tokens, V]. tokens,
    largest: how many answer tokens of a record, and how many logits of each token, are kept."""
    losses, scores = [], []
    for batch, predicted in zip(batches, logits, strict=True):
        lengths = answer_lengths(batch)
        each = F.cross_entropy(predicted, answer_tokens(batch), reduction="none")
        losses += [part.mean() for part in each.split(lengths)]
        scores += [Target(torch.arange(len(part), device=part.device), part) for part in predicted.split(lengths)]
    return {"losses": torch.stack(losses)} | packed(scores, tokens, largest)


def packed(scores: Sequence[Target], tokens: int, largest: int) -> State:
    """`logits` and `ids` of one Target per record, which may hold any scores in place of probabilities; k is `largest`,
    or the size of the vocabulary where that is smaller."""
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
    """The prediction on record `number`: the softmax over the logits that were sent, in a vocabulary of size
    `width`."""
    ids, logits = message["ids"][number], message["logits"][number]
    rows = (ids >= 0).any(-1).nonzero().squeeze(1)
    known = ids[rows] >= 0
    shares = logits[rows].masked_fill(~known, -torch.inf).softmax(-1)
    probabilities = shares.new_zeros(len(rows), width)
    return Target(rows, probabilities.scatter_add_(1, ids[rows].clamp(min=0).long(), shares))


def where_better(message: Mapping[str, Tensor], losses: Tensor, width: int) -> list[Target | None]:
    """The predictions on every record, in a vocabulary of size `width`; None where their loss is not below `losses`."""
    better = (message["losses"] < losses).tolist()
    return [unpacked(message, number, width) if wins else None for number, wins in enumerate(better)]


def translated(
    message: State, translation: Translation, records: Sequence[DatasetRow], tokens: int, largest: int
) -> State:
    """The predictions of the translation's source on these records, in the tokens of its target; the logits become
    logarithms of probabilities. The message itself where both write the records' answers with the same ids."""
    if translation.exact(records):
        return message
    width = translation.source_width
    targets = [translation(unpacked(message, number, width), record) for number, record in enumerate(records)]
    scores = [Target(rows, probabilities.log()) for rows, probabilities in targets]
    return {"losses": message["losses"]} | packed(scores, tokens, largest)


def selective_loss(teachers: Sequence[Target | None], batches: Sequence[Batch], weight: float) -> Loss:
    """(1 - weight) CE + weight KL on records with a teacher, (1 - weight) CE on the others.

    teachers: for every record of the batches what its teacher predicts; None where the teacher is no better.
    """
    lengths = [answer_lengths(batch) for batch in batches]
    rest = iter(teachers)
    targets = [joined(list(islice(rest, len(of_batch))), of_batch) for of_batch in lengths]

    def loss(number: int, logits: Tensor, gold: Tensor) -> Tensor:
        task, target = (1 - weight) * F.cross_entropy(logits.float(), gold), targets[number]
        if target is None:
            return task
        return task + weight * divergence(logits[target.rows], target.probabilities, 1.0)

    return loss
