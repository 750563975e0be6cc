"""Folders with a LoRA adapter as PEFT saves it, read without PEFT, pickles or code. Such a folder may come from
anybody: files are bounded, every setting and every tensor is known or refused, patterns are compared as plain names.

What counts is the function. On each linear layer that it adapts, PEFT computes (peft 0.21, tuners/lora/layer.py)

    y = W x + s (B (A x) + b),    s = alpha / r, or alpha / sqrt(r) with use_rslora

so an adapter is read as the factors down = A, up = s B and bias = s b. Settings that decide how an adapter is
initialised or trained, and no more, are passed over; those that make another function of it are refused.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from drake.common.files import read_json_object
from drake.common.outside import check_regular
from drake.errors import DrakeError

CONFIG, WEIGHTS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
MOST_RANK = 4096
"""Of an adapter that is read; the paper's is 128."""

_OF_TRAINING = {
    "auto_mapping", "bias", "ensure_weight_tying", "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode",
    "layers_pattern", "layers_to_transform", "lora_bias", "lora_dropout", "megatron_config", "megatron_core",
    "peft_version", "qalora_group_size", "rank_pattern", "runtime_config", "target_modules", "task_type",
}  # fmt: skip
"""Settings that say nothing beyond what the tensors show, or matter in training alone."""
_READ = {
    "alpha_pattern", "base_model_name_or_path", "init_lora_weights", "lora_alpha", "peft_type", "r", "revision",
    "use_rslora",
}  # fmt: skip
_SAME_BACKBONE = (True, False, None, "gaussian", "orthogonal", "eva")
"""Values of init_lora_weights that leave the backbone's weights as they are (PiSSA, OLoRA and others do not)."""
_WORDS = {"use_dora": "DoRA", "modules_to_save": "whole modules that were trained (modules_to_save)"}
"""What sentences call settings that are refused; others go by their own name."""

_FACTOR = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_(A|B)(?:\.default)?\.(weight|bias)")
_PLACE = re.compile(r"(?:(?:model|language_model|text_model)\.)*layers\.(\d+)\.([\w.]+)")
_NAME = re.compile(r"\^?[\w.]+")


class LinearShape(NamedTuple):
    """Width of what goes into a linear layer and of what comes out."""

    d_in: int
    d_out: int


class Factors(NamedTuple):
    """What an adapter adds to a linear layer: up (down x) + bias. down [r, d_in], up [d_out, r] with the scale in it,
    bias [d_out] or None; float32."""

    down: Tensor
    up: Tensor
    bias: Tensor | None


@dataclass(frozen=True)
class Layer:
    """One adapted layer: the names of its tensors in the file, its rank, and the scale s."""

    names: Mapping[str, str]
    rank: int
    scale: float


