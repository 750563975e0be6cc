"""The real benchmark end to end: from a release on the Hub over the paper's preset to submissions, for all ten methods.

The hub is a local server with archives in the official names, the checkpoints are replicas of three of the paper's
(two sizes of Llama, a Qwen), the public records are a mix in LLaVA-1.5's layout.
"""

import json
import shutil
from dataclasses import replace

import huggingface_hub.constants
import pytest
from build_samples import Release
from click.testing import CliRunner
from hub_stand_in import REPOSITORY, standing_in
from mix_samples import mix
from official_replica import COLOURS, SIDES, oblong, question, write_replica

from drake import catalog
from drake.cli.main import drake
from drake.config import preset
from drake.data.manifest import read_manifest
from drake.errors import DrakeError
from drake.federation import registry
from drake.results import load as load_results

METHODS = ("sft", "fedit", "ditto", "feddat", "perada", "fedsim", "feddpa", "takfl", "fedmkt", "fedmosaic")
LAYERS = {"llama1b": 2, "llama3b": 3, "qwen0.5b": 2}
TASKS = ("VSR-0", "NLVR2-1", "iconqa-2")
"""A task of three of the paper's clients, the last of which is scored by F1."""
UNSEEN = "HQ_Edit-0"
CUT = ["--preset", "paper", "--rounds", "2", "--steps", "1", "--rank", "4", "--eval-records", "1", "--device", "cpu",
       "--engine", "serial", "--set", "evaluation.max_new_tokens=3", "--set", "evaluation.records_unseen=1",
       "--set", "training.accumulation=1", "--set", "data.public_most=4"]  # fmt: skip


def run(*arguments) -> str:
    result = CliRunner().invoke(drake, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def official_release(folder):
    """Archives in the official names with a few records of oblong pictures for each of `TASKS` and `UNSEEN`."""
    release = Release(folder / "release")
    shutil.rmtree(release.dataset / "Pets")
    for place, task in enumerate((*TASKS, UNSEEN)):
        source, side = task.rpartition("-")[0], SIDES[place]
        images = release.dataset / source / "images"
        images.mkdir(parents=True)
        rows = []
        for number in range(6):
            colour = list(COLOURS)[number % 3]
            (images / f"{number}.png").write_bytes(oblong(side, colour, 10 * place + number))
            rows.append(release.row(number, question=question(side)))
            rows[-1]["image"] = f"dataset/{source}/images/{number}.png"
            rows[-1]["conversations"][1]["value"] = colour
        if task != UNSEEN:
            release.write("train", rows[:4], task)
        release.write("test", rows[4:], task)
    return release.archives(folder / "repository")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with the release and, in the places of the official checkpoints, their replicas."""
    folders = {name: write_replica(name, tmp_path / name, layers) for name, layers in LAYERS.items()}
    replicas = {catalog.models()[name].hub_id: str(folder) for name, folder in folders.items()}
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda hub_id, **_: replicas[hub_id])
    # Costs are derived from shapes, of which the replicas have their own.
    unknown = {name: replace(model, shape=None) for name, model in catalog.models().items() if name in LAYERS}
    known = catalog.models() | unknown
    monkeypatch.setattr(catalog, "models", lambda: known)
    with standing_in(official_release(tmp_path)) as stand_in:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", stand_in.url)
        template = f"{stand_in.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield stand_in


def test_a_release_on_the_hub_becomes_a_submission_of_each_of_the_ten_methods(hub, tmp_path, monkeypatch, request):
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "drake"
    run("build", "--source", f"hub:{REPOSITORY}", "--out", data)
    manifest = read_manifest(data)
    assert sorted(manifest.clients) == sorted((task,) for task in TASKS)
    assert (manifest.unseen, manifest.public) == ((UNSEEN,), 0)

    assert {name for name in registry.names() if name != "joint"} == set(METHODS)
    public = mix(tmp_path / "mix")
    common = ["--models", ",".join(LAYERS), "--data", data, *CUT]
    for method in METHODS:
        folder = tmp_path / "runs" / method
        if registry.find(method)(preset("paper").training, {}).wants_public(len(LAYERS)):
            with pytest.raises(DrakeError, match=f"{method} learns from public records, and .* has none; name"):
                run("eval", "--method", method, *common, "--out", folder)
            assert not folder.exists()
        blocks = ["--set", "fedmosaic.num_blocks=2"] if method == "fedmosaic" else []
        run("eval", "--method", method, *common, *blocks, "--public", f"llava-mix:{public}", "--out", folder)
        found = load_results(folder)
        assert (found.status, found.preset, found.data.fingerprint) == ("complete", "paper", manifest.fingerprint)
        assert sorted(found.models.per_client) == sorted(LAYERS)
        assert all(0 < loss < 20 for losses in found.runs[0].train_loss for loss in losses)
        assert found.runs[0].summary["official"].unseen_last is not None

        out = tmp_path / "submissions" / method
        run("submit", folder, "--data", data, "--out", out)
        ticket = json.loads((out / "submission.json").read_text())
        assert (ticket["method"], ticket["fingerprint"]) == (method, manifest.fingerprint)
        assert ticket["answers"] > 0
        request.getfixturevalue("undrawn")  # one picture is enough
    board = run("leaderboard", *(tmp_path / "submissions" / method for method in METHODS))
    assert all(method in board.lower() for method in METHODS)
