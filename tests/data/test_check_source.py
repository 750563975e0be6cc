"""What `drake check-source` finds, and what it calls broken."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from drake.cli.data import check_source
from drake.data.checks import Finding, check
from drake.data.record import PUBLIC, Record
from drake.data.sources import open_source
from drake.data.sources.base import Source

LIST = "Which?\nChoice list:[cat, dog]. Your answer is:"


def question(number: int, answer: str = "", **changes) -> Record:
    """A record of its own with two choices, whose answers take turns."""
    made = Record(
        id=f"Pets-0/train/{number:06d}",
        task="Pets-0",
        source="Pets",
        category="",
        images=(),
        prompt=f"{number}: {LIST}",
        choices=("cat", "dog"),
        answer=answer or ("cat", "dog")[number % 2],
        metric="accuracy",
    )
    return made._replace(**changes)


class Pets(Source):
    kind, name, licence, revision = "pets", "Pets", "mit", "1"
    given = None

    def __init__(self, train, test, public=()):
        super().__init__()
        self._of = {"train": train, "test": test}
        self._public = public
        self.has_public = bool(public)

    def tasks(self):
        return {"Pets-0": ("train", "test")}

    def records(self, task, split):
        for number, record in enumerate(self._of[split]):
            yield record._replace(id=f"{task}/{split}/{number:06d}")

    def public_records(self):
        for number, record in enumerate(self._public):
            yield record._replace(id=f"public/{number}", task=PUBLIC)

    @property
    def clients(self):
        return self.given


def findings(train=None, test=None, public=(), **options) -> dict[str, Finding]:
    """Findings of the source by their kind; what is not given is sound."""
    source = Pets(
        [question(number) for number in range(20)] if train is None else train,
        [question(number) for number in range(100, 112)] if test is None else test,
        public,
    )
    report = check(source, **options)
    return {finding.what: finding for part in report.tasks for finding in part.findings}


SOUND = [question(number) for number in range(20)]


def test_a_sound_source_has_no_findings():
    source = Pets(SOUND, [question(number) for number in range(100, 112)])
    report = check(source)
    (task,) = report.tasks
    assert (task.metric, task.train, task.test, task.majority) == ("accuracy", 20, 12, 0.5)
    assert (task.findings, report.findings, report.broken) == ([], [], False)


def test_the_mini_suite_is_sound():
    report = check(open_source("mini", train=4, test=2, public_per_world=1))
    assert len(report.tasks) == 48
    assert not report.broken
    # The official reader of option letters ends at D.
    assert {finding.what for task in report.tasks for finding in task.findings} <= {
        "few train records",
        "few test records",
        "gold answer is wrong by protocol official",
    }


@pytest.mark.parametrize(
    ("extra", "what", "broken"),
    [
        (question(50, "Maybe"), "gold answer is none of the choices", True),
        (question(50, "cat.", choices=("cat.", "dog")), "gold answer is wrong by protocol official", False),
        (question(50, choices=()), "no choices", True),
        (question(50, choices=("cat", "dog", "dog")), "a choice twice", False),
        (question(50, " "), "unusable records", True),
        (question(50, prompt=f"<image>{LIST}"), "unusable records", True),
        (question(50, metric="token-F1"), "records with another metric", True),
        (question(3), "repeated within train", False),
        (question(3, "cat"), "repeated within train with another answer", False),
    ],
)
def test_a_faulty_record_is_found(extra, what, broken):
    found = findings(train=[*SOUND, extra])
    assert set(found) == {what}
    assert (found[what].count, found[what].broken) == (1, broken)


def test_records_that_stand_in_two_splits_are_found():
    found = findings(test=[*(question(number) for number in range(100, 112)), question(7), question(8)])
    assert found["test repeats train"] == Finding(
        "test repeats train", 2, "Pets-0/test/000012 repeats Pets-0/train/000007", True
    )
    public = findings(public=[question(100), question(5), question(900)])
    assert public["public repeats test"].broken
    assert not public["public repeats train"].broken


def test_an_answer_that_prevails_and_few_records_are_notes():
    found = findings(train=[question(number, "cat") for number in range(200)], test=[question(500), question(501)])
    assert found["one answer prevails"].example == "100% are 'cat'"
    assert found["few test records"].example == "there are 2"
    assert not any(finding.broken for finding in found.values())
    assert findings(test=[])["few test records"].broken


def test_a_limit_reads_so_many_records_of_each_split():
    report = check(Pets([*SOUND, question(50, "Maybe")], SOUND[10:]), limit=5)
    assert (report.tasks[0].train, report.tasks[0].test) == (5, 5)
    assert not report.broken


def test_clients_of_tasks_that_do_not_exist_are_found():
    source = Pets(SOUND, [])
    source.given = (("Pets-0", "Pets-9"),)
    (finding,) = check(source).findings
    assert (finding.example, finding.broken) == ("task 'Pets-9' of client 0 does not exist", True)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A release of one task whose second train record names a picture that is missing."""
    rows = [
        {"image": image, "conversations": [{"from": "human", "value": text + LIST}, {"from": "gpt", "value": "cat"}]}
        for image, text in (([], "1 "), (["dataset/Pets/none.png"], "<image>2 "), ([], "3 "), ([], "4 "))
    ]
    for split, part in (("train", rows[:3]), ("test", rows[3:])):
        file = tmp_path / "dataset/Pets" / split / "dataset-0.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(part))
    return tmp_path


def test_all_records_are_read_although_one_cannot_be_used(release):
    report = check(open_source(release))
    (task,) = report.tasks
    assert (task.train, task.test) == (2, 1)
    (broken,) = [finding for finding in task.findings if finding.broken]
    assert (broken.what, broken.count) == ("unusable records", 1)
    assert "dataset-0.json, record 1 " in broken.example
    assert "none.png is missing" in broken.example


def test_the_command_prints_a_table_and_exits_with_1_when_something_is_broken(release):
    result = CliRunner().invoke(check_source, [f"release:{release}"], catch_exceptions=False)
    assert result.exit_code == 1
    assert "Pets-0" in result.output
    assert "broken: Pets-0: unusable records (1), first: " in result.output
    assert "Broken: mend" in result.output
    sound = CliRunner().invoke(check_source, [f"release:{release}", "--limit", "1"], catch_exceptions=False)
    assert (sound.exit_code, "Nothing must be mended." in sound.output) == (0, True)
