"""`drake check-method` finds what a method breaks; the method of docs/write-a-method.md breaks nothing."""

import random
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from drake_baselines.fedit import FedIT
from drake_baselines.sft import SFT
from forked import run_drake

from drake.cli.tools import check_method
from drake.config import preset
from drake.data.benchmark import load
from drake.federation.method import Download, LocalResult, Upload
from drake.results import load as read_results
from drake.tools.check_method import CHECKS, Trial, TrialSize, findings

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
LINES = 40


@pytest.fixture
def small(micro_backbones):
    """Trials on micro backbones, with few records."""
    mixed = tuple(micro_backbones.values())
    return TrialSize((micro_backbones["llama-4"],) * 2, mixed, records=2, costed_steps=2)


@pytest.fixture
def fault(small, micro_data, monkeypatch):
    """(method class, title of a check) -> what is wrong."""
    tried = {}
    monkeypatch.setattr("drake.federation.registry.find", tried.__getitem__)

    def found(method, title):
        tried["tried"] = method
        chosen = tuple(check for check in CHECKS if check.title == title)
        ((_, sentence),) = findings(Trial("tried", {}, preset("quick"), load(micro_data), small), chosen)
        return sentence

    return found


class Changed(FedIT):
    """FedIT with something wrong in what a round leaves behind."""

    def local_update(self, now, batches):
        result = super().local_update(now, batches)
        return self.change(result, now.state, list(batches))


class Frozen(FedIT):
    def local_update(self, now, batches):
        result = super().local_update(now, batches)
        return LocalResult(now.state, result.upload, result.stats)


class Diverging(Changed):
    def change(self, result, state, batches):
        return LocalResult(result.state | {"bad": torch.tensor([torch.nan])}, result.upload, result.stats)


class Raising(FedIT):
    def for_inference(self, now):
        raise KeyError("personal")


class Growing(Changed):
    def change(self, result, state, batches):
        kept = {name: tensor for name, tensor in state.items() if name.startswith("old")}
        return LocalResult(result.state | kept | {f"old {len(kept)}": torch.zeros(3)}, result.upload, result.stats)


class Shifting(Changed):
    def change(self, result, state, batches):
        turn = state.get("turn", torch.zeros(())) + 1
        extra = {"extra": torch.zeros(int(turn))}
        return LocalResult(result.state | {"turn": turn}, Upload(result.upload.tensors | extra), result.stats)


class Counting(Changed):
    def change(self, result, state, batches):
        extra = {"losses": torch.zeros(sum(len(batch.records) for step in batches for batch in step))}
        return LocalResult(result.state, Upload(result.upload.tensors | extra), result.stats)


class Leaking(Changed):
    def change(self, result, state, batches):
        ids = {"ids": batches[0][0].input_ids.float()}
        return LocalResult(result.state, Upload(result.upload.tensors | ids), result.stats)


class LeakingFeatures(Changed):
    def change(self, result, state, batches):
        features = {"features": 1.0 * batches[1][0].inputs["inputs_embeds"][0]}
        return LocalResult(result.state, Upload(result.upload.tensors | features), result.stats)


class LeakingLate(Changed):
    """From the second round on, in half precision."""

    def change(self, result, state, batches):
        features = batches[1][0].inputs["inputs_embeds"][0].bfloat16()
        features = features if "late" in state else torch.zeros_like(features)
        late = {"late": torch.ones(())}
        return LocalResult(result.state | late, Upload(result.upload.tensors | {"f": features}), result.stats)


class Gambling(Changed):
    def change(self, result, state, batches):
        return LocalResult(result.state | {"luck": torch.tensor(random.random())}, result.upload, result.stats)


class Widening(FedIT):
    def aggregate(self, round, uploads, federation):
        extra = {"extra": torch.zeros(max(1, round))}
        return {i: Download(dict(d.tensors) | extra) for i, d in super().aggregate(round, uploads, federation).items()}


class Patient(FedIT):
    """The server aggregates every second round."""

    def aggregate(self, round, uploads, federation):
        return super().aggregate(round, uploads, federation) if round % 2 else {}


class CountingTasks(Changed):
    """Whole numbers, among which embeddings cast to them would be zeros."""

    def change(self, result, state, batches):
        whole = {"whole": torch.zeros(500, dtype=torch.int32)}
        return LocalResult(result.state, Upload(result.upload.tensors | whole), result.stats)


class Favouring(FedIT):
    def aggregate(self, round, uploads, federation):
        first = next(iter(uploads.values()))
        return {i: Download(first.tensors) for i in uploads}


class Remembering(FedIT):
    def local_update(self, now, batches):
        result = super().local_update(now, batches)
        self.seen = getattr(self, "seen", 0) + 1
        return LocalResult(result.state | {"seen": torch.tensor(float(self.seen))}, result.upload, result.stats)


class Complete(FedIT):
    def aggregate(self, round, uploads, federation):
        return super().aggregate(round, {client.id: uploads[client.id] for client in federation.clients}, federation)


class Inert(FedIT):
    """The server moves half the way to the mean, from where it was."""

    def restore(self, state):
        self.before = dict(state)

    def aggregate(self, round, uploads, federation):
        found = {}
        for i, mean in super().aggregate(round, uploads, federation).items():
            half = {n: (t + self.before.get(n, t)) / 2 for n, t in mean.tensors.items()}
            found[i] = Download(half)
        self.before = half
        return found


class Hesitating(FedIT):
    """The server answers nobody the first time it is asked."""

    asked = False

    def aggregate(self, round, uploads, federation):
        first, self.asked = not self.asked, True
        return {} if first and round else super().aggregate(round, uploads, federation)


