"""The search for records in what a client sends: its token ids, embeddings and picture features as rows of the tensors
sent, in whatever format that is. Only verbatim copies are found, not encoded ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from drake.engines.worker import Records
from drake.models.backbones import Backbone


def leak(tensors: Mapping[str, Tensor], backbone: Backbone, records: Sequence[Records]) -> str | None:
    """A sentence when one of the tensors holds one of the records of these micro-batches, None otherwise."""
    batches = [backbone.batch(some, answers=True) for some in records]
    rows = {
        "token ids": [row[row != backbone.pad_id].float() for b in batches for row in b.input_ids],
        "embeddings": [row for b in batches for row in b.inputs["inputs_embeds"].flatten(0, 1).float()],
    }
    formats = {tensor.dtype for tensor in tensors.values()}
    sought = {
        (what, kind): _distinct([row.to(kind).float() for row in found])
        for what, found in rows.items()
        for kind in formats
    }
    for name, tensor in tensors.items():
        flat = tensor.detach().float().flatten()
        for what in rows:
            if any(_holds(flat, row) for row in sought[what, tensor.dtype]):
                return f"{name} of an upload holds {what} of a client's records as they are."
    return None


def _distinct(rows: Sequence[Tensor]) -> list[Tensor]:
    """Rows that are long enough to be told from chance, each once."""
    return list({row.numpy().tobytes(): row for row in rows if len(row) > 8 and row.unique().numel() > 4}.values())


def _holds(flat: Tensor, row: Tensor) -> bool:
    """Whether `row` stands in `flat` in one piece."""
    starts = (flat[: max(0, len(flat) - len(row) + 1)] == row[0]).nonzero().flatten().tolist()
    return any(bool((flat[start : start + len(row)] == row).all()) for start in starts)
