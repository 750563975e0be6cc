"""`drake export`: writes a client's model so that PEFT or transformers load it without DRAKE.

After `Method.for_inference` every adapted layer is y = W x + up (down x + shift) (`AdaptedLinear.factors`). Written as

    LoRA of rank R        lora_A = down, lora_B = up, scale 1; the shift as lora_B's bias, up @ shift
    a whole checkpoint    W + up @ down; the shift as the layer's bias, up @ shift

Llama's layers take biases by their config. Qwen2's o_proj and MLP take none, but a Qwen2 whose layers all attend to
everything is a Llama with biases, operation by operation (transformers 5, modeling_qwen2.py against
modeling_llama.py), and is written as one.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from peft import LoraConfig
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, LlamaConfig, PretrainedConfig

from drake import catalog
from drake.common.files import writing
from drake.config import Training
from drake.engines.tasks import moved
from drake.errors import DrakeError
from drake.federation import adapters, registry
from drake.federation.adapters import AdaptedLinear
from drake.federation.checkpoint import Checkpoints
from drake.federation.messages import split_moments
from drake.federation.method import Architecture, Client, ClientRound, Federation, Method
from drake.models import backbones, checkpoint_files, checkpoints
from drake.models.backbones import Backbone
from drake.runs.device import DTYPES
from drake.runs.folder import checkpoint_folder
from drake.runs.stored import StoredRun, read_stored
from drake.tools import model_card, stock_checkpoint


class LayerFactors(NamedTuple):
    """What a layer's adapters add to it: down [R, d_in], up [d_out, R], bias = up @ shift [d_out] or None; float32."""

    down: Tensor
    up: Tensor
    bias: Tensor | None