class Restored(Inert):
    def server_state(self):
        return self.before


class Silent(FedIT):
    def sent(self, now):
        return {}


class OneSize(FedIT):
    def aggregate(self, round, uploads, federation):
        stacked = {name: torch.stack([u.tensors[name] for u in uploads.values()]) for name in uploads[0].tensors}
        return {i: Download({name: tensor.mean(0) for name, tensor in stacked.items()}) for i in uploads}


class Cheap(FedIT):
    relative_cost = 0.5


FAULTS = [
    (Frozen, "trains, and stays finite", "nothing in the state of client 0 changes"),
    (Diverging, "trains, and stays finite", "client 0 has NaN or infinite values in bad"),
    (Raising, "answers", "it raises KeyError: 'personal'"),
    (Growing, "the state keeps its size", "other tensors or shapes after round 2 than before (old 1)"),
    (
        Shifting,
        "uploads and downloads keep their shape",
        "an upload has other tensors or shapes after round 2 than",
    ),
    (Widening, "uploads and downloads keep their shape", "a download has other tensors or shapes after round 3"),
    (Counting, "uploads keep their shape when there are fewer records", "it tells how many there are"),
    (Leaking, "uploads hold no record", "ids of an upload holds token ids of a client's records"),
    (LeakingFeatures, "uploads hold no record", "features of an upload holds embeddings"),
    (LeakingLate, "uploads hold no record", "f of an upload holds embeddings"),
    (Gambling, "global random generators do not matter", "client 0 came out of round 1 differently"),
    (Favouring, "the order of clients does not matter", "the downloads of round 1 were different"),
    (Remembering, "nothing is kept outside the state", "something is kept in the method or the model"),
    (Complete, "clients may be absent", "it raises KeyError: 1"),
    (Inert, "the server goes on after a restart", "what it remembers is not in `server_state`"),
    (Hesitating, "the server goes on after a restart", "what it remembers is not in `server_state`"),
    (Silent, "declares what it sends", "`sent` names other tensors than those that cross"),
    (OneSize, "runs with mixed sizes and families, or declares that it does not", "it raises"),
    (Cheap, "costs what it declares", "a step costs 1.00 times one of SFT here, but relative_cost is 0.50"),
]
"""Method, check, and what the check says of it."""


@pytest.mark.parametrize(("method", "title", "sentence"), FAULTS)
def test_a_fault_is_found_and_said(fault, method, title, sentence):
    assert sentence in fault(method, title)


@pytest.mark.parametrize("title", sorted({title for _, title, _ in FAULTS}))
def test_sft_has_none_of_these_faults(fault, title):
    assert fault(SFT, title) is None


@pytest.mark.parametrize(
    ("method", "title"),
    [
        (Restored, "the server goes on after a restart"),
        (Patient, "uploads and downloads keep their shape"),
        (CountingTasks, "uploads hold no record"),
    ],
)
def test_what_only_looks_like_a_fault_is_none(fault, method, title):
    assert fault(method, title) is None


def test_the_method_of_the_documentation_is_short_and_breaks_nothing(small, micro_data, monkeypatch):
    assert len((EXAMPLES / "my_method.py").read_text().splitlines()) <= LINES
    monkeypatch.syspath_prepend(EXAMPLES)
    found = dict(findings(Trial("my_method:Mine", {}, preset("quick"), load(micro_data), small)))
    assert len(found) == len(CHECKS)
    assert found == dict.fromkeys(found)


def test_the_method_of_the_documentation_runs_from_the_folder_it_lies_in(
    micro_backbones, micro_data, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_method.py").write_text((EXAMPLES / "my_method.py").read_text())
    asked = ["eval", "--method", "my_method:Mine", "--preset", "quick", "--data", micro_data, "--clients", "2"]
    asked += ["--models", micro_backbones["llama-4"], "--steps", "1", "--rounds", "4", "--eval-every", "4"]
    done = run_drake([*asked, "--eval-records", "1", "--set", "evaluation.max_new_tokens=1"])
    assert done.returncode == 0, done.stderr
    results = read_results(tmp_path / "runs/mine-quick")
    assert {row.kind for row in results.runs[0].traffic} == {"A"}
    assert results.summary["official"]["self_last"].mean is not None


def test_the_command_prints_a_line_per_check_and_exits_with_1_for_a_fault(small, micro_data, monkeypatch):
    chosen = tuple(check for check in CHECKS if check.title in ("answers", "declares what it sends"))
    monkeypatch.setattr("drake.tools.check_method.CHECKS", chosen)
    monkeypatch.setattr("drake.tools.check_method.trial.TrialSize", lambda: small)
    monkeypatch.setattr("drake.runs.setup.open_data", lambda *_: load(micro_data))
    fine = CliRunner().invoke(check_method, ["sft"])
    assert fine.exit_code == 0
    assert "ok     declares what it sends" in fine.output
    monkeypatch.setattr("drake.federation.registry.find", lambda name: Silent)
    broken = CliRunner().invoke(check_method, ["fedit"])
    assert broken.exit_code == 1
    assert "BROKEN declares what it sends: `sent` names other tensors" in broken.output
    assert "1 of 2 checks hold." in broken.output


def test_an_unknown_method_is_one_sentence():
    done = run_drake(["check-method", "fedmosiac"])
    assert done.returncode == 2
    assert "unknown method 'fedmosiac'; did you mean 'fedmosaic'?" in done.stderr
