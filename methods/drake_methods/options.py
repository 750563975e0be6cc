"""The hyperparameters of FedMosaic, set with `--set fedmosaic.<option>=<value>`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from drake.errors import DrakeError
from drake.federation.method import Method


@dataclass(frozen=True)
class Options(Method.Options):
    """The ablation switches of FedMosaic and its hyperparameters.

    num_blocks: N_B; with 1, Co-LoRA on the last layer alone; with 0, conventional LoRA on all layers. align: whether A
    and B are aligned across architectures, on `align_records` public records. gate: one trained scalar per layer
    ("scalar"), the constant 1/2 ("fixed"), a function of the layer's input ("input"), or that function with the faults
    of the official code ("official"). aggregation: weights by relevance, or equal weights for all other clients.

    temperature: tau of the aggregation weights. gradient_every: optimizer steps between two gradient probes.
    norm_jacobian: the exact Jacobian of the last norm, or its diagonal as in the official code. kept: fraction of the
    gradient's rows that a client sends. sampling: these rows are drawn once at random for the whole run, or are the
    first ones ("prefix"). noise, sigma: distribution and standard deviation of the noise added to them.
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
