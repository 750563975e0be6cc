"""The server's part of FedMosaic: every client gets a global module of its own, weighted by relevance.

    P_i^G = sum_j w_ij P_j, Q_i^G likewise, over ALL j != i, block b of i with block b of j; A, B stay i's own
    A_i^G, B_i^G of conventional layers: over the j with i's architecture, w renormalised over them

Reference: Co-LoRA, ICLR 2026, arXiv 2506.11024, sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from drake.federation.tensor_names import TensorName

from .colora import SHARED_ROLES, co_lora_layers
from .rela import weights_over


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
    layers = {j: co_lora_layers(architectures[j][1], num_blocks) for j in order}
    others = [j for j in order if j != client]
    peers = [j for j in others if architectures[j][0] == architectures[client][0]]

    def weighted_mean(sources: Mapping[int, str], own: Tensor) -> Tensor:
        """Of the tensors so named in the uploads of the sources; the client's own where there are none."""
        if not sources:
            return own.clone()
        weights = weights_over(relevance[order.index(client), [order.index(j) for j in sources]], temperature)
        stacked = torch.stack([uploads[j][name].to(own) for j, name in sources.items()])
        return torch.tensordot(weights.to(own), stacked, dims=1)

    module = {}
    for key, own in uploads[client].items():
        name = TensorName.parse(key)
        if name.layer not in layers[client]:
            module[key] = weighted_mean(dict.fromkeys(peers, key), own)
        elif name.role in SHARED_ROLES:
            block = layers[client].index(name.layer)
            module[key] = weighted_mean({j: str(name._replace(layer=layers[j][block])) for j in others}, own)
        else:
            module[key] = own.clone()
    return module
