"""A path that only a run folder names is not opened: `--resume`, `--config RUN/config.toml`, export, adapt, value."""

import shutil
import tomllib
from pathlib import Path

import pytest
import tomli_w
from in_process import drake

from drake import evaluate as drake_evaluate
from drake.config import configure
from drake.config.sources import from_flags, from_keywords, from_pairs
from drake.errors import DrakeError
from drake.runs import named_paths
from drake.runs.folder import claim

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The cache folder of a machine on which no run was begun."""
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def begun(micro_backbones, micro_data, tmp_path_factory):
    """The folder of a run that was begun on another machine, to be copied."""
    root = tmp_path_factory.mktemp("elsewhere")
    given = ("--method", "sft", "--preset", "quick", "--models", micro_backbones["llama-4"], "--data", micro_data)
    small = ("--rounds", 1, "--steps", 1, "--eval-records", 1, "--threads", 1, "--engine", "serial", "--clients", 2)
    small += ("--eval-unseen", "none", "--set", "evaluation.max_new_tokens=1")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DRAKE_CACHE", str(root / "their-cache"))
        assert drake("eval", *given, *small, "--out", root / "run") == ""
    return root / "run"


@pytest.fixture
def elsewhere(begun, tmp_path):
    """A copy of the run."""
    return shutil.copytree(begun, tmp_path / "run")


def test_a_run_from_elsewhere_opens_what_the_user_names_and_then_what_was_named(
    elsewhere, here, micro_backbones, micro_data, tmp_path, monkeypatch
):
    def never(*_, **__):
        raise AssertionError("opened")

    model = micro_backbones["llama-4"]
    unasked = "no run on this machine was begun with it, so it is not opened; if you trust it, "
    exported = ("export", elsewhere, "--client", 0, "--out", tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr("drake.runs.setup.open_data", never)
        patched.setattr("drake.models.backbones.load", never)
        for command in (("--resume", elsewhere), ("--config", elsewhere / "config.toml", "--out", tmp_path / "x")):
            assert f"{unasked}name it yourself, with --models {model}." in drake("eval", *command)
            data = f"{unasked}name it yourself, with --data {micro_data}."
            assert data in drake("eval", *command, "--models", model)
        for name in ("adapt", "value"):
            once = f"continue the run once by drake eval --resume {elsewhere} --models {model}."
            assert unasked + once in drake(name, elsewhere)
        assert f"{unasked}add --models {model}." in drake(*exported)
        assert "--models must name the same" in drake(*exported, "--models", "tiny-llama-s")
    assert drake(*exported, "--models", model) == ""
    shutil.rmtree(tmp_path / "out")
    assert drake("eval", "--resume", elsewhere, "--models", model, "--data", micro_data) == ""
    moved = elsewhere.rename(tmp_path / "moved")  # now they are paths of the user's own, wherever the folder lies
    assert drake("eval", "--resume", moved) == ""
    assert drake("export", moved, "--client", 0, "--out", tmp_path / "out") == ""
    kept = (here / named_paths.FILE).read_text().splitlines()
    assert len(kept) == 2
    table = tomllib.loads((moved / "config.toml").read_text())
    table["data"]["path"] = str(shutil.copytree(micro_data, tmp_path / "theirs"))
    (moved / "config.toml").write_text(tomli_w.dumps(table))
    assert "name it yourself, with --data" in drake("eval", "--resume", moved)


def test_python_and_a_folder_without_its_marks_are_asked_for_the_same(
    elsewhere, here, micro_backbones, micro_data, tmp_path
):
    model, file = micro_backbones["llama-4"], elsewhere / "config.toml"
    table = tomllib.loads(file.read_text())
    table["execution"] |= {"feature_cache": str(tmp_path / "theirs"), "feature_cache_gb": 1e-9}
    file.write_text(tomli_w.dumps(table))
    with pytest.raises(DrakeError, match=f"name it yourself too, with the argument models='{model}'"):
        drake_evaluate(config=file, out=tmp_path / "x")
    with pytest.raises(DrakeError, match=f"name it yourself too, with the argument data='{micro_data}'"):
        drake_evaluate(config=str(file), models=[model], out=tmp_path / "x")
    for name in (".drake-run", "identity.json"):  # as whoever wants the paths obeyed would send it
        (elsewhere / name).unlink()
    for name in ("adapt", "value"):
        assert "so it is not opened" in drake(name, elsewhere)
    assert "so it is not opened" in drake("eval", "--config", file, "--out", tmp_path / "x")
    with pytest.raises(DrakeError, match="so it is not opened"):
        drake_evaluate(config=file, out=tmp_path / "x")
    assert not (tmp_path / "x").exists()
    with pytest.warns(UserWarning, match="to use them, name feature_cache="):
        found = drake_evaluate(config=file, models=[model], data={"path": str(micro_data)}, out=tmp_path / "x")
    assert found.status == "complete"
    assert not (tmp_path / "theirs").exists()
    assert "feature_cache" not in (tmp_path / "x/config.toml").read_text().replace("feature_cache_gb = 20.0", "")


def test_a_setting_counts_as_named_however_it_is_written():
    given = named_paths.given_by(
        from_flags({"models": ("a",), "preset": None}),
        from_pairs(["data.path=x", "adapters.folder=y"], "adapters"),
        from_keywords({"execution": {"feature_cache": "z"}, "ditto": {"penalty": 1}}),
    )
    assert given == {"models", "data", "adapters", "set adapters.folder", "feature_cache", "set ditto.penalty"}


OTHERS = {
    "public records": ({"public": "llava-mix:{}"}, "public"),
    "adapters": ({"method": "adapters", "adapters": {"folder": "{}"}}, "adapters"),
    "a dataset": ({"data": "{}"}, "data"),
    "a backbone": ({"models": ["{}"]}, "models"),
    "a repository": ({"data": "owner/name"}, "data"),
    "a model of the Hub": ({"models": ["owner/name"]}, "models"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_kind_of_path_is_asked_for_once(here, tmp_path, name):
    settings, option = OTHERS[name]
    place = tmp_path / "theirs"
    place.mkdir()

    def filled(value):
        if isinstance(value, dict):
            return {key: filled(inner) for key, inner in value.items()}
        return [filled(inner) for inner in value] if isinstance(value, list) else value.format(place)

    config = configure(**{"method": "sft", "preset": "quick"} | filled(settings))
    how = "name it yourself, with --{option} {value}"
    with pytest.raises(DrakeError, match=f"name it yourself, with --{option}"):
        named_paths.check(tmp_path / "run", named_paths.named_by(config), (), how)
    named_paths.check(tmp_path / "run", named_paths.named_by(config), (option,), how)
    claim(tmp_path / "run", {"seeds": [0]}, "only-missing", config)
    named_paths.check(tmp_path / "run", named_paths.named_by(config), (), how)


def test_names_of_drake_and_what_lies_in_the_folder_need_no_record(here, tmp_path):
    inside = tmp_path / "run/data"
    inside.mkdir(parents=True)
    (tmp_path / "run/link").symlink_to(tmp_path / "elsewhere")
    how = "name it, with --{option}"
    config = configure("sft", "quick", models=["tiny-llama-s", "llama1b"], public="mini", data=str(inside))
    named_paths.check(tmp_path / "run", named_paths.named_by(config), (), how)
    named_paths.remember(configure("sft", "quick", models=["tiny-llama-s"]))
    assert not here.exists()
    outside = configure("sft", "quick", data=f"{tmp_path}/run/link")
    with pytest.raises(DrakeError, match="no run on this machine"):
        named_paths.check(tmp_path / "run", named_paths.named_by(outside), (), how)


def test_a_mini_suite_that_only_a_folder_makes_large_is_not_built(here, tmp_path):
    config, how = configure("sft", "quick", **{"data.train": 10**9, "data.test": 5}), "name it"
    with pytest.raises(DrakeError, match=r"with data\.train=1000000000, more than in any preset.*--set data\.train=10"):
        named_paths.from_run_folder(config, tmp_path / "run", (), how)
    assert named_paths.from_run_folder(config, tmp_path / "run", ("data.train",), how)[0] == config
    named_paths.remember(config)
    assert named_paths.from_run_folder(config, tmp_path / "run", (), how)[0] == config
    for name in ("threads", "workers"):  # which a run that goes on takes from its folder
        with pytest.raises(DrakeError, match="at most 1024"):
            configure("sft", "quick", **{"engine": "processes", name: 10**9})
    of_data = configure("sft", "quick", data=str(tmp_path), **{"data.train": 10**9})  # nothing is built
    assert named_paths.from_run_folder(of_data, tmp_path / "run", ("data",), how)[0] == of_data


def test_a_cache_folder_that_cannot_be_written_stops_no_run(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path / "file/cache"))
    named_paths.remember(configure("sft", "quick", data=str(tmp_path)))
    assert not Path(tmp_path / "file/cache").exists()