@dataclass(frozen=True)
class PeftFolder:
    """A folder whose settings are known to be readable. Tensors are read when they are asked for."""

    path: Path
    config: Mapping[str, Any]

    @property
    def base(self) -> str | None:
        """The backbone that the adapter names, if it names one."""
        return self.config.get("base_model_name_or_path") or None

    @cached_property
    def digest(self) -> str:
        """SHA-256 over both files."""
        found = hashlib.sha256()
        for name in (CONFIG, WEIGHTS):
            check_regular(self.path / name, links=True)
            with (self.path / name).open("rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest())
        return found.hexdigest()

    @cached_property
    def layers(self) -> dict[str, Layer]:
        """The adapted layers by place ("3.self_attn.q_proj"), from the names and shapes of the tensors alone.
        DrakeError for a tensor that is no factor of a LoRA on the text model."""
        names: dict[str, dict[str, str]] = {}
        modules: dict[str, str] = {}
        for name in self._shapes:
            factor = _FACTOR.fullmatch(name)
            role = None if factor is None else factor[2] + ("" if factor[3] == "weight" else "_bias")
            if factor is None or role == "A_bias":
                raise DrakeError(
                    f"{self._file} holds {name!r}, which is no factor of a LoRA on a linear layer; remove it."
                )
            place = _PLACE.fullmatch(factor[1])
            if place is None:
                raise DrakeError(
                    f"{self._file} adapts {factor[1]!r}, which is no linear layer of the text model; DRAKE scores "
                    "adapters on those alone."
                )
            where = f"{int(place[1])}.{place[2]}"
            if modules.setdefault(where, factor[1]) != factor[1] or str(role) in names.get(where, {}):
                raise DrakeError(f"{self._file} holds two adapters of the layer {where}; keep one.")
            names.setdefault(where, {})[str(role)] = name
        if not names:
            raise DrakeError(f"{self._file} holds no tensor; save the adapter again.")
        return {where: self._layer(where, modules[where], found) for where, found in names.items()}

    @property
    def has_bias(self) -> bool:
        """Whether a layer adds something that does not depend on its input."""
        return any("B_bias" in layer.names for layer in self.layers.values())

    @property
    def rank(self) -> int:
        """The largest rank of a layer."""
        return max(layer.rank for layer in self.layers.values())

    def check_fits(self, shapes: Mapping[str, LinearShape], backbone: str) -> None:
        """DrakeError for a layer that the backbone lacks or has in another shape. shapes: its linear layers, by
        place."""
        for where, layer in self.layers.items():
            if where not in shapes:
                raise DrakeError(f"{self._file} adapts the layer {where}, which {backbone} has not; name its backbone.")
            d_in, d_out = shapes[where]
            due = {"A": [layer.rank, d_in], "B": [d_out, layer.rank], "B_bias": [d_out]}
            for role, name in layer.names.items():
                if self._shapes[name] != due[role]:
                    raise DrakeError(
                        f"{self._file} has {name} in the shape {self._shapes[name]}, {backbone} needs {due[role]}; "
                        "the adapter belongs to another backbone."
                    )

    def factors(self) -> dict[str, Factors]:
        """Of every adapted layer, by place. DrakeError for NaN and infinite values."""
        found = {}
        with _opened(self._file) as file:
            for where, layer in self.layers.items():
                values = {role: file.get_tensor(name).float() for role, name in layer.names.items()}
                for role, tensor in values.items():
                    if not torch.isfinite(tensor).all():
                        raise DrakeError(f"{self._file} holds NaN or infinity in {layer.names[role]}; train it again.")
                bias = values.get("B_bias")
                scaled = None if bias is None else bias * layer.scale
                found[where] = Factors(values["A"], values["B"] * layer.scale, scaled)
        return found

    @property
    def _file(self) -> Path:
        return self.path / WEIGHTS

    @cached_property
    def _shapes(self) -> dict[str, list[int]]:
        """Shape of every tensor in the file; DrakeError for those that hold no floating point numbers."""
        found = {}
        with _opened(self._file) as file:
            for name in file.keys():  # noqa: SIM118  (the file is no mapping)
                part = file.get_slice(name)
                if part.get_dtype() not in ("F32", "F16", "BF16", "F64"):
                    raise DrakeError(f"{self._file} holds {name} as {part.get_dtype()}; save it as float32.")
                found[name] = list(part.get_shape())
        return found

    def _layer(self, where: str, module: str, names: Mapping[str, str]) -> Layer:
        if lacking := {"A", "B"} - names.keys():
            raise DrakeError(f"{self._file} lacks the factor {min(lacking)} of the layer {where}; save it again.")
        for role, name in names.items():
            if len(self._shapes[name]) != (1 if role == "B_bias" else 2):
                raise DrakeError(f"{self._file} has {name} in {len(self._shapes[name])} dimensions; save it again.")
        rank, patterns = self._shapes[names["A"]][0], self.config.get("rank_pattern") or {}
        if rank != self.config["r"] and rank not in patterns.values():
            raise DrakeError(
                f"{self._file} has rank {rank} in the layer {where}, which {CONFIG} does not name; save it again."
            )
        if not 0 < rank <= MOST_RANK:
            raise DrakeError(f"{self._file} has rank {rank} in the layer {where}; DRAKE reads up to {MOST_RANK}.")
        alpha = float(self.config["lora_alpha"])
        for pattern, value in (self.config.get("alpha_pattern") or {}).items():
            if _matches(pattern, module):
                alpha = float(value)
                break
        return Layer(names, rank, alpha / (math.sqrt(rank) if self.config.get("use_rslora") else rank))


def read_folder(path: Path) -> PeftFolder:
    """The adapter in a folder; DrakeError where there is none, where it is a pickle, and for settings under which PEFT
    computes another function than a sum of the backbone and low-rank products."""
    if not (path / WEIGHTS).is_file():
        if (path / PICKLE).exists():
            raise DrakeError(
                f"{path} holds {PICKLE}, a pickle, which can run code when it is read; save the adapter as "
                f"{WEIGHTS} (PEFT: save_pretrained(..., safe_serialization=True))."
            )
        raise DrakeError(f"{path} holds no {WEIGHTS}; name folders that PEFT's save_pretrained wrote.")
    config = read_json_object(path / CONFIG)
    _check(config, path / CONFIG)
    return PeftFolder(path, config)


def _check(config: Mapping[str, Any], file: Path) -> None:
    """DrakeError for what `PeftFolder` cannot read."""
    kind = config.get("peft_type")
    if kind != "LORA":
        raise DrakeError(f"{file} describes a {_short(kind)} adapter; DRAKE scores LoRA adapters.")
    for name, value in config.items():
        if name not in _OF_TRAINING | _READ and value not in (None, False, {}, []):
            raise DrakeError(
                f"{file} uses {_WORDS.get(name, _short(name))}, so the model is no sum of the backbone and low-rank "
                "products; merge it into such an adapter, or train it without."
            )
    if config.get("init_lora_weights", True) not in _SAME_BACKBONE:
        raise DrakeError(
            f"{file} has init_lora_weights = {_short(config['init_lora_weights'])}, which changes the backbone's own "
            "weights; save the adapter with PEFT's path_initial_model_for_weight_conversion."
        )
    if not _is_number(config.get("lora_alpha")) or type(config.get("r")) is not int:
        raise DrakeError(f"{file} needs whole r and a number lora_alpha; save the adapter again.")
    if type(config.get("use_rslora", False)) is not bool:
        raise DrakeError(f"{file} has a use_rslora that is neither true nor false; save the adapter again.")
    for name in ("base_model_name_or_path", "revision"):
        if not isinstance(config.get(name), str | None):
            raise DrakeError(f"{file} has a {name} that is no text; save the adapter again.")
    for name in ("alpha_pattern", "rank_pattern"):
        pattern = config.get(name) or {}
        if not isinstance(pattern, dict) or not all(map(_is_number, pattern.values())):
            raise DrakeError(f"{file} has a {name} that is no table of numbers; save the adapter again.")
    for pattern in config.get("alpha_pattern") or {}:
        if not _NAME.fullmatch(pattern):
            raise DrakeError(
                f"{file} has the regular expression {_short(pattern)} in alpha_pattern; name the modules instead."
            )


def _matches(pattern: str, module: str) -> bool:
    """Whether a plain name in alpha_pattern is that of the module, as PEFT compares them: the whole name where it
    begins with ^, else the end of it."""
    name = pattern.removeprefix("^")
    return module == name or (name == pattern and module.endswith(f".{name}"))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _short(value: object) -> str:
    """A value of a foreign file as a sentence shows it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _opened(file: Path) -> Any:
    """The safetensors file, whose header is checked; nothing in it is executed."""
    check_regular(file, links=True)
    try:
        return safe_open(file, framework="pt")
    except (OSError, SafetensorError) as error:
        raise DrakeError(f"{file} cannot be read as safetensors ({error}); save the adapter again.") from error
