"""A run folder is not believed: no code that it names is imported, its options are checked like typed ones."""

import json
import os
import shutil
import sys
import tomllib

import pytest
import tomli_w
from click.testing import CliRunner
from in_process import drake

from drake import cli
from drake.config import configure
from drake.errors import DrakeError, UnknownName
from drake.federation import registry
from drake.runs import Setup, evaluate
from drake.tools.export import export

PAYLOAD = """
from pathlib import Path

from drake_baselines.sft import SFT

Path(__file__).with_name("it-ran").touch()

class Evil(SFT):
    pass
"""
EVIL = "run_folder_payload:Evil"
SMALL = ("--rounds", 1, "--steps", 1, "--eval-records", 1, "--set", "evaluation.max_new_tokens=1", "--threads", 1)
SMALL += ("--set", "training.micro_batch=2", "--engine", "serial", "--clients", 2)
pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def finished(micro_backbones, micro_data, tmp_path_factory):
    """A run of SFT over one round, by the command line."""
    folder = tmp_path_factory.mktemp("resuming") / "run"
    common = ("--preset", "quick", "--models", micro_backbones["llama-4"], "--data", micro_data)
    assert drake("eval", "--method", "sft", *common, *SMALL, "--out", folder) == ""
    return folder


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def payload(tmp_path, monkeypatch):
    """A module on the path that leaves a trace where it is imported; yields where."""
    (tmp_path / "run_folder_payload.py").write_text(PAYLOAD)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "it-ran"
    sys.modules.pop("run_folder_payload", None)


def configured(run) -> dict:
    return tomllib.loads((run / "config.toml").read_text())


def change_config(run, values: dict) -> None:
    """Change settings in config.toml, by full name; None takes a setting out."""
    table = configured(run)
    for name, value in values.items():
        group, _, inner = name.rpartition(".")
        place = table.setdefault(group, {}) if group else table
        place[inner] = value
        if value is None:
            del place[inner]
    (run / "config.toml").write_text(tomli_w.dumps(table))


def change_identity(run, **values) -> None:
    path = run / "identity.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def unfinished(run) -> None:
    """Take away what the run has computed."""
    (run / "results.json").unlink()
    for folder in ("predictions", "checkpoints"):
        shutil.rmtree(run / folder)


def test_a_class_that_the_folder_names_is_not_imported(run, payload, tmp_path):
    change_config(run, {"method": EVIL})
    change_identity(run, method=EVIL)
    resumed = ("eval", "--resume", run)
    exported = ("export", run, "--client", 0, "--out", tmp_path / "out")
    for command in (resumed, exported):
        error = drake(*command)
        assert error.startswith(f"{run} names the method {EVIL!r}, and code is not imported because a folder names it")
        assert error.endswith("name it yourself, with --method.")
        for other in ("sft", "somewhere:Else"):
            sentence = f"{run} was made with the method {EVIL!r}, --method is {other!r}; they must be the same."
            assert drake(*command, "--method", other) == sentence
    file = run / "config.toml"
    assert drake("eval", "--config", file, "--out", tmp_path / "again") == (
        f"method in {file} is {EVIL!r}, and code is not imported because a file names it; if you trust that code, name "
        f"it yourself, with --method {EVIL}."
    )
    assert not payload.exists()
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "again").exists()
    assert drake(*exported, "--method", EVIL) == ""
    assert payload.exists()
    assert (tmp_path / "out/adapter_model.safetensors").is_file()


def test_options_of_a_class_that_the_folder_names_do_not_import_it(run, payload):
    """Neither do options of a method that is not the run's."""
    (run / "config.toml").write_text((run / "config.toml").read_text() + f'\n["{EVIL}"]\npenalty = 1\n')
    assert drake("eval", "--resume", run) == ""
    assert not payload.exists()


def test_only_the_identity_names_a_class(run, payload, tmp_path):
    """The two files contradict each other, so the folder holds another run than it says."""
    change_identity(run, method=EVIL)
    assert f"{run} already holds another run (it differs in method" in drake("eval", "--resume", run)
    assert not payload.exists()


