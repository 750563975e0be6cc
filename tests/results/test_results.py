"""results.json: what is written is what is read, older files are migrated, and nonsense is one sentence."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from drake.errors import DrakeError
from drake.results import (
    SCALARS,
    ClientInfo,
    DataInfo,
    MethodInfo,
    ModelsInfo,
    Results,
    SeedRun,
    Traffic,
    aggregate,
    load,
    save,
    score_table,
    seed_summary,
)
from drake.results.schema import JSON_SCHEMA, json_schema
from drake.runs.provenance import environment

CLIENTS = [ClientInfo(id=0, model="s", tasks=["a"]), ClientInfo(id=1, model="m", tasks=["b"])]


def _run(seed: int = 0, last: float = 0.5) -> SeedRun:
    scores = [[[0.25, None], [0.5, None]], [[last, 0.0], [0.5, 0.75]]]
    run = SeedRun(
        seed=seed,
        rounds=[1, 2],
        tasks=["a", "b"],
        begun=[["a"], ["a", "b"]],
        scores={"official": scores, "strict": scores},
        zero_shot=None,
        unparsed=0.125,
        summary={},
        traffic=[Traffic(round=1, client=0, direction="up", kind="adapter", bytes=12)],
        seconds_train=1.5,
        seconds_aggregation=0.25,
        seconds_eval=0.5,
        flops=None,
        train_loss=[[0.7, None], [0.6, 0.5]],
        relevance=[None, [[1.0, 0.25], [0.25, 1.0]]],
    )
    return run.model_copy(
        update={"summary": {p: seed_summary(score_table(run, p, CLIENTS)) for p in ("official", "strict")}}
    )


def _results(*runs: SeedRun, **changes: Any) -> Results:
    values = {
        "status": "complete",
        "method": MethodInfo(
            name="fedmosaic", reference="é", options={"gate": "scalar"}, relative_cost=1.06, local_steps=94, batch=4
        ),
        "evaluate_at": "trained",
        "preset": "quick",
        "config": {"eval_records": 0, "nested": {"list": [1, 2.5, None, "x"]}},
        "data": DataInfo(name="mini", source="mini", fingerprint="ab", split="dynamic", seed=0, path=None),
        "models": ModelsInfo(names=["s", "m"], assignment="even:s,m", per_client=["s", "m"], revisions={"s": "1"}),
        "clients": CLIENTS,
        "runs": list(runs),
        "summary": aggregate(runs),
        "environment": environment("cpu", "float32"),
        "started": "2026-01-01T00:00:00+00:00",
        "finished": None,
        "seconds": 2.0,
    }
    return Results(**(values | changes))


def test_what_is_saved_is_loaded_and_saved_again_with_the_same_bytes(tmp_path: Path) -> None:
    results = _results(_run(0), _run(1, last=1.0))
    path = save(results, tmp_path)
    first = path.read_bytes()
    assert load(tmp_path) == results
    assert save(load(tmp_path), tmp_path / "again").read_bytes() == first
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["results.json"]
    assert max(map(len, first.decode().splitlines())) <= 120


def test_the_score_table_carries_holes_as_nan() -> None:
    table = score_table(_run(), "official", CLIENTS)
    assert table.values.shape == (2, 2, 2)
    np.testing.assert_array_equal(table.values[0], [[0.25, math.nan], [0.5, math.nan]])
    assert table.begun == (frozenset("a"), frozenset("ab"))
    assert (table.own, table.rounds) == ((("a",), ("b",)), (1, 2))


def test_summaries_are_aggregated_with_their_standard_error() -> None:
    runs = [_run(0, last=0.25), _run(1, last=0.75)]
    assert [run.summary["official"].self_last for run in runs] == [0.5, 0.75]
    found = aggregate(runs)["official"]
    assert tuple(found) == SCALARS
    # two values that lie d apart have the standard error d / 2
    assert (found["self_last"].mean, found["self_last"].n) == (0.625, 2)
    assert found["self_last"].stderr == pytest.approx(0.125)
    assert found["unseen_last"].model_dump() == {"mean": None, "stderr": None, "n": 0}
    assert aggregate([]) == {}


def test_a_folder_without_results_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DrakeError, match=r"holds no results\.json"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "holds a JSON list where an object belongs"),
        ('{"name": "x"}', "has no schema_version"),
        (
            '{"schema_version": 99}',
            "schema version 99, but .* reads up to 2; install a newer version",
        ),
        ('{"schema_version": true}', "has no schema_version"),
        ('{"schema_version": 0}', "has no schema_version"),
        ('{"schema_version": 1}', "is not valid at status"),
        ('{"schema_version": 1, "runs": [1], "environment": {"machine": []}}', "is not valid at status"),
        ('{"schema_version": 2}', "is not valid at status"),
    ],
)
def test_files_that_are_no_results_are_one_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(DrakeError, match=sentence):
        load(tmp_path)


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (lambda r: r["runs"][0]["rounds"].reverse(), "rounds do not rise"),
        (lambda r: r["runs"][0]["begun"].pop(), "begun has 1 points, rounds has 2"),
        (lambda r: r["runs"][0]["scores"]["strict"].pop(), "scores.strict has 1 points"),
        (lambda r: r["runs"][0]["scores"].pop("strict"), "exactly the protocols official and strict"),
        (lambda r: r["runs"][0]["scores"]["strict"][1].pop(), "not 2 x 2"),
        (lambda r: r["runs"][0]["scores"]["strict"][1][0].append(1.0), "not 2 x 2"),
        (lambda r: r["runs"][0]["begun"][0].append("zzz"), "begun names 'zzz'"),
        (lambda r: r["runs"][0]["train_loss"][0].pop(), "train_loss of seed 0"),
        (lambda r: r["runs"][0].update(summary={}), "lacks its summary"),
        (lambda r: r["runs"].append(r["runs"][0]), "same seed"),
        (lambda r: r["clients"][0]["tasks"].append("c"), "no column for task 'c'"),
        (lambda r: r["clients"].reverse(), "not numbered from 0"),
        (lambda r: r["models"]["per_client"].reverse(), "disagree"),
        (lambda r: r.update(surprise=1), "surprise"),
    ],
)
def test_results_that_contradict_themselves_are_refused(tmp_path: Path, break_it: Any, sentence: str) -> None:
    path = save(_results(_run()), tmp_path)
    content = json.loads(path.read_text())
    break_it(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DrakeError, match=sentence):
        load(tmp_path)


def test_saving_nonsense_leaves_the_old_file(tmp_path: Path) -> None:
    results = _results(_run())
    before = save(results, tmp_path).read_bytes()
    results.runs[0].rounds = [2, 1]
    with pytest.raises(DrakeError, match="rounds do not rise"):
        save(results, tmp_path)
    assert (tmp_path / "results.json").read_bytes() == before


def test_the_environment_names_versions_and_machine() -> None:
    found = environment("cpu", "float32")
    assert found.packages["numpy"] == np.__version__
    assert found.machine.threads >= 1
    assert (found.git_commit is None) == (found.git_dirty is None)


def _as_version_1(content: dict[str, Any], with_optional_keys: bool) -> dict[str, Any]:
    """The content of a results file as versions of drake with schema 1 wrote it, the first ones without the keys that
    were added under schema 1."""
    del content["evaluate_at"]
    content["schema_version"] = 1
    for run in content["runs"]:
        run["seconds_mix"] = run.pop("seconds_aggregation")
    if not with_optional_keys:
        del content["environment"]["machine"]["processes"]
        for run in content["runs"]:
            del run["seconds_mix"], run["flops"], run["relevance"]
    return content


def test_results_of_schema_1_still_load(tmp_path: Path) -> None:
    results = _results(_run(), evaluate_at="aggregated")
    path = save(results, tmp_path)
    written = path.read_text()
    path.write_text(json.dumps(_as_version_1(json.loads(written), with_optional_keys=True)))
    assert load(tmp_path) == results
    path.write_text(json.dumps(_as_version_1(json.loads(written), with_optional_keys=False)))
    found = load(tmp_path)
    assert (found.schema_version, found.evaluate_at, found.environment.machine.processes) == (2, "aggregated", 1)
    run = found.runs[0]
    assert (run.seconds_aggregation, run.flops, run.relevance) == (None, None, None)
    assert run.scores == results.runs[0].scores
    assert json.loads(save(found, tmp_path).read_text())["schema_version"] == 2


def test_every_key_of_schema_2_is_needed(tmp_path: Path) -> None:
    path = save(_results(_run()), tmp_path)
    written = path.read_text()
    for key in ("evaluate_at", "preset", "summary"):
        content = json.loads(written)
        del content[key]
        path.write_text(json.dumps(content))
        with pytest.raises(DrakeError, match=f"is not valid at {key}: Field required"):
            load(tmp_path)


def test_the_json_schema_in_the_package_is_that_of_the_models(tmp_path: Path) -> None:
    schema = json.loads(JSON_SCHEMA.read_text(encoding="utf-8"))
    assert schema == json_schema(), "raise SCHEMA_VERSION if it was released, then run python -m drake.results.schema"
    content = json.loads(save(_results(_run()), tmp_path).read_text())
    jsonschema.validate(content, schema)
    for key, wrong in (("evaluate_at", "sometimes"), ("surprise", 1), ("schema_version", 1)):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(content | {key: wrong}, schema)
    parts = [part["properties"] for part in schema["$defs"].values() if "properties" in part]
    documented = [key for part in parts for key in part.values()]
    assert all("description" in key for key in [*documented, *schema["properties"].values()])
