"""The settings that a results file records, held against each other, the registered method and the dataset: the same
fact may stand in several places, and must be the same everywhere. Every contradiction is a sentence; nothing is raised.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, cast, get_args

from drake import catalog
from drake.catalog.benchmarks import DEFAULT
from drake.config import preset
from drake.config.options import options_of
from drake.config.schema import OF_BACKBONES, known_settings
from drake.errors import DrakeError
from drake.federation import registry
from drake.federation.participation import EVERYONE
from drake.models.checkpoint_files import hash_of_weights
from drake.models.checkpoints import WEIGHTS_FOLDER, embedded
from drake.results import Results

from .claims import Claims, mapping, short, unequal

ALWAYS = (
    "method", "options", "preset", "numbers", "eval_records", "eval_records_others", "eval_sample", "evaluate_at",
    "also_aggregated", "assignment", "revisions", "data", "split", "alpha", "attendance", "seeds", "device", "dtype",
    "eval_tokens", "compile", "evaluation_rounds", "versions",
)  # fmt: skip
"""Keys of `Results.config` that every run has."""
SOMETIMES = (*OF_BACKBONES, "eval_unseen", "eval_records_unseen", "clients", "public", "benchmark", "metrics")
"""Keys that it has where the setting is used."""
DIGESTS = "adapters"
"""The key with the digests of adapters that came from elsewhere."""
NUMBERS = (
    "rounds_per_task", "train", "test", "public", "eval_records", "max_new_tokens", "eval_tokens", "dtype", "models",
    "training",
)  # fmt: skip
_SHA256 = re.compile(r"[0-9a-f]{64}")


def contradictions(claims: Claims) -> Iterator[str]:
    """One sentence for each, in results that have the `shapes` of a run."""
    config, results = claims.results.config, claims.results
    yield from unequal(
        ("config.method", config["method"], "method.name", results.method.name),
        ("config.options", config["options"], "method.options", results.method.options),
        ("config.preset", config["preset"], "preset", results.preset),
        ("config.evaluate_at", config["evaluate_at"], "evaluate_at", results.evaluate_at),
        ("config.assignment", config["assignment"], "models.per_client", results.models.per_client),
        ("config.revisions", config["revisions"], "models.revisions", results.models.revisions),
        ("config.split", config["split"], "data.split", results.data.split),
        ("config.seeds", config["seeds"], "the seeds of runs", [run.seed for run in results.runs]),
        ("config.device", config["device"], "environment.device", results.environment.device),
        ("config.dtype", config["dtype"], "environment.dtype", results.environment.dtype),
        ("config.versions", config["versions"], "environment.packages", results.environment.packages),
        ("data.name", results.data.name, "the dataset's", claims.benchmark.name),
        ("data.source", results.data.source, "the dataset's", claims.benchmark.source),
        ("data.seed", results.data.seed, "the dataset's", claims.benchmark.seed),
    )
    try:
        yield from _keys(claims)
        yield from _method(claims)
        yield from _numbers(claims)
        yield from _models(claims)
        yield from _added(claims)
    except DrakeError as error:  # a name or a number that nothing can be derived from
        yield str(error).rstrip(".")


def shapes(claims: Claims) -> Iterator[str]:
    """What is not there, or of another kind than all the rest relies on."""
    config = claims.results.config
    if missing := sorted(set(ALWAYS) - config.keys()):
        yield f"config lacks {missing[0]!r}, which every run records"
        return
    for key in ("options", "numbers", "revisions", "data", "attendance", "eval_tokens", "versions"):
        if not isinstance(config[key], dict):
            yield f"config.{key} is no object"
    for key in ("assignment", "seeds", "evaluation_rounds"):
        if not isinstance(config[key], list):
            yield f"config.{key} is no list"
    for key in ("also_aggregated", "compile"):
        if not isinstance(config[key], bool):
            yield f"config.{key} is neither true nor false"


def strange_keys(claims: Claims) -> list[str]:
    """Keys of config that no setting of drake has."""
    usual = {*ALWAYS, *SOMETIMES} if claims.trains else {*ALWAYS, *SOMETIMES, DIGESTS}
    return sorted(claims.results.config.keys() - usual)


def _keys(claims: Claims) -> Iterator[str]:
    if (strange := strange_keys(claims)) and not claims.records_more:
        yield f"config has the key {short(strange[0])}, which no run records"


def _method(claims: Claims) -> Iterator[str]:
    found, training = claims.results.method, claims.training
    registry.check(found.name)
    if not claims.trains:
        yield from _untrained(claims)
    if claims.method is not None:
        due = asdict(options_of(claims.method, found.options))
        yield from unequal(
            ("method.options", found.options, "all options of the method", due),
            ("method.reference", found.reference, "the method's", claims.method.reference),
            ("method.relative_cost", found.relative_cost, "the method's", claims.method.relative_cost),
        )
    if found.relative_cost > 0:
        steps = training.local_steps(found.relative_cost) if claims.trains else 0.0
        batch = training.micro_batch * training.accumulation
        yield from unequal(
            ("method.local_steps", found.local_steps, "steps over relative_cost", steps),
            ("method.batch", found.batch, "micro_batch x accumulation", batch),
        )
    else:
        yield f"method.relative_cost is {found.relative_cost}, which is no cost"


def _untrained(claims: Claims) -> Iterator[str]:
    """Adapters from elsewhere: nobody trains, everybody is there, and every client has one."""
    name, digests = claims.results.method.name, claims.results.config.get(DIGESTS)
    if claims.participation != EVERYONE:
        yield f"config.attendance leaves clients out, but {name} trains nobody"
    if len(claims.results.runs) > 1:
        yield f"the run has {len(claims.results.runs)} seeds, but {name} trains nothing, so that all would be the same"
    if (
        not isinstance(digests, list)
        or len(digests) != len(claims.results.clients)
        or not all(isinstance(digest, str) and _SHA256.fullmatch(digest) for digest in digests)
    ):
        yield f"config.{DIGESTS} must hold the SHA-256 of the adapter of each client"


def _numbers(claims: Claims) -> Iterator[str]:
    config, numbers = claims.results.config, mapping(claims.results.config["numbers"])
    due = {*NUMBERS} if claims.trains else {*NUMBERS, "trained"}
    if set(numbers) != due:
        odd = sorted(set(numbers) ^ due)[0]
        yield f"config.numbers {'has' if odd in numbers else 'lacks'} {odd!r}, unlike every run"
        return
    if not claims.trains and numbers["trained"] is not False:
        yield f"config.numbers.trained is {short(numbers['trained'])}, but {claims.results.method.name} trains nothing"
    data, standard = mapping(config["data"]), preset(claims.results.preset)
    yield from unequal(
        ("config.numbers.models", numbers["models"], "models.names", sorted_as(claims.results, numbers["models"])),
        ("config.numbers.eval_records", numbers["eval_records"], "config.eval_records", config["eval_records"]),
        ("config.numbers.train", numbers["train"], "config.data.train", data.get("train")),
        ("config.numbers.test", numbers["test"], "config.data.test", data.get("test")),
        ("config.numbers.public", numbers["public"], "config.data.public_per_world", data.get("public_per_world")),
        ("config.data.seed", data.get("seed"), "the seed of all runs' data", 0),
        ("config.numbers.eval_tokens", numbers["eval_tokens"], "the preset's", standard.evaluation.tokens),
        ("config.numbers.dtype", numbers["dtype"], "the preset's", standard.execution.dtype),
        ("the models of config.eval_tokens", sorted(mapping(config["eval_tokens"])), "those of the run",
         sorted(claims.results.models.names)),
    )  # fmt: skip


def unusual(claims: Claims) -> Iterator[str]:
    """Settings of the track that are not those of the preset whose name the results carry."""
    numbers = mapping(claims.results.config.get("numbers"))
    standard = preset(claims.results.preset)
    due = asdict(standard.training) | {"max_new_tokens": standard.evaluation.max_new_tokens}
    found = mapping(numbers.get("training")) | {"max_new_tokens": numbers.get("max_new_tokens")}
    changed = [name for name, value in found.items() if name in due and value != due[name]]
    if changed:
        yield (
            f"the run is called preset {claims.results.preset}, but {changed[0]} is {found[changed[0]]!r} where the "
            f"preset has {due[changed[0]]!r}" + (f" ({len(changed)} numbers differ)" if changed[1:] else "")
        )


def _models(claims: Claims) -> Iterator[str]:
    models = claims.results.models
    if any("/" in name for name in models.names) or set(models.names) <= catalog.models().keys():
        names = [name for name in models.names if name in catalog.models()]
        if names == models.names:
            benchmark = claims.results.config.get("benchmark", DEFAULT)
            scenario = catalog.benchmark(str(benchmark)).scenario
            due = catalog.assign(models.names, len(claims.results.clients), scenario)
            yield from unequal(
                ("models.per_client", models.per_client, "the assignment", list(due.models)),
                ("models.assignment", models.assignment, "its name", due.name),
            )
    if odd := sorted(set(models.revisions) ^ set(models.names)):
        yield f"models.revisions and models.names disagree about {odd[0]!r}"
    for name in sorted(set(models.names) & set(embedded())):
        if models.revisions.get(name) != hash_of_weights(WEIGHTS_FOLDER / name):
            yield f"models.revisions has another revision of {name} than the weights that come with drake"


def _added(claims: Claims) -> Iterator[str]:
    """Settings that only some runs record, each with a value that it can have and that is not the usual one."""
    config, results = claims.results.config, claims.results
    for name, usual in OF_BACKBONES.items():
        possible = [value for value in get_args(known_settings()[name].kind) if value != usual]
        if name in config and config[name] not in possible:
            yield f"config.{name} is {short(config[name])}; where it is recorded it is {' or '.join(possible)}"
    if "eval_unseen" in config and config["eval_unseen"] not in ("last", "all"):
        yield f"config.eval_unseen is {short(config['eval_unseen'])}; where it is recorded it is last or all"
    if ("eval_unseen" in config) != ("eval_records_unseen" in config):
        yield "config has only one of eval_unseen and eval_records_unseen, which a run records together"
    if "clients" in config:
        yield from unequal(("config.clients", config["clients"], "the number of clients", len(results.clients)))
    if "public" in config:
        public = mapping(config["public"])
        digest = public.get("digest")
        if public.keys() != {"most", "digest"} or not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            yield "config.public must hold the number of public records and the SHA-256 of their source"
    if "benchmark" in config or "metrics" in config:
        yield from _benchmark(claims)


def _benchmark(claims: Claims) -> Iterator[str]:
    """Another benchmark than DRAKE: a name of the catalog, with the metrics of its tasks."""
    config = claims.results.config
    known = sorted(catalog.benchmarks().keys() - {DEFAULT})  # DRAKE itself is not recorded
    if config.get("benchmark") not in known:
        yield (
            f"config.benchmark is {short(config.get('benchmark'))}, which this version of drake does not know "
            f"(it knows {', '.join(known)})"
        )
        return
    owned = {task for client in claims.results.clients for task in client.tasks}
    metrics = sorted({claims.benchmark.tasks[task].metric for task in owned})
    if claims.results.data.path is None:
        stand_in = catalog.benchmark(str(config["benchmark"])).stand_in
        yield from unequal(("data.source", claims.results.data.source, "that of the benchmark", stand_in))
    yield from unequal(("config.metrics", config.get("metrics"), "the metrics of the dataset's tasks", metrics))


def sorted_as(results: Results, order: Any) -> list[str]:
    """The backbones of the run in the order of a list that holds the same ones; else in their own."""
    names = results.models.names
    return cast("list[str]", order) if isinstance(order, list) and sorted(map(str, order)) == sorted(names) else names
