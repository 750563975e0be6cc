"""The server's part of FedMosaic: every client gets a global module of its own, mixed by relevance.

    P_i^G = sum_j w_ij P_j, Q_i^G likewise, over ALL j != i, block b of i with block b of j; A, B stay i's own
    A_i^G, B_i^G of conventional layers: over the j with i's architecture, w renormalised over them

Reference: Co-LoRA, ICLR 2026, arXiv 2506.11024, sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .colora import co_lora_layers


def customise(
    client: int,
    uploads: Mapping[int, Mapping[str, Tensor]],
    architectures: Mapping[int, tuple[str, int]],
    relevance: Tensor,
    temperature: float = 0.5,
    num_blocks: int = 4,
) -> dict[str, Tensor]:
    """The global module of `client`, under the names of its own upload.

    uploads: {client: {"<layer>.<projection>.<A|B|P|Q>": Tensor}}; architectures: {client: (name, number of layers)};
    relevance [N, N] with rows and columns in ascending order of the uploads' client numbers.
    """
    order = sorted(uploads)
    blocks = {j: co_lora_layers(architectures[j][1], num_blocks) for j in order}
    others = [j for j in order if j != client]
    peers = [j for j in others if architectures[j][0] == architectures[client][0]]

    def mixed(sources: dict[int, str], own: Tensor) -> Tensor:
        if not sources:
            return own.clone()
        scores = relevance[order.index(client), [order.index(j) for j in sources]]
        weights = torch.softmax(scores / temperature, dim=0)  # over the sources: no weight is divided by a tiny sum
        stacked = torch.stack([uploads[j][name].to(own) for j, name in sources.items()])
        return torch.tensordot(weights.to(own), stacked, dims=1)

    module = {}
    for name, own in uploads[client].items():
        layer, projection, letter = int(name.split(".", 1)[0]), *name.split(".", 1)[1].rsplit(".", 1)
        if layer not in blocks[client]:
            module[name] = mixed(dict.fromkeys(peers, name), own)
        elif letter in "PQ":
            block = blocks[client].index(layer)
            module[name] = mixed({j: f"{blocks[j][block]}.{projection}.{letter}" for j in others}, own)
        else:
            module[name] = own.clone()
    return module
