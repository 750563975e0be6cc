"""Which test records the clients of a run were asked, read from its results. For re-scoring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from drake.data.partitions import shared_clients
from drake.errors import DrakeError
from drake.results.schema import Results
from drake.scoring.sampling import Sample
from drake.scoring.scores import Question, evaluated_questions

if TYPE_CHECKING:
    from drake.data.benchmark import Benchmark


class Asked:
    """questions: task -> record id -> the question, of all that a run is scored on. unseen: the tasks of no client."""

    def __init__(self, results: Results, benchmark: Benchmark) -> None:
        tasks = sorted({task for run in results.runs for task in run.tasks})
        owned = {task for client in results.clients for task in client.tasks}
        self._results, sample, records = results, _sample(results), _count(results, "eval_records")
        others = _count(results, "eval_records_others", records)
        of_clients = [task for task in tasks if task in owned]
        self.unseen = tuple(task for task in tasks if task not in owned)
        self.questions: dict[str, dict[str, Question]]
        self.questions = evaluated_questions(benchmark, of_clients, records, sample)
        found = evaluated_questions(benchmark, of_clients, others, sample)
        if self.unseen:
            of_unseen = evaluated_questions(benchmark, self.unseen, _count(results, "eval_records_unseen"), sample)
            self.questions |= of_unseen
            found |= of_unseen
        self._of_others = {task: set(questions) for task, questions in found.items()}

    def of(self, client: int, task: str) -> set[str]:
        """The ids of the records of a task that a client is scored on."""
        own = task in self._results.clients[client].tasks
        return set(self.questions[task]) if own else self._of_others[task]

    def unseen_at(self, point: int, points: int) -> Sequence[str]:
        """The tasks of no client that are due at a point (from 1) of so many."""
        return self.unseen if point == points or self._results.config.get("eval_unseen") == "all" else ()


def clients_of(results: Results, benchmark: Benchmark) -> tuple[tuple[str, ...], ...]:
    """The tasks of each client of the run: those of the dataset's clients, or of as many as the run asked for."""
    count = results.config.get("clients")
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or not 0 < count <= 1000):
        raise DrakeError('config["clients"] of the results is no number of clients; restore the file.')
    return shared_clients(benchmark.clients, count)


def _count(results: Results, key: str, default: int | None = None) -> int:
    """A number of records in the config, 0 for all; `default` where the config names none."""
    found = results.config.get(key)
    if found is None and default is not None:
        return default
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        why = "missing" if found is None else f"{found!r}, which is no number of records"
        raise DrakeError(f'config["{key}"] of the results is {why}; restore the file, or run it again.')
    return found


def _sample(results: Results) -> Sample:
    """Which records were taken; results of schema 1 have the first ones."""
    found = results.config.get("eval_sample", "first")
    if found == "first":
        return "first"
    if found == "stratified":
        return "stratified"
    raise DrakeError(f'config["eval_sample"] of the results is {found!r}; it must be "first" or "stratified".')
