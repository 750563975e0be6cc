"""Named LoRA adapters on the language model's linear layers: a thin, explicit hold on PEFT for the methods.

PEFT makes the layers and holds their tensors. This module finds them, moves tensors in and out under the names that
cross the wire (`tensor_names`), sets which adapters are active and which tensors train (PEFT would switch
gradients on for every active adapter), and runs a layer's adapters as one (`AdaptedLinear`).
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn

from drake.config import Training
from drake.federation.messages import State
from drake.federation.tensor_names import role
from drake.models.fixed import Derives

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
TARGETS = rf".*(language_model|text_model).*\.({'|'.join(PROJECTIONS)})"
"""Full names of the linear layers of language models. Vision towers have layers of the same names elsewhere."""
_PLACE = re.compile(r"\.layers\.(\d+)\.(.+)$")


FOLDED_WIDTH = 512
"""Up to this width a CPU folds the adapters into the weight: thin products take longer there than one square one."""


class AdaptedLinear(Derives, LoraLinear):
    """PEFT's LoRA layer with all its active adapters as one pair of factors: y = W x + up (down x + shift).

    The same function as PEFT's, in two thin products whatever the number of adapters, or in one (`_folds`). One dropout
    mask serves all adapters. Subclasses say what the factors are.
    """

    share = 1.0
    """What the output of every active adapter is multiplied by, beside its scale; set by `activate`."""
    folded_width = FOLDED_WIDTH
    """Up to this width of the layer the adapters are folded into its weight; see `FOLDED_WIDTH`, `fold_up_to`."""

    def factors(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """down [R, d_in], up [d_out, R] with the scales in it, shift [R] or None; R is the sum of the ranks."""
        names = self._active_adapter
        down: list[Tensor] = [_weight(self.lora_A[name]) for name in names]
        up = [_weight(self.lora_B[name]) * (self.scaling[name] * self.share) for name in names]
        if len(names) == 1:  # as for most methods: nothing to put together
            return down[0], up[0], None
        return torch.cat(down), torch.cat(up, dim=1), None

    def forward(self, x: Tensor) -> Tensor:
        base = self.base_layer
        if self._disable_adapters:
            return base(x)
        dropout = self.lora_dropout[self._active_adapter[0]]
        if self._folds(x, dropout):
            return F.linear(x, *self.once(("folded", *self._active), self._folded))
        down, up, shift = self.once((x.dtype, *self._active), self._factors_in, x.dtype)
        return base(x) + F.linear(F.linear(dropout(x), down, shift), up)

    @property
    def _active(self) -> tuple[object, ...]:
        """What `factors` depends on beside parameters."""
        return (*self._active_adapter, self.share)

    def _factors_in(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor | None]:
        down, up, shift = self.factors()
        return down.to(dtype), up.to(dtype), None if shift is None else shift.to(dtype)

    def _folded(self) -> tuple[Tensor, Tensor | None]:
        """The weight and bias of one linear layer that does the same."""
        down, up, shift = self.factors()
        bias = cast("Tensor | None", self.base_layer.bias)
        if shift is not None:
            bias = up @ shift if bias is None else bias + up @ shift
        return torch.addmm(_weight(self.base_layer), up, down), bias

    def _folds(self, x: Tensor, dropout: nn.Module) -> bool:
        """W + up down in half precision would lose the adapters' small steps, so float32 alone."""
        weight = _weight(self.base_layer)
        return (
            x.device.type == "cpu"
            and max(weight.shape) <= self.folded_width
            and weight.dtype == x.dtype == torch.float32
            and not (self.training and isinstance(dropout, nn.Dropout))
        )


def add(
    model: nn.Module, names: Sequence[str], training: Training, layer: type[AdaptedLinear] = AdaptedLinear
) -> nn.Module:
    """Inject one LoRA adapter per name into every linear layer of the language model, in place, as `layer`s. Adding an
    adapter that is there already does nothing."""
    for name in names:
        if any(name in module.lora_A for module in layers(model).values()):
            continue
        config = LoraConfig(
            r=training.rank,
            lora_alpha=cast("int", training.alpha),  # PEFT divides it by the rank, so a fraction serves as well
            lora_dropout=training.dropout,
            target_modules=TARGETS,
        )
        config._register_custom_module({nn.Linear: layer})
        with warnings.catch_warnings():  # that there are several adapters is the point
            warnings.filterwarnings("ignore", "Already found a `peft_config`")
            inject_adapter_in_model(config, model, name)
        _layers.pop(model, None)
        for parameter in tensors(model, name).values():  # steps of 2e-5 would vanish in bfloat16
            parameter.data = parameter.data.float()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


