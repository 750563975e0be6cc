"""Unseen tasks, late clients, shared tasks and public records of another source: what a run scores, that other figures
stay what they were, and the same bits for every engine and after a stop."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from stopping import Stop

from drake.cli.main import drake
from drake.config import configure
from drake.data.benchmark import load as load_data
from drake.errors import DrakeError
from drake.results import load, score, verify
from drake.runs import Setup, evaluate
from drake.runs.api import execute, opened_for
from drake.runs.folder import read_identity
from drake.scoring.predictions import read_predictions, write_predictions
from drake.tools.adapt import adapt, store
from drake.tools.unseen import unseen

sys.path.append(str(Path(__file__).parents[1] / "data"))
from mix_samples import mix

pytestmark = pytest.mark.usefixtures("undrawn")
TWO = ("HQ_Edit-0", "DreamSim-0")
"""Unseen tasks."""
NEW = {"eval_unseen", "eval_records_unseen", "clients", "public"}


@pytest.fixture(scope="module")
def asked(micro_backbones, micro_data):
    """(method, settings) -> a Config of two rounds of four clients on two backbones, few and short answers."""

    def made(method="fedit", **changes):
        numbers = {"steps": 2, "micro_batch": 2, "eval_records": 2, "eval_records_others": 1, "max_new_tokens": 3}
        fixed = {"models": (micro_backbones["llama-4"], micro_backbones["llama-6"]), "data": micro_data}
        fixed |= {"device": "cpu", "engine": "serial", "rounds": 2, "eval_every": 1, "learning_rate": 0.05}
        fixed |= {"clients": 4}
        return configure(method, "quick", **numbers | fixed | changes)

    return made


@pytest.fixture(scope="module")
def plain(asked, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "plain"
    return folder, evaluate(Setup(asked()), folder)


@pytest.fixture(scope="module")
def last(asked, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "last"
    return folder, evaluate(Setup(asked(eval_unseen="last")), folder)


def test_unseen_tasks_are_columns_of_their_own_and_change_no_other_figure(plain, last, asked, micro_data):
    (_, before), (folder, results) = plain, last
    first, second = before.runs[0], results.runs[0]
    tasks = first.tasks
    assert second.tasks[: len(tasks)] == tasks
    assert sorted(second.tasks[len(tasks) :]) == sorted(unseen_tasks(micro_data))
    for name in ("self_last", "self_auc", "others_last", "others_auc", "forgetting", "clients_last"):
        for protocol in ("official", "strict"):
            assert getattr(second.summary[protocol], name) == getattr(first.summary[protocol], name)
    assert first.summary["official"].unseen_last is None
    scores = np.array(second.scores["official"], dtype=float)[:, :, len(tasks) :]
    assert np.isnan(scores[0]).all()
    assert second.summary["official"].unseen_last == pytest.approx(scores[1].mean())
    assert not np.isnan(np.array(second.zero_shot["official"], dtype=float)[:, len(tasks) :]).any()
    assert second.begun == first.begun
    assert NEW & before.config.keys() == {"clients"}
    assert NEW.isdisjoint(Setup(asked(clients=None)).identity())
    assert results.config["eval_records_unseen"] == 1
    assert score(folder, micro_data).runs == results.runs
    assert verify(folder, micro_data).answers == sum(len(read_predictions(p)) for p in folder.rglob("point-*.parquet"))


def unseen_tasks(data):
    return load_data(data).unseen


def test_a_missing_answer_to_an_unseen_task_is_noticed(last, micro_data, tmp_path):
    shutil.copytree(last[0], tmp_path / "run")
    path = tmp_path / "run/predictions/seed-0/point-2.parquet"
    task = unseen_tasks(micro_data)[0]
    write_predictions(path, [row for row in read_predictions(path) if row.task != task])
    with pytest.raises(DrakeError, match=f"client 0 was not asked about {task} at point 2"):
        score(tmp_path / "run", micro_data)


def test_the_scores_of_unseen_tasks_are_a_table(last, plain):
    results = last[1]
    found = unseen(results)
    assert found.last.shape == (1, 4, 7)
    assert found.last.mean() == pytest.approx(results.runs[0].summary["official"].unseen_last)
    assert found.gain[0] == pytest.approx(found.last.mean() - found.zero_shot.mean())
    with pytest.raises(DrakeError, match="run it with --eval-unseen last"):
        unseen(plain[1])


def figures(results):
    fields = {"scores", "zero_shot", "unparsed", "summary", "train_loss", "traffic", "relevance"}
    return [run.model_dump(include=fields) for run in results.runs]


@pytest.fixture(scope="module")
def everything(asked, data_without_public, tmp_path_factory):
    """(settings, folder, results) of FedMosaic with 12 clients of which one is late, and public records from a mix."""
    root = tmp_path_factory.mktemp("everything")
    settings = asked(
        "fedmosaic",
        data=data_without_public,
        public=f"llava-mix:{mix(root / 'mix')}",
        clients=12,
        late_clients="11=2",
        micro_batch=1,
        eval_unseen="all",
        eval_records=1,
        steps=1,
    )
    return settings, root / "run", evaluate(Setup(settings), root / "run")


def test_a_run_with_all_of_it_is_what_it_says(everything, data_without_public):
    settings, folder, results = everything
    run = results.runs[0]
    assert [client.tasks for client in results.clients[10:]] == [client.tasks for client in results.clients[:2]]
    assert len(set(run.tasks)) == len(run.tasks) == 47
    assert run.train_loss[0][11] is None
    assert run.train_loss[1][11] is not None
    assert {row.round for row in run.traffic if row.client == 11} == {2}
    assert None not in run.summary["official"].clients_last
    assert unseen(results).late == {11: 2}
    identity = read_identity(folder)
    assert identity.keys() >= NEW
    assert identity["attendance"]["late"] == {"11": 2}
    for point in run.scores["official"]:
        assert None not in point[3][-7:]
    assert score(folder, data_without_public).runs == results.runs
    others = Setup(settings).clients[0].tasks
    asked = {row.id for row in read_predictions(folder / "predictions/seed-0/point-2.parquet") if row.client == 10}
    assert len({id.split("/")[0] for id in asked} & set(others)) == len([t for t in others if t in run.begun[-1]])


def test_every_engine_and_a_stopped_run_give_the_same_bits(everything, tmp_path):
    settings, _, results = everything
    forked = settings.with_(engine="processes", workers=2)
    assert figures(execute(Setup(forked), tmp_path / "forked")) == figures(results)
    with pytest.raises(KeyboardInterrupt):
        evaluate(Setup(settings), tmp_path / "stopped", callbacks=[Stop("client_trained", 15)])
    assert figures(evaluate(Setup(settings), tmp_path / "stopped")) == figures(results)


def test_final_models_adapt_to_unseen_tasks_with_the_same_bits_everywhere(everything, tmp_path):
    settings, folder, _ = everything
    found = {}
    for engine in ({"engine": "serial"}, {"engine": "processes", "workers": 2}):
        setup, out = Setup(settings.with_(**engine)), tmp_path / engine["engine"]
        with opened_for(setup) as engines:
            found[engine["engine"]] = adapt(setup, folder, out, [3, 0], engines, TWO)
    serial, forked = found["serial"], found["processes"]
    assert (serial.steps, len(serial.clients), serial.tasks) == ((0, 3), 12, TWO)
    for protocol in ("official", "strict"):
        np.testing.assert_array_equal(serial.scores[protocol], forked.scores[protocol])
    answers = {steps: texts(tmp_path / "serial", steps) for steps in (0, 3)}
    assert answers == {steps: texts(tmp_path / "processes", steps) for steps in (0, 3)}
    assert answers[0] != answers[3]
    part = next((tmp_path / "serial").rglob("steps-3/*/client-4.parquet"))
    part.unlink()
    setup = Setup(settings)
    with opened_for(setup) as engines:
        again = adapt(setup, folder, tmp_path / "serial", [0, 3], engines, TWO)
    np.testing.assert_array_equal(again.scores["official"], serial.scores["official"])
    assert texts(tmp_path / "serial", 3) == answers[3]
    store(again, tmp_path / "adapt.json")
    assert json.loads((tmp_path / "adapt.json").read_text())["scores"]["strict"] == serial.scores["strict"].tolist()


def texts(folder, steps):
    paths = sorted(folder.glob(f"answers/seed-0/steps-{steps}/*/*.parquet"))
    return {str(p.relative_to(folder)): [row.text for row in read_predictions(p)] for p in paths}


def test_no_steps_are_the_models_as_they_are_after_the_aggregation(asked, tmp_path):
    """FedIT, scored after the aggregation: what is stored is what answered at the last point."""
    settings = asked(eval_unseen="last", evaluate_at="aggregated", steps=1, rounds=1)
    results = evaluate(Setup(settings), tmp_path / "run")
    setup = Setup(settings)
    with opened_for(setup) as engines:
        found = adapt(setup, tmp_path / "run", tmp_path / "adapt", [0], engines)
    of_run = unseen(results)
    order = [of_run.tasks.index(task) for task in found.tasks]
    np.testing.assert_allclose(found.scores["official"][0, 0], of_run.last[0][:, order])


def test_a_run_that_is_not_over_is_not_adapted(asked, tmp_path):
    settings = asked(eval_every=2, eval_records=1, max_new_tokens=1)
    with pytest.raises(KeyboardInterrupt):
        evaluate(Setup(settings), tmp_path / "run", callbacks=[Stop("round_finished", 1)])
    setup = Setup(settings.with_(eval_unseen="last"))
    with opened_for(setup) as engines, pytest.raises(DrakeError, match="keeps no state after round 2 with seed 0"):
        adapt(setup, tmp_path / "run", tmp_path / "adapt", [0], engines)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"late_clients": "12=2"}, "--late-clients names client 12; the clients are 0 to 3"),
        ({"late_clients": "1=3"}, "lets client 1 begin in round 3, but the run has 2"),
        ({"late_clients": "1=2", "participation.absent": "1"}, "client 1 is in participation.absent and in --late"),
        ({"late_clients": "1=0"}, "is 0; it must be more than zero"),
        ({"late_clients": "1"}, "is not of the form CLIENT=ROUND, as 8=11 or 8-9=11"),
        ({"late_clients": "1-2=2,2=1"}, "names client 2 twice"),
        ({"clients": 1001}, "clients is 1001; it must be more than 0 and at most 1000"),
        ({"public": "llava-mix:/nowhere"}, "/nowhere holds no llava_v1_5_mix665k.json"),
    ],
)
def test_settings_that_no_run_can_have_are_one_sentence(asked, changes, sentence):
    with pytest.raises(DrakeError, match=sentence):
        Setup(asked(**changes))


def test_fedmosaic_of_two_sizes_names_the_option_that_gives_public_records(asked, data_without_public, micro_backbones):
    with pytest.raises(DrakeError, match=r"^fedmosaic learns from public records, .* name some with --public"):
        Setup(asked("fedmosaic", data=data_without_public))
    one = asked("fedmosaic", data=data_without_public, models=(micro_backbones["llama-4"],))
    assert Setup(one).rounds == 2
    assert Setup(asked("fedmosaic", data=data_without_public, **{"fedmosaic.align": False})).rounds == 2


def test_the_results_of_a_run_with_all_of_it_load_again(everything):
    assert load(everything[1]) == everything[2]


def test_the_commands_print_tables_and_draw_pictures(last, everything, tmp_path):
    runner = CliRunner()
    shown = runner.invoke(drake, ["unseen", str(last[0]), "--by-client", "--out", str(tmp_path / "unseen")])
    mean = 100 * last[1].runs[0].summary["official"].unseen_last
    assert shown.exit_code == 0
    assert f"{mean:.2f} (" in shown.output
    assert (tmp_path / "unseen.svg").stat().st_size > 1000
    given = ["--adapt-steps", "0,1", "--eval-records", "1", "--tasks", TWO[0], "--out", str(tmp_path / "adapt")]
    shown = runner.invoke(drake, ["adapt", str(everything[1]), *given])
    assert (shown.exit_code, "HQ_Edit-0 " in shown.output) == (0, True)
    stored = json.loads((tmp_path / "adapt/adapt.json").read_text())
    assert (stored["steps"], stored["tasks"], len(stored["clients"])) == ([0, 1], [TWO[0]], 12)
    assert (tmp_path / "adapt/adapt.png").exists()