def test_a_run_of_a_users_own_class_is_continued_when_it_is_named_again(
    run, payload, micro_backbones, micro_data, tmp_path
):
    own = tmp_path / "own"
    common = ("--preset", "quick", "--models", micro_backbones["llama-4"], "--data", micro_data)
    assert drake("eval", "--method", EVIL, *common, *SMALL, "--out", own) == ""
    results = (own / "results.json").read_bytes()
    (own / "results.json").unlink()
    assert "names the method" in drake("eval", "--resume", own)
    assert drake("eval", "--resume", own, "--method", EVIL) == ""
    again = json.loads((own / "results.json").read_text())
    assert again["runs"][0]["scores"] == json.loads(results)["runs"][0]["scores"]
    assert configured(own)["method"] == EVIL


def test_a_run_of_a_registered_method_is_continued(run):
    before = (run / "results.json").read_bytes()
    assert drake("eval", "--resume", run) == ""
    assert drake("eval", "--resume", run, "--method", "sft") == ""
    assert (run / "results.json").read_bytes() == before
    sentence = f"{run} was made with the method 'sft', --method is 'ditto'; they must be the same."
    assert drake("eval", "--resume", run, "--method", "ditto") == sentence


@pytest.mark.parametrize("name", ["..evil:X", ":", "a:", ":X", "a:b:c", "a-b:X", "a..b:X", "a b:X", "a:X.Y", "a/b:X"])
def test_a_name_that_is_no_path_of_a_class_is_one_sentence(run, name):
    sentence = f"method {name!r} is neither a name of `drake methods` nor of the form package.module:Class; correct it."
    for ask in (registry.find, registry.check):
        with pytest.raises(DrakeError) as caught:
            ask(name)
        assert str(caught.value) == sentence
    for command in ("eval", "check-method"):
        assert drake(command, *(["--method"] if command == "eval" else []), name) == sentence
    change_config(run, {"method": name})
    assert drake("eval", "--resume", run) == sentence
    assert drake("eval", "--config", run / "config.toml") == sentence


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"method": "stf"}, "unknown method 'stf'; did you mean 'sft'?"),
        ({"method": None}, "does not say which method it was made with"),
        ({"method": ["sft"]}, "does not say which method it was made with"),
        ({"preset": "qwick"}, "unknown preset 'qwick'; did you mean 'quick'?"),
        ({"preset": ["quick"]}, "preset in {file} is ['quick']; it must be text."),
        ({"preset": {"a": 1}}, "preset in {file} is {{'a': 1}}; it must be text."),
        ({"seeds": 3.5}, "seeds in {file} is 3.5; it must be a list of whole numbers."),
        ({"seeds": []}, "no seed is given"),
        ({"seeds": "0-99999999999"}, "is no list of numbers"),
        ({"seeds": ["../../elsewhere"]}, "seeds in {file} is '../../elsewhere'; it must be a whole number."),
        ({"rounds": "one"}, "rounds in {file} is 'one'; it must be a whole number."),
        ({"rounds": True}, "rounds in {file} is True; it must be a whole number."),
        ({"rounds": 0}, "rounds in {file} is 0; it must be more than zero."),
        ({"rounds": {"a": {"b": 1}}}, "rounds in {file} is {{'a': {{'b': 1}}}}; it must be a whole number."),
        ({"models": [3]}, "models in {file} is [3]; it must be a list of names."),
        ({"models": []}, "models in {file} names nothing"),
        ({"training": 8}, "unknown setting 'training'"),
        ({"training.rank": [8]}, "training.rank in {file} is [8]; it must be a whole number."),
        ({"training.rank": {"a": 1}}, "training.rank in {file} is {{'a': 1}}; it must be a whole number."),
        ({"training.alpha": float("nan")}, "training.alpha in {file} is nan; it must be a finite number."),
        ({"training.rnak": 8}, "unknown setting 'training.rnak' (training.rnak in {file}); did you mean"),
        ({"data.alpha": [0.5]}, "data.alpha in {file} is [0.5]; it must be a number."),
        ({"data.path": {"path": "x"}}, "data.path in {file} is {{'path': 'x'}}; it must be text."),
        ({"sft.kept": 1}, "sft.kept in {file}: unknown option 'kept'"),
        ({"execution.engine": "rya"}, "unknown value of execution.engine in {file} 'rya'; did you mean 'ray'?"),
        ({"execution.engine": ["ray"]}, "unknown value of execution.engine in {file}"),
        ({"execution.tensorboard": 1}, "execution.tensorboard in {file} is 1; it must be true or false."),
        ({"out": "elsewhere"}, "unknown setting 'out'"),
        ({"colour": 1}, "unknown setting 'colour'"),
    ],
)
def test_a_setting_that_no_run_can_have_is_one_sentence(run, changes, sentence):
    change_config(run, changes)
    assert sentence.format(file=run / "config.toml") in drake("eval", "--resume", run)


