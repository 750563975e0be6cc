"""What a results file records, read with the right types: the method's class, the numbers of local training, who takes
part. `settings.py` and `schedule.py` hold the rest of the file against them, `costs.py` the traffic, and `rerun.py`
trains with them.

Nothing that the file names is opened or imported: a method is one that is registered, or unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, cast, get_args, get_origin

from drake.config import Training
from drake.config.schema import known_settings
from drake.config.values import check_range
from drake.errors import DrakeError
from drake.federation import registry
from drake.federation.federation import Client, Federation
from drake.federation.participation import Participation
from drake.results import Results

if TYPE_CHECKING:
    from drake.data.benchmark import Benchmark
    from drake.federation.method import Method

MOST_NUMBER = 1e12
"""Largest number of local training that is calculated with."""


@dataclass(frozen=True)
class Claims:
    """The results of a complete run and the dataset that they name."""

    results: Results
    benchmark: Benchmark

    @cached_property
    def method(self) -> type[Method] | None:
        """The class of a registered method; None for a "module:Class", whose code is not imported."""
        name = self.results.method.name
        return None if ":" in name else registry.find(name)

    @cached_property
    def training(self) -> Training:
        """The numbers of local training that the results record; DrakeError where they are none."""
        recorded = mapping(mapping(self.results.config["numbers"]).get("training"))
        names = {one.name for one in fields(Training)}
        if missing := sorted(names - recorded.keys() - {"optimizer_state"}):
            raise DrakeError(f"config.numbers.training lacks {missing[0]!r}.")
        if extra := sorted(recorded.keys() - names):
            raise DrakeError(f"config.numbers.training has {extra[0]!r}, which is no number of training.")
        for name, value in recorded.items():
            if name != "optimizer_state":
                check_setting(f"config.numbers.training.{name}", value, f"training.{name}")
        state = recorded.get("optimizer_state", "fresh")
        if state not in ("fresh", "kept"):
            raise DrakeError(f"config.numbers.training.optimizer_state is {state!r}; it must be fresh or kept.")
        numbers: dict[str, Any] = {**recorded, "optimizer_state": state}
        return Training(**numbers)

    @property
    def trains(self) -> bool:
        """Whether the method trains; adapters from elsewhere are only scored. A method that is not registered does."""
        return self.method is None or self.method.trains

    @property
    def records_more(self) -> bool:
        """Whether the method may record keys of its own in the configuration: what decides its clients' first states
        (`Method.inputs`)."""
        from drake.federation.method import Method  # here: it loads PyTorch, which ranking can do without

        return self.method is None or (self.trains and self.method.inputs is not Method.inputs)

    @property
    def shows_relevance(self) -> bool:
        """Whether a registered method may show matrices of its aggregation (`Method.observed`)."""
        from drake.federation.method import Method

        return self.method is not None and self.method.observed is not Method.observed

    @cached_property
    def participation(self) -> Participation:
        """Who takes part, as the results record it; DrakeError where it is no participation."""
        found = dict(mapping(self.results.config["attendance"]))
        late = mapping(found.pop("late", {}))
        absent = found.pop("absent", [])
        try:
            starts = tuple((int(client), int(start) - 1) for client, start in late.items())
            return Participation(**found, absent=tuple(map(int, absent)), late=starts)
        except (TypeError, ValueError) as error:
            raise DrakeError(f"config.attendance is no participation ({error}).") from error

    def present(self, seed: int, round: int) -> frozenset[int] | None:
        """The clients of a round from 0; None where that depends on the speed of backbones (a deadline)."""
        if self.participation.deadline is not None:
            return None
        clients = tuple(Client(one.id, one.model, tuple(one.tasks)) for one in self.results.clients)
        return self.participation.present(Federation(clients, {}, seed, 1, self.training, _nothing, _nothing), round)


def check_setting(what: str, value: Any, setting: str) -> None:
    """DrakeError unless the value is one that the setting of drake can have, in JSON's own types: a text is no number
    and a truth value is none. what: its name for errors. setting: by full name."""
    known = known_settings()[setting]
    kinds = get_args(known.kind) if get_origin(known.kind) in (Union, UnionType) else (known.kind,)
    if value is None and NoneType in kinds:
        return
    words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    if isinstance(value, str) and value in words:
        return
    for kind, types, name in ((bool, bool, "truth value"), (int, int, "whole number"), (float, int | float, "number")):
        if kind in kinds:
            if not isinstance(value, types) or isinstance(value, bool) != (kind is bool):
                raise DrakeError(f"{what} is {short(value)}, which is no {name}.")
            number = cast("float", value)
            if abs(number) > MOST_NUMBER:
                raise DrakeError(f"{what} is {short(value)}, which no run takes.")
            check_range(what, number, known.setting)
            return
    raise DrakeError(f"{what} is {short(value)}, which is not {' or '.join(map(str, words))}.")


def unequal(*pairs: tuple[str, Any, str, Any]) -> Iterator[str]:
    """A sentence for each (what, its value, what else, its value) where the values differ."""
    for what, value, other, due in pairs:
        if value != due or _kinds(value) != _kinds(due):
            yield f"{what} is {short(value)}, but {other} is {short(due)}"


def _kinds(value: Any) -> Any:
    """Whether a number is a truth value: Python holds 1 and true to be equal."""
    return [isinstance(one, bool) for one in value] if isinstance(value, list) else isinstance(value, bool)


def short(value: Any) -> str:
    """The value as Python writes it, cut at 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is an object of JSON, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, Mapping) else {}


def _nothing(*_: Any) -> Any:
    raise DrakeError("who takes part must not depend on backbones or public records here.")
