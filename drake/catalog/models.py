"""Backbones by name, and the assignment of backbones to clients. Used through `drake.catalog`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from drake.catalog.tasks import federation, read_toml
from drake.errors import DrakeError, UnknownName


@dataclass(frozen=True)
class TextShape:
    """The shape of a backbone's language model.

    layers: decoder layers. hidden, intermediate: widths of the hidden states and of the MLP. heads, kv_heads: attention
    heads and key-value heads. head_dim: width of a head. vocab: entries of the vocabulary.
    """

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int


@dataclass(frozen=True)
class Model:
    """A backbone of the catalog.

    hub_id: repository on the Hugging Face Hub, None for the embedded ones. embedded: whether it ships with the package.
    family: of its tokenizer and layers. anchor_order: its place when models are assigned to clients, small before large
    (a method that needs an anchor model chooses it from the architectures). shape: None for the embedded ones, which
    have a config.json. prompt: the official prompt (a key of `official_prompts`), and pad_pictures: whether the
    official code pads pictures to a square; the embedded ones have neither.
    """

    name: str
    family: str
    anchor_order: int
    hub_id: str | None = None
    embedded: bool = False
    shape: TextShape | None = None
    prompt: str | None = None
    pad_pictures: bool = False


@dataclass(frozen=True)
class Assignment:
    """The backbone of every client: `models[i]` is that of client i. official: whether the release has the same one."""

    name: str
    models: tuple[str, ...]
    official: bool


@cache
def _all_models() -> dict[str, Model]:
    found: dict[str, Model] = {}
    for name, fields in read_toml("models.toml").items():
        shape = TextShape(**fields["shape"]) if "shape" in fields else None
        found[name] = Model(**fields | {"name": name, "shape": shape})
    return found


def models() -> dict[str, Model]:
    """Backbones by name: the six of the paper and the four tiny ones that ship with the package."""
    return dict(_all_models())


@cache
def official_prompts() -> dict[str, str]:
    """Name -> the chat template with which the official code asks a family's models, whatever template they hold."""
    return {name: fields["template"].strip("\n") for name, fields in read_toml("prompts.toml").items()}


def _order(name: str) -> tuple[int, str]:
    """Sorting key: models of the catalog by their order, then a user's own checkpoints by path."""
    known = _all_models()
    return (known[name].anchor_order if name in known else len(known), name)


def assign(models: Sequence[str], num_clients: int | None = None, benchmark: str | None = "drake") -> Assignment:
    """One backbone per client; the order of `models` does not matter.

    models: catalog names, hub ids ("owner/name") or checkpoint folders; the last two are kept as they are.
    num_clients: that of the benchmark if None. benchmark: None for one without official assignments.

    Returns the release's assignment where it has one for exactly these models and this number of clients. Otherwise
    client i gets model i modulo the number of models, so that the numbers of clients per model differ by at most one.
    Raises UnknownName for a name that is none of these, DrakeError for no, repeated or too many models.
    """
    scenario = federation("drake" if benchmark is None else benchmark)
    count = len(scenario["clients"]) if num_clients is None else num_clients
    official = {} if benchmark is None else scenario["assignments"]
    if isinstance(models, str) or not models:
        raise DrakeError(f"a federation needs a list of at least one model, not {models!r}; give one or more names.")
    known = _all_models()
    for name in models:
        if name not in known and "/" not in name and not Path(name).is_dir():
            raise UnknownName("model", name, list(known))
    names = sorted(set(models), key=_order)
    if len(names) < len(models):
        raise DrakeError(f"a model is named twice in {', '.join(models)}; name each once.")
    if len(names) > count:
        raise DrakeError(f"{len(names)} models are too many for this federation: name at most {count}, one per client.")
    for title, held in official.items():
        if set(held) == set(names) and len(held) == count:
            return Assignment(title, tuple(held), official=True)
    return Assignment("even:" + ",".join(names), tuple(names[i % len(names)] for i in range(count)), official=False)
