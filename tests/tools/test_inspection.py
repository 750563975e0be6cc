"""Looking at runs: the first difference, pictures, worst tasks and wrong answers; through the commands a user calls."""

import shutil

import pytest
from click.testing import CliRunner

from drake import cli
from drake.config import configure
from drake.errors import DrakeError
from drake.results import load, save
from drake.runs import Setup, evaluate
from drake.scoring.predictions import prediction_path, read_predictions, write_predictions
from drake.tools.diff import compare
from drake.tools.page import _sample, own_tasks


@pytest.fixture(scope="module")
def runs(micro_backbones, micro_data, tmp_path_factory):
    """Two seeds of FedMosaic, one of SFT; four clients, two rounds, two points."""
    root = tmp_path_factory.mktemp("inspected")
    numbers = {"steps": 1, "micro_batch": 2, "eval_records": 2, "max_new_tokens": 4}
    models = (micro_backbones["llama-4"], micro_backbones["llama-6"])
    for method, seeds in (("fedmosaic", (0, 1)), ("sft", (0,))):
        when = {"rounds": 2, "eval_every": 1, "device": "cpu", "clients": 4}
        asked = configure(method, "quick", models=models, data=micro_data, seeds=seeds, **numbers, **when)
        evaluate(Setup(asked), root / method)
    return root


@pytest.fixture
def copy(runs, tmp_path):
    shutil.copytree(runs / "fedmosaic", tmp_path / "copy")
    return tmp_path / "copy"


def call(*arguments, code=0):
    found = CliRunner().invoke(cli.drake, [str(argument) for argument in arguments])
    assert found.exit_code == code, found.output
    return found.output


def test_a_run_is_the_same_as_itself(runs):
    found = compare(runs / "fedmosaic", runs / "fedmosaic")
    assert (found.settings, found.first) == ([], None)
    # two seeds: 16 tasks before training, 8 after the first round, 16 after the second; 4 clients, 2 records
    assert found.counts["losses"] == (0, 2 * 2 * 4)
    assert found.counts["answers"][1] == 2 * sum(4 * 2 * tasks for tasks in (16, 8, 16))
    assert "the same to the last digit" in call("diff", runs / "fedmosaic", runs / "fedmosaic")


def test_the_first_difference_in_time_is_named(runs, copy):
    path = prediction_path(copy, 1, 1)
    rows = read_predictions(path)
    rows[-1] = rows[-1]._replace(text="something else")
    write_predictions(path, rows)
    results = load(copy)
    results.runs[1].train_loss[1][2] = 0.25
    save(results, copy)
    out = call("diff", runs / "fedmosaic", copy, code=1)
    assert f"first difference: seed 1, after round 1, client 3, {rows[-1].id}: " in out
    assert "'something else'" in out
    assert "in all 1 of 640 answers, 1 of 16 losses differ." in out


def test_other_settings_and_a_missing_seed_are_said(runs):
    found = compare(runs / "sft", runs / "fedmosaic")
    assert 'method ("sft", "fedmosaic")' in found.settings
    # one step from adapters that start at zero: the losses of the first round are equal, the messages are not
    assert found.first.startswith("seed 0, round 1, client 0: 0 bytes down (P) against ")
    assert found.counts["seeds"] == (1, 1)


def test_a_folder_without_results_is_one_sentence(tmp_path, runs):
    with pytest.raises(DrakeError, match=r"holds no results\.json"):
        compare(tmp_path, runs / "sft")


def test_plot_writes_every_picture_that_the_runs_allow(runs, tmp_path):
    out = call("plot", runs / "sft", runs / "fedmosaic", "--out", tmp_path / "plots")
    names = {"curves", "communication", "forgetting", "sft-tasks", "fedmosaic-tasks", "fedmosaic-relevance"}
    assert {path.stem for path in (tmp_path / "plots").glob("*.png")} == names
    assert {path.stem for path in (tmp_path / "plots").glob("*.svg")} == names
    assert len(out.splitlines()) == len(names)


def test_own_tasks_are_the_worst_first_and_means_over_seeds(runs):
    results = load(runs / "fedmosaic")
    owned = own_tasks(results)
    assert len(owned) == 16
    assert [own.score for own in owned] == sorted(own.score for own in owned)
    own = owned[-1]
    column = results.runs[0].tasks.index(own.task)
    last = [run.scores["official"][-1][own.client][column] for run in results.runs]
    assert own.score == pytest.approx(sum(last) / 2)


def test_show_writes_one_page_with_the_pictures_of_wrong_answers(runs, micro_data, tmp_path):
    page = tmp_path / "page.html"
    out = call("show", runs / "fedmosaic", "--worst", 2, "--html", page, "--data", micro_data)
    assert "own tasks with the lowest scores:" in out
    text = page.read_text()
    worst = own_tasks(load(runs / "fedmosaic"))[0]
    rows = read_predictions(prediction_path(runs / "fedmosaic", 0, 2))
    wrong = [r for r in rows if (r.client, r.task) == (worst.client, worst.task) and not r.correct]
    assert wrong[0].id in text
    assert "data:image/png;base64," in text
    assert "http" not in text.replace("http://www.w3.org", "")  # nothing is fetched
    assert text.count("<h3>") == 2


def test_score_repeats_every_figure_from_the_answers_or_says_what_does_not_follow(runs, copy, micro_data):
    assert "every score follows from the answers" in call("score", runs / "fedmosaic", "--data", micro_data)
    results = load(copy)
    results.runs[0].scores["official"][0][0][0] = 0.9
    save(results, copy)
    found = CliRunner().invoke(cli.drake, ["score", str(copy), "--data", micro_data])
    assert "Error" in type(found.exception).__name__
    assert "seed 0" in str(found.exception)


def test_a_page_opens_no_picture_that_training_would_refuse(runs):
    row = read_predictions(prediction_path(runs / "sft", 0, 1))[0]
    record = {"id": row.id, "prompt": "<image>", "images": [{"bytes": b"%!PS-Adobe-3.0 EPSF-3.0\n", "path": None}]}
    with pytest.raises(DrakeError, match=f"^record '{row.id}', picture 0: the picture is EPS"):
        _sample(row, record)


def test_data_that_a_results_file_names_are_not_opened(copy, tmp_path, monkeypatch):
    monkeypatch.setattr("drake.data.benchmark.load", lambda *_: pytest.fail("it was opened"))
    results = load(copy)
    for path in (str(tmp_path), "somebody/data"):
        results.data.path = path
        save(results, copy)
        for command in (["show", "--html", str(tmp_path / "page.html")], ["score"], ["submit"]):
            found = CliRunner().invoke(cli.drake, [*command, str(copy)])
            assert isinstance(found.exception, DrakeError)
            assert f"made with the dataset {path!r}, and a folder or repository is not opened because" in str(
                found.exception
            )
            assert str(found.exception).endswith("name the dataset yourself, with --data.")
    assert not (tmp_path / "page.html").exists()


def test_a_page_shows_no_file_that_a_link_in_the_run_leads_to(copy, micro_data, tmp_path):
    secret = tmp_path / "secret.svg"
    secret.write_text("years of work")
    call("show", copy, "--html", tmp_path / "page.html", "--data", micro_data)
    assert "data:image/svg+xml;base64," in (tmp_path / "page.html").read_text()
    (copy / "curves.svg").unlink()
    (copy / "curves.svg").symlink_to(secret)
    call("show", copy, "--html", tmp_path / "page.html", "--data", micro_data)
    assert "data:image/svg+xml;base64," not in (tmp_path / "page.html").read_text()
