"""Translation of next-token predictions from the tokens of one backbone to those of another.

    positions   an answer token of the source corresponds to the answer token of the target that begins and ends at the
                same visible characters of the answer, because a prediction depends on where the token begins; the end
                of the turn corresponds to the end of the turn; a token without a counterpart is left out
    vocabulary  a token is mapped to the token with the same bytes, a leading space included, or else to the token with
                the longest prefix of them; special tokens are mapped by role (end of turn, end and beginning of text,
                padding, image); the probability of a token that is mapped to nothing is dropped, and the rest is
                normalised to sum to 1
    p(v)        = sum of p(u) over the tokens u that are mapped to v

Nothing is translated between backbones with the same vocabulary that write an answer with the same ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor

from drake.data.record import DatasetRow
from drake.models.backbones import Backbone
from drake.models.prompts import common_groups


class Target(NamedTuple):
    """Predictions at m of the answer tokens of a record or of a batch: their rows [m] and probabilities [m, V]."""

    rows: Tensor
    probabilities: Tensor


class Translation:
    """From the tokens of `source` to those of `target`. source_width, width: their vocabulary sizes."""

    def __init__(self, source: Backbone, target: Backbone) -> None:
        self.source, self.target = source, target
        self.source_width, self.width = vocabulary_size(source), vocabulary_size(target)
        same = source.tokenizer.get_vocab() == target.tokenizer.get_vocab() and self.source_width == self.width
        self._pairs = None if same else _pairs(source, target).to(target.device)
        self._places: dict[tuple[str, str, str], list[tuple[int, int]]] = {}

    def __call__(self, predicted: Target, record: DatasetRow) -> Target:
        """The prediction on one record's answer at the target's tokens [m' <= m], over the target's vocabulary."""
        partner = dict(self.places(record))
        kept = [(row, partner[place]) for row, place in enumerate(predicted.rows.tolist()) if place in partner]
        chosen = torch.tensor([row for row, _ in kept], dtype=torch.long, device=predicted.rows.device)
        rows = torch.tensor([place for _, place in kept], dtype=torch.long, device=self.target.device)
        return Target(rows, self.carried(predicted.probabilities[chosen]).to(self.target.device))

    def carried(self, probabilities: Tensor) -> Tensor:
        """[n, V of the source] -> [n, V of the target]."""
        if self._pairs is None:
            return probabilities
        mine, theirs = self._pairs.to(probabilities.device)
        sums = probabilities.new_zeros(len(probabilities), self.width)
        sums.index_add_(1, theirs, probabilities[:, mine])
        return sums / sums.sum(-1, keepdim=True).clamp_min(torch.finfo(sums.dtype).tiny)

    def places(self, record: DatasetRow) -> list[tuple[int, int]]:
        """(position in the source's answer, position in the target's) of the answer tokens that correspond."""
        key = (record["id"], record["prompt"], record["answer"])
        if key not in self._places:
            self._places[key] = self._found(record)
        return self._places[key]

    def exact(self, records: Iterable[DatasetRow]) -> bool:
        """Whether nothing needs translating: one vocabulary, and every answer written with the same ids."""
        if self._pairs is not None:
            return False
        return self.source is self.target or all(
            self.source.chat.answer_ids(record) == self.target.chat.answer_ids(record) for record in records
        )

    def _found(self, record: DatasetRow) -> list[tuple[int, int]]:
        if self.exact([record]):
            return [(place, place) for place in range(len(self.target.chat.answer_ids(record)))]
        lengths = [len(side.chat.answer_ids(record)) for side in (self.source, self.target)]
        read = [
            side.chat.characters_read(record)[-length:]
            for side, length in zip((self.source, self.target), lengths, strict=True)
        ]
        alone = [(ours[0], theirs[0]) for ours, theirs in common_groups(*read) if len(ours) == len(theirs) == 1]
        return [*alone, (lengths[0] - 1, lengths[1] - 1)]


def vocabulary_size(backbone: Backbone) -> int:
    """V, the number of its logits; some tokenizers hold tokens beyond it."""
    return backbone.model.lm_head.weight.shape[0]


def carry_over(source: Mapping[int, bytes], target: Mapping[int, bytes]) -> dict[int, int]:
    """Source id -> target id of the token with the same bytes, or with the longest prefix of them. Ids without either
    are left out; of several target ids with the same bytes the lowest is taken.

    >>> carry_over({0: b" red", 1: b" reddish", 2: b"x"}, {7: b" red", 8: b" r"})
    {0: 7, 1: 7}
    """
    ids = {piece: id_ for id_, piece in sorted(target.items(), reverse=True)}
    found = {}
    for id_, piece in source.items():
        match = next((piece[:end] for end in range(len(piece), 0, -1) if piece[:end] in ids), None)
        if match is not None:
            found[id_] = ids[match]
    return found


def pieces(tokenizer: Any) -> dict[int, bytes]:
    """Id -> the bytes of the token; special tokens are left out."""
    added = tokenizer.added_tokens_decoder
    special = {id_ for id_, token in added.items() if token.special} | set(tokenizer.all_special_ids)
    by_bytes = "ByteLevel" in json.dumps(json.loads(tokenizer.backend_tokenizer.to_str())["decoder"])
    found = {}
    for piece, id_ in tokenizer.get_vocab().items():
        if id_ in special:
            continue
        if id_ in added:
            found[id_] = piece.encode()
        elif by_bytes:
            found[id_] = bytes(_byte_of()[character] for character in piece)
        elif piece.startswith("<0x") and len(piece) == 6:
            found[id_] = bytes.fromhex(piece[3:5])
        else:
            found[id_] = piece.replace("▁", " ").encode()
    return dict(sorted(found.items()))


def _pairs(source: Backbone, target: Backbone) -> Tensor:
    """Ids of the source and the target ids that they are mapped to, [2, n]."""
    found = carry_over(pieces(source.tokenizer), pieces(target.tokenizer))
    found |= {a: b for a, b in zip(_roles(source), _roles(target), strict=True) if a is not None and b is not None}
    sizes = (
        vocabulary_size(source),
        vocabulary_size(target),
    )  # an image token may have no logit
    return torch.tensor([pair for pair in sorted(found.items()) if pair[0] < sizes[0] and pair[1] < sizes[1]]).T


def _roles(backbone: Backbone) -> Sequence[int | None]:
    """Ids of the special tokens by role. Where a token has two roles, the later one decides."""
    tokenizer, chat = backbone.tokenizer, backbone.chat
    return (
        tokenizer.pad_token_id,
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        chat.image_token_id,
        chat.end_of_turn,
    )


@cache
def _byte_of() -> dict[str, int]:
    """Character -> byte in byte-level tokenizers: printable bytes are written as themselves, the others in order."""
    alphabet = set(ByteLevel.alphabet())
    own = {character: ord(character) for character in alphabet if ord(character) < 256}
    left = sorted(set(range(256)) - set(own.values()))
    return own | dict(zip(sorted(alphabet - own.keys()), left, strict=True))
