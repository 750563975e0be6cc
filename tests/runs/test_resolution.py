"""Clients are scored on more records of their own tasks than of others', and re-scoring knows which."""

from collections import Counter

import pytest

from drake.config import configure
from drake.errors import DrakeError
from drake.results import load, verify
from drake.results.files import save
from drake.runs import Setup, evaluate
from drake.scoring.predictions import prediction_path, read_predictions, write_predictions


def test_own_tasks_have_more_records_and_every_score_follows_from_the_answers(micro_backbones, micro_data, tmp_path):
    numbers = {"steps": 1, "micro_batch": 2, "max_new_tokens": 3, "rounds": 1, "device": "cpu"}
    numbers |= {"eval_records": 3, "eval_records_others": 1, "evaluation.sample": "stratified", "clients": 4}
    models = (micro_backbones["llama-4"], micro_backbones["llama-6"])
    setup = Setup(configure("fedit", "quick", models=models, data=micro_data, **numbers))
    results = evaluate(setup, tmp_path / "run")
    begun = set(results.runs[0].begun[0])
    for point in (0, 1):
        rows = read_predictions(prediction_path(tmp_path / "run", 0, point))
        counts = Counter((row.client, row.task) for row in rows)
        for client in setup.clients:
            for task in setup.tasks if point == 0 else begun:
                assert counts[client.id, task] == (3 if task in client.tasks else 1)
        by_task = {}
        for row in rows:
            by_task.setdefault(row.task, {}).setdefault(row.client, set()).add(row.id)
        for of_client in by_task.values():
            assert set.intersection(*of_client.values()) == min(of_client.values(), key=len)
    assert verify(tmp_path / "run", micro_data).results.runs == results.runs

    path = prediction_path(tmp_path / "run", 0, 1)
    rows = read_predictions(path)
    own = next(row for row in rows if row.task in setup.clients[row.client].tasks)
    write_predictions(path, [row for row in rows if row != own])
    with pytest.raises(DrakeError, match="lacks 1 answers for"):
        verify(tmp_path / "run", micro_data)
    write_predictions(path, rows)
    old = load(tmp_path / "run")
    config = {key: value for key, value in old.config.items() if key not in ("eval_records_others", "eval_sample")}
    save(old.model_copy(update={"config": config}), tmp_path / "run")
    with pytest.raises(DrakeError, match=r"lacks \d answers for|is no record that task"):
        verify(tmp_path / "run", micro_data)  # a file that does not mention them stands for the first ones, for all
    with pytest.raises(DrakeError, match="--eval-records-others is 9; it must be at most --eval-records, which is 3"):
        setup.config.with_(eval_records_others=9)