def layers(model: nn.Module) -> dict[str, LoraLinear]:
    """The adapted layers by place ("3.self_attn.q_proj"), in the order of the model."""
    if model not in _layers:
        found = {}
        for name, module in model.named_modules():
            if isinstance(module, LoraLinear):
                match = _PLACE.search(name)
                assert match is not None  # TARGETS matches layers of the language model alone
                found[f"{match[1]}.{match[2]}"] = module
        _layers[model] = found
    return _layers[model]


_layers: WeakKeyDictionary[nn.Module, dict[str, LoraLinear]] = WeakKeyDictionary()
"""Walking the modules takes longer than writing an adapter; `add` forgets what it changes."""


def _weight(layer: nn.Module) -> nn.Parameter:
    """A linear layer's weight; PyTorch annotates a module's attributes as tensors or modules."""
    return cast("nn.Parameter", layer.weight)


def _named(model: nn.Module, adapter: str) -> Iterator[tuple[str, nn.Parameter]]:
    for place, layer in layers(model).items():
        held = {"A": _weight(layer.lora_A[adapter]), "B": _weight(layer.lora_B[adapter])}
        for added, parameters in getattr(layer, "extra_adapter_parameters", {}).items():
            if adapter in parameters:
                held[added] = parameters[adapter]
        for role_of, parameter in held.items():
            yield f"{place}.{role_of}", parameter


def tensors(model: nn.Module, adapter: str) -> dict[str, nn.Parameter]:
    """The live parameters of one adapter by name ("3.self_attn.q_proj.A" [r, d_in], "....B" [d_out, r])."""
    return dict(_named(model, adapter))


def read(model: nn.Module, adapter: str) -> State:
    """A copy of the adapter's tensors."""
    return {name: parameter.detach().clone() for name, parameter in _named(model, adapter)}


@torch.no_grad()
def write(model: nn.Module, adapter: str, state: Mapping[str, Tensor]) -> None:
    """Copy tensors into the adapter; names missing in `state` keep their value, unknown names raise KeyError."""
    live = tensors(model, adapter)
    for name, tensor in state.items():
        live[name].copy_(tensor)


def activate(model: nn.Module, *adapters: str, share: float = 1.0) -> None:
    """Let exactly these adapters contribute to the output, each times `share` (two at 0.5 are their mean); no adapter
    at all gives the bare backbone. Leaves gradients alone."""
    for layer in layers(model).values():
        layer.share = share  # pyright: ignore[reportArgumentType]  # PyTorch annotates tensors and modules alone
        layer._active_adapter = list(adapters)
        layer._disable_adapters = not adapters


@contextmanager
def bare(model: nn.Module) -> Iterator[None]:
    """Within it the backbone answers alone; afterwards the adapters are as active as they were."""
    kept = ("share", "_active_adapter", "_disable_adapters")
    before = [(layer, {name: getattr(layer, name) for name in kept}) for layer in layers(model).values()]
    activate(model)
    try:
        yield
    finally:
        for layer, values in before:
            for name, value in values.items():
                setattr(layer, name, value)


def fold_up_to(model: nn.Module, width: int) -> None:
    """Fold the adapters into the weights of layers up to this width; 0: never, as on backbones of a real size."""
    for layer in layers(model).values():
        if isinstance(layer, AdaptedLinear):
            layer.folded_width = width


def train_only(model: nn.Module, parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Freeze everything but `parameters`, which are returned as a list."""
    chosen = list(parameters)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parameter in chosen:
        parameter.requires_grad_(True)
    return chosen


def fresh(model: nn.Module, adapter: str, rng: torch.Generator) -> State:
    """New LoRA values in the adapter's shapes: A uniform as PEFT draws it (Kaiming, a = sqrt 5: bound 1/sqrt(d_in)),
    B zero. Drawn on the CPU in float32, in the order of the model."""
    state: State = {}
    for name, parameter in _named(model, adapter):
        values = torch.zeros(parameter.shape)
        if role(name) == "A":
            bound = 1 / math.sqrt(parameter.shape[1])
            values.uniform_(-bound, bound, generator=rng)
        state[name] = values.to(parameter.device, parameter.dtype)
    return state


def prefixed(prefix: str, state: Mapping[str, Tensor]) -> State:
    """The same tensors under "<prefix>.<name>"."""
    return {f"{prefix}.{name}": tensor for name, tensor in state.items()}


def part(prefix: str, state: Mapping[str, Tensor]) -> State:
    """The tensors stored under `prefixed(prefix, ...)`, with the prefix taken off."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in state.items() if name.startswith(start)}


def mean(states: Sequence[Mapping[str, Tensor]]) -> State:
    """The uniform mean of states with equal names and shapes (FedAvg within one architecture)."""
    return {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
