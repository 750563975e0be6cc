"""Licences: what allows commercial use, and which tasks `drake build --commercial-only` keeps."""

import json

import huggingface_hub.constants
import pytest
from build_samples import Release, larger_release, record
from click.testing import CliRunner
from hub_stand_in import REPOSITORY, standing_in

from drake.catalog import tasks as catalog_tasks
from drake.catalog.licences import commercial_use
from drake.cli.build import build as command
from drake.data.benchmark import load
from drake.data.building import build
from drake.data.licences import Licences, stored_licences
from drake.data.manifest import read_manifest
from drake.data.sources.base import Source, TaskLicence
from drake.errors import DrakeError


@pytest.mark.parametrize(
    ("licence", "verdict"),
    [
        ("mit", "allowed"),
        ("Apache-2.0", "allowed"),
        ("cc-by-4.0", "allowed"),
        ("cc-by-sa-4.0", "allowed"),
        ("ncsa", "allowed"),
        ("cc-by-nc-4.0", "forbidden"),
        ("cc-by-nc-sa-4.0", "forbidden"),
        ("CC-BY-NC-ND-4.0", "forbidden"),
        ("for non-commercial use only", "forbidden"),
        ("research only", "forbidden"),
        ("other", "unknown"),
        ("unknown", "unknown"),
        ("", "unknown"),
        ("cc", "unknown"),
        ("cc-by-4.0 (annotations); pictures not licensed", "unknown"),
        ("mit or so", "unknown"),
    ],
)
def test_only_known_licences_allow_commercial_use(licence, verdict):
    assert commercial_use(licence) == verdict


def test_no_source_of_the_catalog_is_allowed_against_its_own_words():
    for task in catalog_tasks().values():
        words = " ".join([task.licence, *task.restrictions]).lower()
        if "-nc" in words or ("non-commercial" in words and "code may" not in words):
            assert task.commercial == "forbidden", task.source
        elif any(
            text in words for text in ("unknown", "not stated", "unstated", "their owners", "own terms", "flickr")
        ):
            assert task.commercial == "unknown", task.source
    assert {task.source for task in catalog_tasks().values() if task.commercial == "allowed"} == {"MagicBrush", "WCVQA"}


class Mixed(Source):
    """Three tasks under three licences, two clients."""

    kind, name, licence, revision = "mixed", "Mixed", "other", "1"
    given = (("Free-0", "Closed-0"), ("Odd-0",))

    def tasks(self):
        return dict.fromkeys(("Closed-0", "Free-0", "Odd-0"), ("train", "test"))

    def records(self, task, split):
        return (record(task, split, number) for number in range(4))

    @property
    def clients(self):
        return self.given

    def licence_of(self, task):
        named = {"Free-0": "mit", "Closed-0": "cc-by-nc-4.0", "Odd-0": "unknown"}[task]
        return TaskLicence(named, commercial_use(named))


def test_forbidden_and_unknown_tasks_are_left_out_and_told(tmp_path):
    told = []
    folder = build(Mixed(), out=tmp_path / "d", commercial_only=True, warn=told.append)
    manifest = read_manifest(folder)
    assert set(manifest.tasks) == {"Free-0"}
    assert manifest.clients == (("Free-0",),)
    assert (manifest.source, manifest.parameters) == ("mixed", {"commercial_only": True, "split": "dynamic"})
    assert told == [
        "tasks left out of the dataset: 1 whose licence forbids commercial use (Closed-0); 1 whose licence is not "
        "known to allow it (Odd-0)."
    ]
    everything = read_manifest(build(Mixed(), out=tmp_path / "all"))
    assert set(everything.tasks) == {"Closed-0", "Free-0", "Odd-0"}
    assert load(folder).records("Free-0", "test")["id"] == load(tmp_path / "all").records("Free-0", "test")["id"]


