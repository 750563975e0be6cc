"""Relevance-guided aggregation, the server's part of FedMosaic: a customised global module for every client.

    Co-LoRA layers           P_i^G = sum over all j != i of w_ij P_j, block by block; Q_i^G likewise; A, B stay i's own
    conventional layers      A_i^G = sum of w_ij A_j over the j != i with i's architecture; B_i^G likewise

with w_ij = softmax over those j of S_ij / tau (`rela`). A client without such j keeps its own tensors.

Reference: Co-LoRA, ICLR 2026, arXiv 2506.11024, sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from drake.federation.federation import Federation
from drake.federation.messages import State
from drake.federation.tensor_names import TensorName

from .colora import SHARED_ROLES, co_lora_layers
from .rela import weights_over


def customised(
    modules: Mapping[int, Mapping[str, Tensor]],
    federation: Federation,
    relevance: Tensor,
    temperature: float,
    num_blocks: int,
) -> dict[int, State]:
    """The global module of every client in `modules`, the local modules that the clients sent; see `customise`."""
    order = sorted(modules)
    architectures = {i: (federation.architecture(i).name, federation.architecture(i).num_layers) for i in order}
    return {i: customise(i, modules, architectures, relevance, temperature, num_blocks) for i in order}


def customise(
    client: int,
    uploads: Mapping[int, Mapping[str, Tensor]],
    architectures: Mapping[int, tuple[str, int]],
    relevance: Tensor,
    temperature: float = 0.5,
    num_blocks: int = 4,
) -> State:
    """The global module of `client`, under the names of its own upload.

    uploads: {client: {"<layer>.<projection>.<A|B|P|Q>": Tensor}}; architectures: {client: (name, number of layers)};
    relevance [N, N] with rows and columns in ascending order of the uploads' client numbers.
    """
    order = sorted(uploads)
    layers = {j: co_lora_layers(architectures[j][1], num_blocks) for j in order}
    others = [j for j in order if j != client]
    peers = [j for j in others if architectures[j][0] == architectures[client][0]]

    def weighted_mean(sources: Mapping[int, str], own: Tensor) -> Tensor:
        """The weighted mean of one tensor over clients. sources: client -> the tensor's name in its upload; where
        empty, the mean is the client's `own` tensor."""
        if not sources:
            return own.clone()
        weights = weights_over(relevance[order.index(client), [order.index(j) for j in sources]], temperature)
        stacked = torch.stack([uploads[j][name].to(own) for j, name in sources.items()])
        return torch.tensordot(weights.to(own), stacked, dims=1)

    module: State = {}
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