def export(
    run: Path,
    client: int,
    out: Path,
    seed: int | None = None,
    merge: bool = False,
    method: str | None = None,
    dataset_id: str | None = None,
) -> str:
    """Write the model with which `client` answers after the last finished round to the new folder `out`, with a card;
    returns where the backbone under it is found. seed: None for the run's first. dataset_id: the run's dataset on the
    Hub, under which the model's scores are to be filed.

    merge: a checkpoint of the backbone's kind, else a PEFT adapter. method: the run's, where it is a "module:Class":
    code is not imported because a folder names it. Raises DrakeError for a folder that holds no run, a client or seed
    that is not in it, a state that is not there, and a method whose model is not of this form.
    """
    config = read_stored(run)
    registry.named_by_folder(run, config.method, method)
    seeds = config.seeds
    seed = seeds[0] if seed is None else seed
    if seed not in seeds:
        raise DrakeError(f"{run} has no seed {seed}; it has {', '.join(map(str, seeds))}.")
    count = len(config.assignment)
    if not 0 <= client < count:
        raise DrakeError(f"{run} has no client {client}; its clients are 0 to {count - 1}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DrakeError(f"{out} is there already; choose another --out.")
    backbone = restore(run, config, client, seed)
    factors = _factors(backbone.model)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as outer:
            inner = Path(outer) / out.name
            inner.mkdir()  # with the usual permissions
            if merge:
                _write_checkpoint(backbone, factors, inner)
            else:
                _write_adapter(backbone, factors, inner)
            for file in inner.glob("*.safetensors"):  # written for their owner alone; these are to be shared
                shutil.copymode(next(inner.glob("*config.json")), file)
            card = model_card.Exported(run, config, client, seed, merge)
            model_card.write(card, inner, dataset_id)
            inner.rename(out)
    return _base(backbone.name)


def export_all(
    run: Path,
    out: Path,
    seed: int | None = None,
    merge: bool = False,
    method: str | None = None,
    dataset_id: str | None = None,
) -> list[str]:
    """`export` every client of the run, to `out`/client-0 and so on, as `drake eval --adapters` reads them; returns
    where their backbones are found."""
    clients = len(read_stored(run).assignment)
    return [export(run, i, out / f"client-{i}", seed, merge, method, dataset_id) for i in range(clients)]


def restore(run: Path, config: StoredRun, client: int, seed: int) -> Backbone:
    """The backbone of `client` with the method's adapters on it, answering as the client. config: the run's; its method
    is imported."""
    kept = Checkpoints(checkpoint_folder(run, seed)).of_client(client)
    if kept is None:
        raise DrakeError(
            f"{run} keeps no state of client {client} with seed {seed}: no round is over in which it trained, or "
            "its checkpoints were deleted."
        )
    name = config.assignment[client]
    revision = config.revisions[name]
    backbone = backbones.load(name, dtype=DTYPES[config.dtype], revision=revision, **config.of_backbones)
    if backbone.revision != revision:
        raise DrakeError(f"{name} has other files than those the run was made with; restore them.")
    training = config.numbers.training
    method: Method = registry.find(config.method)(training, config.options)
    federation = _federation(config, seed, training, backbone)
    method.join(federation)
    model = method.attach(backbone, federation.clients[client])
    if model is not backbone.model:
        raise _not_of_this_form(config.method, "it answers with more than its backbone")
    own, _ = split_moments(kept[0])
    state, download = moved(own, backbone.device), moved(kept[1], backbone.device)
    method.for_inference(ClientRound(federation.clients[client], backbone, model, training, 0, state, download))
    for layer in adapters.layers(model).values():
        if not isinstance(layer, AdaptedLinear) or type(layer).forward is not AdaptedLinear.forward:
            raise _not_of_this_form(config.method, f"{type(layer).__name__} is no sum of fixed factors")
        if layer.disable_adapters:
            raise _not_of_this_form(config.method, "it answers with the bare backbone")
    return backbone


def _not_of_this_form(method: str, why: str) -> DrakeError:
    return DrakeError(f"a client's model of {method} cannot be written as LoRA or as a checkpoint: {why}.")


def _federation(config: StoredRun, seed: int, training: Training, backbone: Backbone) -> Federation:
    held = config.assignment

    def architecture(name: str) -> Architecture:
        return Architecture(name, *checkpoints.architecture(name, config.revisions[name]))

    def resident(name: str) -> Backbone:
        if name == backbone.name:
            return backbone
        return backbones.load(name, dtype=backbone.dtype, **config.of_backbones)

    def public(count: int, purpose: str) -> list[Mapping[str, Any]]:
        raise DrakeError(f"the method wants public data ({purpose}) to answer as a client; it cannot be exported.")

    return Federation(
        clients=tuple(Client(number, name, ()) for number, name in enumerate(held)),
        architectures={name: architecture(name) for name in dict.fromkeys(held)},
        seed=seed,
        rounds=max(config.evaluation_rounds),
        training=training,
        backbone=resident,
        public=public,
    )


@torch.no_grad()
def _factors(model: nn.Module) -> dict[str, LayerFactors]:
    """Of every adapted layer, by the layer's full name in the bare model."""
    found = {}
    for name, layer in model.named_modules():
        if isinstance(layer, AdaptedLinear):
            down, up, shift = layer.factors()
            up = up.float().cpu()
            bias = None if shift is None else up @ shift.float().cpu()
            found[name] = LayerFactors(down.float().cpu(), up, bias)
    return found


def _write_adapter(backbone: Backbone, factors: Mapping[str, LayerFactors], folder: Path) -> None:
    """A PEFT folder. A layer without a shift gets a bias of zeros where others have one."""
    ranks = {name: len(layer.down) for name, layer in factors.items()}
    (usual, _), *_ = Counter(ranks.values()).most_common(1)
    others = {_in_checkpoint(backbone, name): rank for name, rank in ranks.items() if rank != usual}
    biased = any(layer.bias is not None for layer in factors.values())
    tensors = {}
    for name, layer in factors.items():
        place = f"base_model.model.{_in_checkpoint(backbone, name)}"
        tensors[f"{place}.lora_A.weight"] = layer.down.contiguous()
        tensors[f"{place}.lora_B.weight"] = layer.up.contiguous()
        if biased:
            tensors[f"{place}.lora_B.bias"] = layer.up.new_zeros(len(layer.up)) if layer.bias is None else layer.bias
    LoraConfig(
        r=usual,
        lora_alpha=usual,  # the scale is in lora_B
        rank_pattern=others,
        alpha_pattern=others,
        lora_bias=biased,
        target_modules=adapters.TARGETS if backbone.reads_pictures else list(adapters.PROJECTIONS),
        task_type="CAUSAL_LM",
        base_model_name_or_path=_base(backbone.name),
        inference_mode=True,
    ).save_pretrained(str(folder))
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})


