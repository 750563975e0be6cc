"""What `--set fedmosaic.<option>=<value>` reaches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from drake.errors import DrakeError


@dataclass(frozen=True)
class Options:
    """The parts of FedMosaic as switches, and its numbers.

    num_blocks: N_B; 1: Co-LoRA on the last layer alone, 0: conventional LoRA everywhere. align: A and B across
    architectures, on align_records public records. gate: one that looks at the input, that as in the official code,
    faults and all, one trained scalar per layer, or one half for ever. aggregation: by relevance, or all others alike.

    temperature: tau of the aggregation weights. gradient_every: optimizer steps between probes. norm_jacobian: exact,
    or its diagonal as in the official code. sampling, kept: which share of the gradient's rows leaves a client, drawn
    once for all or the first ones. noise, sigma: distribution and standard deviation of the noise on them.
    """

    num_blocks: int = 4
    align: bool = True
    align_records: int = 100
    gate: Literal["input", "official", "scalar", "fixed"] = "input"
    aggregation: Literal["relevance", "uniform"] = "relevance"
    temperature: float = 0.5
    gradient_every: int = 10
    norm_jacobian: Literal["exact", "diagonal"] = "exact"
    sampling: Literal["random", "prefix"] = "random"
    kept: float = 0.4
    noise: Literal["gaussian", "laplace"] = "gaussian"
    sigma: float = 1e-4

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and self.gradient_every >= 1 and 0 < self.kept <= 1 and self.sigma >= 0):
            raise DrakeError(
                "fedmosaic needs temperature > 0, gradient_every >= 1, kept in (0, 1] and sigma >= 0, not "
                f"{self.temperature}, {self.gradient_every}, {self.kept} and {self.sigma}."
            )
        if self.align_records < 1:
            raise DrakeError(f"fedmosaic.align_records is {self.align_records}; it must be more than zero.")