def test_nothing_is_built_of_a_source_without_an_allowed_task(tmp_path, release: Release):
    for source in (release.folder, f"release:{release.folder}"):  # Pets is not in the catalog
        with pytest.raises(DrakeError, match=r"no task .* allow commercial use|holds no record"):
            build(source, out=tmp_path / "d", commercial_only=True)
        assert not (tmp_path / "d").exists()


def test_a_folder_has_licences_by_task(tmp_path):
    rows = [{"q": f"Which is {number}?", "a": str(number % 2)} for number in range(8)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = 'train = "rows.jsonl"\ntest = "rows.jsonl"\nprompt = "{q}"\nanswer = "a"\n'
    (tmp_path / "drake.toml").write_text(
        f'name = "Rows"\nlicence = "cc-by-4.0"\n[tasks.Open-0]\n{task}'
        f'[tasks.Closed-0]\nlicence = "cc-by-nc-4.0"\n{task}'
        '[responsible_ai]\ndataBiases = "None that we know."\n'
    )
    folder = build(tmp_path, out=tmp_path / "built", commercial_only=True, warn=lambda text: None)
    assert set(read_manifest(folder).tasks) == {"Open-0"}
    whole = build(tmp_path, out=tmp_path / "whole")
    assert stored_licences(whole) == Licences("cc-by-4.0", {"Closed": "cc-by-nc-4.0"})
    assert stored_licences(whole).of("Closed") == ("cc-by-nc-4.0", "forbidden")
    assert stored_licences(whole).of("Open") == ("cc-by-4.0", "allowed")
    assert "| Closed | cc-by-nc-4.0 | forbidden |" in (whole / "README.md").read_text()
    assert json.loads((whole / "croissant.json").read_text())["rai:dataBiases"] == "None that we know."
    text = (tmp_path / "drake.toml").read_text().replace("dataBiases", "dataBias")
    (tmp_path / "drake.toml").write_text(text)
    with pytest.raises(DrakeError, match="did you mean 'dataBiases'"):
        build(tmp_path, out=tmp_path / "wrong")


def test_archives_without_an_allowed_task_are_not_even_downloaded(tmp_path, monkeypatch):
    """Cars stands in for a source that may be used, Maps for one that may not."""
    release = larger_release(tmp_path / "release")
    names = {"Cars": "MagicBrush", "Maps": "NLVR2"}
    for old, new in names.items():
        (release.dataset / old).rename(release.dataset / new)
        for file in (release.dataset / new).rglob("*.json"):
            file.write_text(file.read_text().replace(f"dataset/{old}/", f"dataset/{new}/"))
    archives = release.archives(tmp_path / "repository")
    (archives / "Pets.tar").unlink()
    told = []
    with standing_in(archives) as hub:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
        template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        folder = build(f"hub:{REPOSITORY}", out=tmp_path / "d", commercial_only=True, warn=told.append)
        assert hub.downloads == ["MagicBrush.tar"]
    assert set(read_manifest(folder).tasks) == {"MagicBrush-0"}
    assert "NLVR2-0" in told[-1]


def test_public_records_of_a_licence_that_does_not_allow_it_are_refused(tmp_path):
    class Closed(Mixed):
        licence = "cc-by-nc-4.0"

    closed = build(Closed(), out=tmp_path / "closed")
    for public in [str(closed)]:
        with pytest.raises(DrakeError, match=r"public records of .* is not known to allow commercial use"):
            build(Mixed(), out=tmp_path / "d", commercial_only=True, public=public)
    assert not (tmp_path / "d").exists()


def test_the_mini_suite_is_kept_whole(tmp_path):
    """Its worlds have the names of sources that may not be used, and are programs under Apache-2.0."""
    options = ["--train", "4", "--test", "2", "--public-per-world", "1", "--out", str(tmp_path / "d")]
    done = CliRunner().invoke(command, [*options, "--commercial-only"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "left out" not in done.output
    manifest = read_manifest(tmp_path / "d")
    assert len(manifest.tasks) == 47
    assert manifest.public == 25
