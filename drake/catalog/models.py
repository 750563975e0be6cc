"""Backbones by name, and which client holds which. Called through `drake.catalog`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from drake.catalog.tasks import federation, read_toml
from drake.errors import DrakeError, UnknownName


@dataclass(frozen=True)
class TextShape:
    """The language model of a backbone: decoder layers, width of the hidden states and of the MLP, attention heads,
    heads of keys and values, width of a head, entries of the vocabulary."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int


@dataclass(frozen=True)
class Model:
    """A backbone a user can name.

    hub_id: repository on the Hugging Face hub, None for the embedded ones. embedded: ships with the package.
    family: whose tokenizer and layers. anchor_order: where the name stands when models are put in order to be dealt to
    clients, small before large; a method that needs an anchor finds it from the architectures. shape: None for the
    embedded ones, whose files are at hand.
    """

    name: str
    family: str
    anchor_order: int
    hub_id: str | None = None
    embedded: bool = False
    shape: TextShape | None = None


@dataclass(frozen=True)
class Assignment:
    """Who holds which backbone: `models[i]` is client i's; `official` when the release has this very one."""

    name: str
    models: tuple[str, ...]
    official: bool


@cache
def _all_models() -> dict[str, Model]:
    found = {}
    for name, fields in read_toml("models.toml").items():
        shape = TextShape(**fields["shape"]) if "shape" in fields else None
        found[name] = Model(**fields | {"name": name, "shape": shape})
    return found


def models() -> dict[str, Model]:
    """Backbones by name: the six of the paper and the four tiny ones that ship with the package."""
    return dict(_all_models())


def _order(name: str) -> tuple[int, str]:
    """Catalog models by their order, checkpoints of the user's own after them by path."""
    known = _all_models()
    return (known[name].anchor_order if name in known else len(known), name)


def assign(models: Sequence[str], num_clients: int | None = None, benchmark: str = "drake") -> Assignment:
    """One backbone per client; the order of `models` does not matter.

    models: catalog names, hub ids ("owner/name") or checkpoint folders; the last two pass through unchanged.
    num_clients: as many as the benchmark has unless given.
    The official assignment where the release has one for exactly these models and this number of clients;
    otherwise client i holds model i modulo their number: counts differ by at most one and models meet every
    kind of client. Raises UnknownName for a name that is none of these, DrakeError for no, repeated or
    too many models.
    """
    scenario = federation(benchmark)
    count = len(scenario["clients"]) if num_clients is None else num_clients
    if isinstance(models, str) or not models:
        raise DrakeError(f"a federation needs a list of at least one model, not {models!r}; name one or more.")
    known = _all_models()
    for name in models:
        if name not in known and "/" not in name and not Path(name).is_dir():
            raise UnknownName("model", name, list(known))
    names = sorted(set(models), key=_order)
    if len(names) < len(models):
        raise DrakeError(f"a model is named twice in {', '.join(models)}; name each once.")
    if len(names) > count:
        raise DrakeError(f"{len(names)} models are too many for this federation: name at most {count}, one per client.")
    for title, held in scenario["assignments"].items():
        if set(held) == set(names) and len(held) == count:
            return Assignment(title, tuple(held), official=True)
    return Assignment("even:" + ",".join(names), tuple(names[i % len(names)] for i in range(count)), official=False)