def test_settings_of_one_name_take_nothing_from_a_file_of_the_wrong_type(run):
    change_config(run, {"method": ["sft"]})
    file = run / "config.toml"
    for more in ((), ("--set", "kept=1")):
        assert drake("eval", "--config", file, *more) == f"method in {file} is ['sft']; it must be text."


def test_a_setting_that_is_missing_is_the_presets_and_makes_another_run(run):
    change_config(run, {"data.path": None})
    assert f"{run} already holds another run (it differs in" in drake("eval", "--resume", run)


BROKEN = {
    "deep": b"a = " + b"[" * 100_000,
    "cut off": b'method = "sf',
    "twice": b'method = "sft"\nmethod = "ditto"\n',
    "no UTF-8": b'method = "\xff"\n',
    "half a surrogate pair": b'method = "\\ud800"\n',
    "a null byte": b'method = "s\x00"\n',
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_configuration_that_is_no_toml_is_one_sentence(run, broken):
    file = run / "config.toml"
    file.write_bytes(BROKEN[broken])
    for command in (("eval", "--resume", run), ("eval", "--config", file)):
        error = drake(*command)
        assert error.startswith(f"{file} is no valid TOML file (")
        assert error.endswith("); correct it.")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[]", "holds a JSON list where an object belongs; restore it."),
        ('"sft"', "holds a JSON str where an object belongs; restore it."),
        ("{", "cannot be read as JSON ("),
        ('{"method": "\\ud800"}', "cannot be read as JSON ("),
        ("[" * 100_000, "cannot be read as JSON ("),
    ],
    ids=["list", "string", "cut off", "half a surrogate pair", "deep"],
)
def test_an_identity_that_is_no_json_object_is_one_sentence(run, text, sentence):
    (run / "identity.json").write_text(text)
    for command in (("eval", "--resume", run), ("export", run, "--client", 0, "--out", run / "out")):
        error = drake(*command)
        assert error.startswith(f"{run / 'identity.json'} ")
        assert sentence in error


@pytest.mark.parametrize("file", ["config.toml", "identity.json"])
def test_only_small_regular_files_are_read(run, file):
    command = ("eval", "--resume", run) if file == "config.toml" else ("export", run, "--client", 0, "--out", run / "o")
    (run / file).write_bytes(b" " * ((16 << 20) + 1))
    assert drake(*command) == f"{run / file} is larger than 16 MiB, so it is not what it should be."
    (run / file).unlink()
    os.mkfifo(run / file)  # reading it would never end
    assert drake(*command) == f"{run / file} is no file; restore it."
    (run / file).unlink()
    assert "holds no run" in drake(*command)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"seeds": ["../../elsewhere"]}, "seeds.0"),
        ({"seeds": [True]}, "seeds.0"),
        ({"seeds": []}, "seeds"),
        ({"assignment": [3]}, "assignment.0"),
        ({"assignment": ["tiny-llama-s"]}, "revisions lacks 'tiny-llama-s'"),
        ({"numbers": {"training": {"rank": 8}}}, "numbers.training.alpha"),
        ({"numbers": None}, "numbers"),
        ({"options": []}, "options"),
        ({"dtype": "float8"}, "dtype"),
        ({"evaluation_rounds": []}, "evaluation_rounds"),
        ({"method": 3}, "method"),
    ],
)
def test_an_identity_that_no_run_has_is_one_sentence(run, tmp_path, changes, where):
    change_identity(run, **changes)
    with pytest.raises(DrakeError) as caught:
        export(run, 0, tmp_path / "out")
    assert str(caught.value).startswith(f"{run / 'identity.json'} does not describe a run of `drake eval`: ")
    assert where in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [("rank", 0), ("dropout", 1.5), ("alpha", -1.0)])
def test_a_number_of_the_identity_has_the_range_of_the_setting(run, tmp_path, name, value):
    identity = json.loads((run / "identity.json").read_text())
    identity["numbers"]["training"][name] = value
    change_identity(run, numbers=identity["numbers"])
    with pytest.raises(DrakeError, match=rf"numbers: .*{name} is {value}; it must be"):
        export(run, 0, tmp_path / "out")


