"""Seconds and memory of FedMosaic's aggregation against the number of clients.

    python benchmarks/mixing.py [--most 1000]

Half of the clients have the small and half the large backbone of benchmarks/federation.py; tensors and relevance are
random. Printed are the seconds of one processor and the peak memory of the process, the clients' uploads included.
"""

from __future__ import annotations

import argparse
import resource
import time

import torch
from drake_methods.aggregation import customise_all
from drake_methods.colora import co_lora_layers
from federation import SHAPES

from drake.common.threads import use_threads

RANK, BLOCKS, TEMPERATURE = 8, 4, 0.5


def upload(layers: int, width: int, feed_forward: int) -> dict[str, torch.Tensor]:
    """What a client with this backbone sends: P and Q of the last layer of each block, A and B of the others."""
    found = {}
    key_value = width // 2
    shapes = {
        "self_attn.q_proj": (width, width), "self_attn.k_proj": (width, key_value),
        "self_attn.v_proj": (width, key_value), "self_attn.o_proj": (width, width),
        "mlp.gate_proj": (width, feed_forward), "mlp.up_proj": (width, feed_forward),
        "mlp.down_proj": (feed_forward, width),
    }  # fmt: skip
    co_lora = co_lora_layers(layers, BLOCKS)
    for layer in range(layers):
        for name, (inputs, outputs) in shapes.items():
            place = f"{layer}.{name}"
            if layer in co_lora:
                found |= {f"{place}.P": torch.randn(RANK, RANK), f"{place}.Q": torch.randn(RANK)}
            else:
                found |= {f"{place}.A": torch.randn(RANK, inputs), f"{place}.B": torch.randn(outputs, RANK)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=1000)
    asked = parser.parse_args()
    use_threads(1)
    torch.manual_seed(0)
    print("| clients | uploads (MB) | seconds | peak memory (MB) |")
    print("|---:|---:|---:|---:|")
    for clients in (10, 100, 250, 500, 1000):
        if clients > asked.most:
            break
        shapes = [list(SHAPES.items())[i % 2] for i in range(clients)]
        uploads = {i: upload(*shape) for i, (_, shape) in enumerate(shapes)}
        architectures = {i: (name, shape[0]) for i, (name, shape) in enumerate(shapes)}
        size = sum(tensor.nbytes for held in uploads.values() for tensor in held.values()) / 1e6
        relevance = torch.rand(clients, clients)
        began = time.process_time()
        customise_all(uploads, architectures, relevance, TEMPERATURE, BLOCKS)
        spent = time.process_time() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        print(f"| {clients} | {size:.0f} | {spent:.2f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
