"""The frozen A and B of Co-LoRA layers for every architecture of a federation: drawn, aligned and cached.

Those of the anchor are random with orthonormal rows and columns. Those of every other architecture are aligned to the
anchor's (`alignment.align_factors`), or random too where alignment is off. Aligned factors are stored in the cache
folder, under a hash of everything that determines them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from drake.common.files import cache_folder, replacing
from drake.common.seeds import torch_generator
from drake.data.pictures import DECODING, image_bytes
from drake.data.record import DatasetRow
from drake.errors import DrakeError
from drake.federation.checksums import check, checksums, of_text
from drake.federation.method import Federation, State
from drake.models.backbones import Backbone

from .alignment import RIDGE, SHARED_INPUTS, Fit, Side, align_factors
from .colora import co_lora_layers

VERSION = 2
"""Raised whenever the same inputs give other values, so that older cache files are no longer used."""


@dataclass(frozen=True)
class FrozenFactors:
    """tensors: A and B of one architecture's Co-LoRA layers, "<layer>.<projection>.<A|B>". fits: how well each
    projection was aligned, by "<layer>.<projection>"; empty for the anchor and without alignment."""

    tensors: State
    fits: dict[str, Fit]


def anchor_of(federation: Federation) -> str:
    """The name of the anchor: the smallest backbone, which every client can hold, whose gradients measure relevance and
    to which the other backbones are aligned. It is the one with the fewest layers, then the first by name; where a
    federation has several families, the smallest Qwen (the official choice for two families)."""
    families = {a.family for a in federation.architectures.values()}
    known = sorted(federation.architectures.values(), key=lambda a: (a.num_layers, a.name))
    return next((a for a in known if len(families) > 1 and a.family == "qwen"), known[0]).name


def orthonormal(rows: int, columns: int, rng: torch.Generator) -> Tensor:
    """A random matrix [rows, columns] with orthonormal rows (rows <= columns), from the QR of a Gaussian one."""
    if rows > columns:
        raise DrakeError(
            f"rank {rows} exceeds the width {columns} of a layer that carries Co-LoRA; choose a lower --rank."
        )
    q, r = torch.linalg.qr(torch.randn(columns, rows, generator=rng, dtype=torch.float64))
    return (q * r.diagonal().sign()).T.float().contiguous()


def random_factors(backbone: Backbone, layers: Sequence[int], rank: int, seed: int) -> State:
    """Orthonormal A and B of every projection in `layers`; the same for all clients of the backbone, because P of
    different clients can be averaged only where A and B are equal."""
    rng = torch_generator(seed, "co-lora", backbone.revision)
    decoder = backbone.decoder
    factors: State = {}
    for layer in layers:
        for projection in (name for group in SHARED_INPUTS.values() for name in group):
            linear: nn.Linear = decoder.layers[layer].get_submodule(projection)
            factors[f"{layer}.{projection}.A"] = orthonormal(rank, linear.in_features, rng)
            factors[f"{layer}.{projection}.B"] = orthonormal(rank, linear.out_features, rng).T.contiguous()
    return factors


def frozen_factors(
    federation: Federation, name: str, num_blocks: int, records: Sequence[DatasetRow] | None
) -> FrozenFactors:
    """A and B of the backbone `name` in this federation, aligned on public `records`; None: drawn at random.

    Raises DrakeError for a rank above a layer's width, and for an empty list of records.
    """
    rank, seed = federation.training.rank, federation.seed

    def drawn(name: str) -> Side:
        backbone = federation.backbone(name)
        layers = co_lora_layers(backbone.num_layers, num_blocks)
        return Side(backbone, layers, random_factors(backbone, layers, rank, seed))

    other = drawn(name)
    if name == anchor_of(federation) or records is None:
        return FrozenFactors(other.factors, {})
    anchor = drawn(anchor_of(federation))
    path = cache_folder() / f"aligned-{_key(anchor, other, rank, seed, records)}.safetensors"
    kept = _read(path)
    if kept is None:
        kept = FrozenFactors(*align_factors(anchor, other, records))
        _write(path, kept)
    return kept


def _key(anchor: Side, other: Side, rank: int, seed: int, records: Sequence[DatasetRow]) -> str:
    """A hash of everything that determines the bits; also the number of threads, because it changes the order of sums
    on a CPU."""
    digest = hashlib.sha256()
    for record in records:
        digest.update(json.dumps([record["id"], record["prompt"], record["answer"]]).encode())
        for picture in image_bytes(record):
            digest.update(hashlib.sha256(picture).digest())
    sides = [
        [side.backbone.revision, list(side.layers), str(side.backbone.dtype), side.backbone.device.type]
        for side in (anchor, other)
    ]
    on_cpu = other.backbone.device.type == "cpu"
    where = [torch.__version__, torch.get_num_threads() if on_cpu else None]
    digest.update(json.dumps([VERSION, DECODING, sides, rank, seed, RIDGE, where]).encode())
    return digest.hexdigest()[:16]


def _write(path: Path, factors: FrozenFactors) -> None:
    fits = {place: fit._asdict() for place, fit in factors.fits.items()}
    with replacing(path) as temporary:
        about = {"fits": json.dumps(fits), "order": json.dumps(list(factors.tensors))}
        sums = json.dumps(checksums(factors.tensors))
        save_file(factors.tensors, temporary, about | {"sha256": sums, "about": of_text(_joined(about) + sums)})


def _joined(about: Mapping[str, str]) -> str:
    return about["fits"] + about["order"]


def _read(path: Path) -> FrozenFactors | None:
    """The cached factors; None where the file is missing or damaged."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
            if about["about"] != of_text(_joined(about) + about["sha256"]):
                return None
            tensors = {name: file.get_tensor(name) for name in json.loads(about["order"])}
            check(tensors, json.loads(about["sha256"]))
            return FrozenFactors(tensors, {place: Fit(**fit) for place, fit in json.loads(about["fits"]).items()})
    except (SafetensorError, KeyError, TypeError, ValueError, OSError):
        return None
