"""Random generators that depend on (seed, purpose, client, round) and on nothing else.

Every module that draws uses these. No code draws from a global generator, so that a draw depends neither on what ran
before nor on the order of clients or the engine.
"""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(seed: int, purpose: str, *parts: object) -> int:
    """A 63-bit seed for one draw: the first bytes of SHA-256 over the arguments."""
    text = "/".join(map(str, (seed, purpose, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_generator(seed: int, purpose: str, *parts: object) -> torch.Generator:
    """A CPU generator for tensors; draws on the CPU give the same bits whatever device a run uses."""
    import torch  # here, so that modules that draw in plain Python load fast

    return torch.Generator().manual_seed(derive(seed, purpose, *parts))


def python_random(seed: int, purpose: str, *parts: object) -> random.Random:
    """A generator for plain Python draws (shuffles, choices)."""
    return random.Random(derive(seed, purpose, *parts))
