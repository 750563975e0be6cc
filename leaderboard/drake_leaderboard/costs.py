"""The traffic that a results file claims, held against what the registered method sends for its architectures.

`drake.tools.traffic` counts it without weights. What cannot be counted so (logits, whose size depends on the data;
backbones of a user's own, which are not opened because a file names them) is said, not guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from drake import catalog
from drake.config import configure
from drake.results import Results, SeedRun

from .claims import Claims

if TYPE_CHECKING:
    from drake.tools.traffic import Cost

Amount = Mapping[str, float]
OF_COMPUTE = ("numbers", "assignment", "revisions", "attendance", "split")
"""Keys of config that decide how much is computed."""
FAR = 4
"""How many times the FLOPs of another submission are said; between the bundled ones it is at most 1.7."""


def counted(claims: Claims) -> dict[tuple[str, str], Amount] | str:
    """(backbone, direction) -> bytes by kind of tensor of one message; a sentence where it cannot be counted."""
    results, method = claims.results, claims.method
    if method is None:
        return f"the method {results.method.name!r} is not registered here, so its costs are not checked"
    if not claims.trains:  # the schedule has no round, and no adapter that the results name is opened
        return f"{results.method.name} trains and sends nothing, so there are no costs to check"
    if strange := sorted(set(results.models.names) - catalog.models().keys()):
        return f"the backbone {strange[0]!r} is not in the catalog, so the costs are not checked"
    found = _cost(
        results.method.name,
        results.preset,
        tuple(results.models.names),
        tuple(results.models.per_client),
        tuple(sorted(asdict(claims.training).items())),
        tuple((name, _frozen(value)) for name, value in sorted(results.method.options.items())),
    )
    if found is None:
        return f"what {results.method.name} sends depends on the data, so its costs are not checked"
    return {
        (backbone, direction): rows[found.backbones.index(backbone)]
        for backbone in set(found.backbones)
        for direction, rows in (("up", found.up), ("down", found.down))
    }


@lru_cache(maxsize=64)
def _cost(
    method: str,
    preset: str,
    models: tuple[str, ...],
    held_by: tuple[str, ...],
    training: tuple[tuple[str, Any], ...],
    options: tuple[tuple[str, Any], ...],
) -> Cost | None:
    from drake.tools.traffic import cost  # here: it loads PyTorch, which ranking checked entries does not need

    settings: dict[str, Any] = {"models": list(models), "training": dict(training)}
    if options:
        settings[method] = dict(options)
    return cost(configure(method, preset, **settings), held_by)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def contradictions(claims: Claims) -> Iterator[str]:
    """One sentence for each seed whose traffic is not what the method sends."""
    found = counted(claims)
    if isinstance(found, str):
        return
    for run in claims.results.runs:
        wrong = next(_differences(claims, run, found), None)
        if wrong is not None:
            yield f"traffic of seed {run.seed}: {wrong}"


def _differences(claims: Claims, run: SeedRun, due: Mapping[tuple[str, str], Amount]) -> Iterator[str]:
    results = claims.results
    claimed: Counter[tuple[int, int, str, str]] = Counter()
    for message in run.traffic:
        where = f"round {message.round}, client {message.client}"
        if not 0 <= message.round <= len(run.train_loss) or message.client >= len(results.clients):
            yield f"{where} does not exist"
            return
        if message.kind != "numbers":  # some bytes beside the tensors, which are not counted ahead
            claimed[message.round, message.client, message.direction, message.kind] += message.bytes
    everyone = frozenset(client.id for client in results.clients)
    for number in range(len(run.train_loss)):
        present = claims.present(run.seed, number)
        if present is None:
            return
        for client in results.clients:
            for direction in ("up", "down"):
                amounts = due[client.model, direction]
                key = (number + 1, client.id, direction)
                kinds = {kind: claimed.pop((*key, kind)) for kind in amounts if (*key, kind) in claimed}
                wanted = {kind: size for kind, size in amounts.items() if size}
                if client.id not in present:
                    wanted = {} if direction == "up" else kinds  # what waited for it may come later
                elif direction == "down" and present != everyone and not kinds:
                    wanted = {}
                if kinds != wanted:
                    yield (
                        f"round {number + 1}, client {client.id}, {direction}: {_told(kinds)}, but the method sends "
                        f"{_told(wanted)}"
                    )
                    return
    for (number, client, direction, kind), size in claimed.items():
        if number or size:
            where = f"round {number}, client {client}, {direction}"
            yield f"{where}: {size:,} B of {kind!r}, which the method does not send"
            return


def _told(kinds: Amount) -> str:
    return " + ".join(f"{size:,.0f} B of {kind}" for kind, size in sorted(kinds.items())) or "nothing"


def unlike(mine: Results, other: Results, name: str) -> Iterator[str]:
    """Where FLOPs, which nothing in the files proves, are far from those of another submission of the same track: local
    training costs as much with every method."""
    same = mine.data.fingerprint == other.data.fingerprint and all(
        mine.config.get(key) == other.config.get(key) for key in OF_COMPUTE
    )
    spent, theirs = ([run.flops for run in one.runs if run.flops] for one in (mine, other))
    if not same or not spent or not theirs:
        return
    for amount, usual in ((min(spent), min(theirs)), (max(spent), max(theirs))):
        if not 1 / FAR < amount / usual < FAR:
            yield (
                f"a seed took {amount:.2g} FLOPs, where the submission {name} with the same backbones, records and "
                f"steps has {usual:.2g}"
            )
            return


def unchecked(claims: Claims) -> Iterator[str]:
    """Why the costs were not checked, where they were not."""
    found = counted(claims)
    if isinstance(found, str):
        yield found
    elif claims.participation.deadline is not None:
        yield "the run has a deadline, so its costs are not checked"