def _in_checkpoint(backbone: Backbone, name: str) -> str:
    """What a module or tensor of the backbone is called in its checkpoint: a language model alone has no
    `language_model` in its names."""
    return name if backbone.reads_pictures else name.replace("model.language_model.", "model.", 1)


def _base(name: str) -> str:
    """What PEFT finds the backbone by: a repository of the hub or a folder."""
    known = catalog.models().get(name)
    if known is None:
        return name
    return known.hub_id or str(checkpoints.WEIGHTS_FOLDER / name)


def _write_checkpoint(backbone: Backbone, factors: Mapping[str, LayerFactors], folder: Path) -> None:
    """A checkpoint with its processor and the prompt that the client was asked with, or a language model with its
    tokenizer; sums are made in float32, stored is the backbone's dtype. A LLaVA is written as transformers 4.47 reads
    it, another architecture as transformers 5 does, its processor as it was."""
    config = deepcopy(backbone.model.config)
    if hasattr(config, "quantization_config"):
        raise DrakeError(f"{backbone.name} is quantised, so that nothing can be merged into it; leave --merge out.")
    if any(layer.bias is not None for layer in factors.values()):
        config.text_config = _with_biases(cast("PretrainedConfig", config.text_config), backbone.name)
    whole: Any
    with torch.device("meta"):
        if backbone.reads_pictures:
            whole = AutoModelForImageTextToText.from_config(config)
        else:
            whole = AutoModelForCausalLM.from_config(config.text_config)
    have = {
        _in_checkpoint(backbone, name.replace(".base_layer.", ".")): tensor
        for name, tensor in backbone.model.state_dict().items()
    }
    factors = {_in_checkpoint(backbone, name): layer for name, layer in factors.items()}
    merged = {}
    for name in whole.state_dict():
        place, _, kind = name.rpartition(".")
        layer, own = factors.get(place), have.get(name)
        if layer is None:
            merged[name] = own
            continue
        added = layer.up @ layer.down if kind == "weight" else layer.bias
        terms = [term.float() for term in (own, added) if term is not None]
        merged[name] = sum(terms, torch.zeros(())).expand(whole.get_parameter(name).shape).to(backbone.dtype)
    whole.load_state_dict(merged, assign=True)
    whole.tie_weights()
    whole.generation_config = deepcopy(backbone.model.generation_config)
    whole.generation_config.eos_token_id = backbone.stop_ids  # where drake ends an answer
    whole.config.dtype = backbone.dtype
    if not backbone.reads_pictures:
        whole.save_pretrained(folder)
        if backbone.processor.chat_template:  # the official prompt, in the place of the tokenizer's own
            backbone.tokenizer.chat_template = backbone.processor.chat_template
        backbone.tokenizer.save_pretrained(folder)
        return
    padded = backbone.pad_colour is not None
    if config.model_type == "llava":
        stock_checkpoint.write(whole, backbone.processor, folder, pad_pictures=padded)
        return
    if padded:
        raise DrakeError(
            f"a {config.model_type} checkpoint cannot say that its pictures are padded to a square; leave --merge out."
        )
    whole.save_pretrained(folder)
    original, _ = checkpoints.locate(backbone.name, backbone.revision)
    for file in checkpoint_files.loaded_files(original):
        if file.name not in (checkpoint_files.INDEX, "config.json", "generation_config.json") and (
            file.suffix != ".safetensors"
        ):
            (folder / file.relative_to(original)).parent.mkdir(exist_ok=True)
            shutil.copyfile(file, folder / file.relative_to(original))
    (folder / "chat_template.jinja").write_text(backbone.processor.chat_template)


def _with_biases(text: PretrainedConfig, name: str) -> PretrainedConfig:
    """The config of the same language model with a bias on every linear layer."""
    windows = set(getattr(text, "layer_types", None) or ()) - {"full_attention"}
    if text.model_type not in ("llama", "qwen2") or windows:
        kind = text.model_type + (" with a sliding window" if windows else "")
        raise DrakeError(
            f"{name} is a {kind}, which has no place for the biases that this method's adapters merge into; leave "
            "--merge out."
        )
    values = text.to_dict()
    known = LlamaConfig().to_dict().keys() - {"model_type", "transformers_version"}
    biases = {"attention_bias": True, "mlp_bias": True}
    return LlamaConfig(**cast("dict[str, Any]", {key: value for key, value in values.items() if key in known} | biases))
