"""results.json and the prediction tables: what is written is what is read, and nonsense is one sentence."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
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
    estimate,
    load,
    save,
    score_table,
    seed_summary,
)
from drake.runs.provenance import environment
from drake.scoring.predictions import (
    Prediction,
    prediction_path,
    prediction_schema,
    read_predictions,
    write_predictions,
)
from drake.scoring.scores import Question, TaskScore, answer_row, score_matrix, score_rows, unparsed_rate

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
        seconds_eval=0.5,
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


def test_one_seed_has_no_standard_error() -> None:
    assert estimate([0.5, None]).model_dump() == {"mean": 0.5, "stderr": None, "n": 1}


def test_a_folder_without_results_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DrakeError, match=r"holds no results\.json"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "has no schema_version"),
        ('{"name": "x"}', "has no schema_version"),
        ('{"schema_version": 99}', "schema version 99, this drake reads up to 1"),
        ('{"schema_version": 1}', "is not valid at status"),
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


ROWS = [
    Prediction(1, 5, 0, "a", "a/test/000000", "red.", "red", True, True, None, None, "red"),
    Prediction(1, 5, 0, "b", "b/test/000000", "üç", None, None, None, [3, 1], [], "three"),
]


def test_predictions_round_trip_with_the_same_bytes(tmp_path: Path) -> None:
    path = prediction_path(tmp_path, 3, 1)
    assert path == tmp_path / "predictions" / "seed-3" / "point-1.parquet"
    write_predictions(path, ROWS)
    assert read_predictions(path) == ROWS
    assert pq.read_schema(path).equals(prediction_schema)
    write_predictions(tmp_path / "again.parquet", iter(ROWS))
    assert (tmp_path / "again.parquet").read_bytes() == path.read_bytes()
    write_predictions(tmp_path / "none.parquet", [])
    assert read_predictions(tmp_path / "none.parquet") == []


def test_rows_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DrakeError, match="has no text"):
        write_predictions(tmp_path / "x.parquet", [ROWS[0]._replace(text=None)])
    with pytest.raises(DrakeError, match="does not fit"):
        write_predictions(tmp_path / "x.parquet", [ROWS[0]._replace(client="zero")])
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_predictions_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DrakeError, match="are missing"):
        read_predictions(tmp_path / "absent.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(DrakeError, match="is no Parquet file"):
        read_predictions(tmp_path / "text.parquet")
    pq.write_table(pa.table({"point": [1]}), tmp_path / "other.parquet")
    with pytest.raises(DrakeError, match="does not have the columns"):
        read_predictions(tmp_path / "other.parquet")


CHOICE = Question("a", "<image>\nWhat?\nChoice list:[red, blue]. Your answer is:", ("red", "blue"), "red", "accuracy")
OPEN = Question("b", "<image>\nHow many? Answer with a single word or a number.", (), "three", "token-F1")


def test_one_function_scores_choices_and_open_questions() -> None:
    questions = {"1": CHOICE, "2": CHOICE._replace(answer="blue"), "3": CHOICE, "4": OPEN, "5": OPEN}
    rows = [
        answer_row(1, 5, 0, "1", "It is red", CHOICE),  # the official matcher finds it, the strict one does not
        answer_row(1, 5, 0, "2", "blue", questions["2"]),
        answer_row(1, 5, 0, "3", "mauve", CHOICE),
        answer_row(1, 5, 1, "4", "the three", OPEN, [7, 8], [8]),
        answer_row(1, 5, 1, "5", "four", OPEN, [9], [8]),
    ]
    assert [row.picked for row in rows] == ["red", "blue", None, None, None]
    assert [row.correct for row in rows] == [True, True, False, None, None]
    scores = score_rows(reversed(rows), questions)
    assert scores[0, "a"] == TaskScore(official=2 / 3, strict=1 / 3, unparsed=1 / 3, answers=3)
    # counters start at generated 1, matched 1, gold 0: precision 2/4, recall 2/2
    assert scores[1, "b"] == TaskScore(official=pytest.approx(2 / 3), strict=0.5, unparsed=None, answers=2)
    assert unparsed_rate(scores.values()) == 1 / 3
    assert unparsed_rate([scores[1, "b"]]) == 0.0
    assert score_matrix(scores, 2, ["a", "b"], "strict") == [[1 / 3, None], [None, 0.5]]


def test_scores_ignore_what_a_row_claims() -> None:
    row = answer_row(1, 5, 0, "1", "blue", CHOICE)._replace(picked="red", correct=True, gold="blue")
    assert score_rows([row], {"1": CHOICE})[0, "a"].official == 0.0


def test_answers_that_belong_to_no_question_are_refused() -> None:
    row = answer_row(1, 5, 0, "1", "blue", CHOICE)
    with pytest.raises(DrakeError, match="belongs to no record"):
        score_rows([row], {})
    with pytest.raises(DrakeError, match="belongs to no record"):
        score_rows([row._replace(task="other")], {"1": CHOICE})
    with pytest.raises(DrakeError, match="lacks its token ids"):
        score_rows([row._replace(task="b")], {"1": OPEN})
    with pytest.raises(DrakeError, match="metric 'bleu'"):
        score_rows([row], {"1": CHOICE._replace(metric="bleu")})
