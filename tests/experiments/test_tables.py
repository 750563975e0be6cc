"""experiments/tables.py: every method, option and setting that a row names exists."""

import sys
from pathlib import Path

import pytest

from drake.config import resolve
from drake.federation import registry

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))
import tables
from tables import TABLES

ROWS = {name: options for rows in TABLES.values() for name, (_, options) in rows.items()}


def test_a_name_means_the_same_row_in_every_table():
    for rows in TABLES.values():
        assert all(ROWS[name] == options for name, (_, options) in rows.items())


@pytest.mark.parametrize("name", ROWS)
def test_a_row_asks_for_what_there_is(name):
    options = iter(option for option in ROWS[name] if option != "--also-aggregated")
    given = [(option, next(options)) for option in options]
    pairs = [value for option, value in given if option == "--set"]
    config = resolve(flags={option[2:]: value for option, value in given if option != "--set"}, pairs=pairs)
    registry.find(config.method)(config.training, config.method_options)
    assert {option for option, _ in given} <= {"--method", "--set", "--rank", "--models"}


def test_the_table_of_methods_has_all_that_are_registered():
    assert set(TABLES["methods"]) == set(registry.names())


SUBMISSION = Path(__file__).parents[2] / "leaderboard/drake_leaderboard/submissions/mini-fedmosaic"


def test_a_row_is_finished_when_its_run_has_the_seeds_and_shows_these_alone():
    results = tables.finished(SUBMISSION, (1, 2))
    assert tables.finished(SUBMISSION, (1, 99)) is None
    assert tables.finished(SUBMISSION.parent, (1,)) is None
    run = results.runs[0]
    one, both = (tables.row("FedMosaic", results, seeds).split(" | ") for seeds in ((run.seed,), (1, 2)))
    official = run.summary["official"]
    means = [official.self_last, official.self_auc, official.others_last, official.others_auc]
    assert one[1:5] == [f"{100 * mean:.2f}" for mean in means]
    assert all(" ± " in cell for cell in both[1:5])
    up = sum(row.bytes for row in run.traffic if row.direction == "up")
    after = run.aggregated.summary["official"]
    assert one[5:7] == [f"{100 * score:.2f}" for score in (after.self_last, after.others_last)]
    assert one[7] == f"{up / (len(run.train_loss) * 10) / 1000:.0f}"


def test_a_mean_is_shown_only_where_every_seed_has_the_value():
    runs = [1.0, 2.0, None]
    assert tables.of_all(runs[:2], lambda run: run, str) == "1.5"
    assert tables.of_all(runs, lambda run: run, str) == ""


def test_the_bare_backbones_are_a_row_with_the_tasks_that_had_begun():
    found = tables.finished(SUBMISSION, (1,))
    run = next(run for run in found.runs if run.seed == 1)
    column = {task: number for number, task in enumerate(run.tasks)}
    by_point = []
    for begun in run.begun:
        means = []
        for client in found.clients:
            own = [run.zero_shot["official"][client.id][column[task]] for task in client.tasks if task in begun]
            means.append(sum(own) / len(own))
        by_point.append(100 * sum(means) / len(means))
    cells = tables.zero_shot(found, (1,)).strip("| ").split(" | ")
    assert cells[0] == "zero-shot"
    assert [float(cell) for cell in cells[1:3]] == pytest.approx(
        [by_point[-1], sum(by_point) / len(by_point)], abs=0.006
    )