def precious(tmp_path):
    """A folder of the user's that looks like one of encoded pictures."""
    models = tmp_path / "models/precious"
    models.mkdir(parents=True)
    (models / "model.safetensors").write_bytes(b"years of work")
    return tmp_path / "models"


def untouched(models) -> bool:
    file = models / "precious/model.safetensors"
    return [path.name for path in models.iterdir()] == ["precious"] and file.read_bytes() == b"years of work"


@pytest.mark.parametrize("how", ["--resume", "--config"])
def test_a_folder_for_encoded_pictures_is_not_taken_from_the_run(run, tmp_path, how):
    """It is written to, and files beyond its size are deleted."""
    models = precious(tmp_path)
    unfinished(run)
    change_config(run, {"execution.feature_cache": str(models), "execution.feature_cache_gb": 1e-9})
    command = ["--resume", run] if how == "--resume" else ["--config", run / "config.toml", "--out", tmp_path / "again"]
    found = CliRunner().invoke(cli.drake, ["eval", *map(str, command)])
    assert found.exception is None, found.exception
    note = f"Note: the run kept encoded pictures in {str(models)!r}; to use them, add --feature-cache.\n"
    assert note in found.output
    assert untouched(models)
    out = command[-1] if how == "--config" else run
    assert "feature_cache" not in configured(out)["execution"]


def test_a_folder_for_encoded_pictures_is_used_when_it_is_named_again(run, tmp_path):
    unfinished(run)
    change_config(run, {"execution.feature_cache": str(tmp_path / "a"), "execution.feature_cache_gb": 1e-9})
    found = CliRunner().invoke(cli.drake, ["eval", "--resume", str(run), "--feature-cache", str(tmp_path / "b")])
    assert found.exception is None, found.exception
    assert "Note:" not in found.output
    assert not (tmp_path / "a").exists()
    assert list((tmp_path / "b").glob("*/*.safetensors"))
    assert configured(run)["execution"]["feature_cache_gb"] == 20.0


def test_a_users_own_file_may_name_a_folder_for_encoded_pictures(run, tmp_path):
    change_config(run, {"execution.feature_cache": str(tmp_path / "features")})
    shutil.copy(run / "config.toml", tmp_path / "mine.toml")
    assert drake("eval", "--config", tmp_path / "mine.toml", "--out", tmp_path / "out") == ""
    assert list((tmp_path / "features").glob("*/*.safetensors"))


@pytest.mark.parametrize("place", ["events.jsonl", "checkpoints/seed-0/round-0001", "tensorboard", "predictions"])
def test_nothing_is_written_through_a_link_in_the_run(run, tmp_path, place):
    """A round's folder would be emptied when the next round is stored, events would be added to the file."""
    models = precious(tmp_path)
    unfinished(run)
    path = run / place
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(models / "precious/model.safetensors" if place == "events.jsonl" else models)
    error = drake("eval", "--resume", run)
    assert error.startswith(f"{path} is a symbolic link, and --resume writes nothing outside the run folder; ")
    assert untouched(models)


def test_the_method_of_a_folder_is_checked_before_anything_is_loaded(tmp_path):
    for name in (None, 3, ["sft"]):
        with pytest.raises(DrakeError, match="does not say which method it was made with"):
            registry.named_by_folder(tmp_path, name, None)
    with pytest.raises(UnknownName):
        registry.named_by_folder(tmp_path, "stf", None)
    assert registry.named_by_folder(tmp_path, "sft", None) == "sft"
    assert registry.named_by_folder(tmp_path, "no.such:Thing", "no.such:Thing") == "no.such:Thing"  # not looked at


def test_a_run_made_in_python_is_continued_by_the_command_line(micro_backbones, micro_data, tmp_path):
    config = configure(
        "sft", "quick", models=[micro_backbones["llama-4"]], data=micro_data, rounds=1, steps=1, micro_batch=1,
        eval_records=1, threads=1, engine="serial", device="cpu", clients=2, max_new_tokens=1,
    )  # fmt: skip
    evaluate(Setup(config), tmp_path / "run")
    before = (tmp_path / "run/results.json").read_bytes()
    assert drake("eval", "--resume", tmp_path / "run") == ""
    assert (tmp_path / "run/results.json").read_bytes() == before
