"""A run folder is not believed: no code that it names is imported, its options are checked like typed ones."""

import json
import shutil
import sys

import pytest
from click.testing import CliRunner

from drake import cli
from drake.errors import DrakeError, UnknownName
from drake.federation import registry
from drake.config import preset
from drake.runs import Settings, Setup, evaluate
from drake.tools.export import export

PAYLOAD = """
from pathlib import Path

from drake_baselines.sft import SFT

Path(__file__).with_name("it-ran").touch()

class Evil(SFT):
    pass
"""
EVIL = "run_folder_payload:Evil"


def drake(*arguments: object) -> str:
    """The sentence of a command that fails; "" of one that works."""
    found = CliRunner().invoke(cli.drake, [str(argument) for argument in arguments])
    if found.exception is None:
        return ""
    assert isinstance(found.exception, DrakeError), found.exception
    assert "\n" not in str(found.exception)
    return str(found.exception)


@pytest.fixture(scope="module")
def finished(micro_backbones, micro_data, tmp_path_factory):
    """A run of SFT over one round, by the command line."""
    folder = tmp_path_factory.mktemp("resuming") / "run"
    small = ("--rounds", 1, "--steps", 1, "--eval-records", 1, "--threads", 1, "--engine", "serial")
    common = ("--method", "sft", "--preset", "quick", "--models", micro_backbones["llama-4"], "--data", micro_data)
    assert drake("eval", *common, *small, "--out", folder) == ""
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


def change(run, file: str, **values) -> None:
    path = run / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_class_that_the_folder_names_is_not_imported(run, payload, tmp_path):
    change(run, "command.json", method=EVIL)
    change(run, "config.json", method=EVIL)
    exported = ("export", run, "--client", 0, "--out", tmp_path / "out")
    for command in (("eval", "--resume", run), exported):
        said = drake(*command)
        assert said.startswith(f"{run} names the method {EVIL!r}, and code is not imported because a folder names it")
        assert said.endswith("name it yourself, with --method.")
        for other in ("sft", "somewhere:Else"):
            sentence = f"{run} was made with the method {EVIL!r}, --method is {other!r}; they must be the same."
            assert drake(*command, "--method", other) == sentence
    assert not payload.exists()
    assert not (tmp_path / "out").exists()
    assert drake(*exported, "--method", EVIL) == ""
    assert payload.exists()
    assert (tmp_path / "out/adapter_model.safetensors").is_file()


def test_a_run_of_a_users_own_class_goes_on_where_it_is_named_again(
    run, payload, micro_backbones, micro_data, tmp_path
):
    own = tmp_path / "own"
    small = ("--rounds", 1, "--steps", 1, "--eval-records", 1, "--threads", 1, "--engine", "serial")
    common = ("--preset", "quick", "--models", micro_backbones["llama-4"], "--data", micro_data)
    assert drake("eval", "--method", EVIL, *common, *small, "--out", own) == ""
    results = (own / "results.json").read_bytes()
    (own / "results.json").unlink()
    assert "names the method" in drake("eval", "--resume", own)
    assert drake("eval", "--resume", own, "--method", EVIL) == ""
    again = json.loads((own / "results.json").read_text())
    assert again["runs"][0]["scores"] == json.loads(results)["runs"][0]["scores"]
    assert json.loads((own / "command.json").read_text())["method"] == EVIL


def test_a_registered_method_goes_on_as_it_was(run):
    before = (run / "results.json").read_bytes()
    assert drake("eval", "--resume", run) == ""
    assert drake("eval", "--resume", run, "--method", "sft") == ""
    assert (run / "results.json").read_bytes() == before
    sentence = f"{run} was made with the method 'sft', --method is 'ditto'; they must be the same."
    assert drake("eval", "--resume", run, "--method", "ditto") == sentence


@pytest.mark.parametrize("name", ["..evil:X", ":", "a:", ":X", "a:b:c", "a-b:X", "a..b:X", "a b:X", "a:X.Y", "a/b:X"])
def test_what_is_no_path_of_a_class_is_one_sentence(run, name):
    sentence = f"method {name!r} is neither a name of `drake methods` nor of the form package.module:Class; correct it."
    for ask in (registry.find, registry.check):
        with pytest.raises(DrakeError) as caught:
            ask(name)
        assert str(caught.value) == sentence
    for command in ("eval", "check-method"):
        assert drake(command, *(["--method"] if command == "eval" else []), name) == sentence
    change(run, "command.json", method=name)
    assert drake("eval", "--resume", run) == sentence


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"method": "stf"}, "unknown method 'stf'; did you mean 'sft'?"),
        ({"method": None}, "does not say which method it was made with"),
        ({"method": ["sft"]}, "gives 'method' a value that it cannot have (['sft'])"),
        ({"seeds": 3}, "gives 'seeds' a value that it cannot have (3)"),
        ({"seeds": None}, "gives 'seeds' a value that it cannot have (None)"),
        ({"rounds": "1"}, "gives 'rounds' a value that it cannot have ('1')"),
        ({"rounds": True}, "gives 'rounds' a value that it cannot have (True)"),
        ({"alpha": [0.5]}, "gives 'alpha' a value that it cannot have ([0.5])"),
        ({"pairs": "kept=1"}, "gives 'pairs' a value that it cannot have ('kept=1')"),
        ({"pairs": [1]}, "gives 'pairs' a value that it cannot have ([1])"),
        ({"engine": "rya"}, "gives 'engine' a value that it cannot have ('rya')"),
        ({"engine": ["ray"]}, "gives 'engine' a value that it cannot have (['ray'])"),
        ({"tensorboard": 1}, "gives 'tensorboard' a value that it cannot have (1)"),
        ({"data": {"path": "x"}}, "gives 'data' a value that it cannot have ({'path': 'x'})"),
        ({"out": "elsewhere"}, "has the unknown option 'out'"),
        ({"colour": 1}, "has the unknown option 'colour'"),
    ],
)
def test_an_option_that_nobody_could_have_typed_is_one_sentence(run, changes, sentence):
    change(run, "command.json", **changes)
    assert sentence in drake("eval", "--resume", run)


def test_a_missing_option_is_one_sentence(run):
    stored = json.loads((run / "command.json").read_text())
    for name in stored:
        (run / "command.json").write_text(json.dumps({key: value for key, value in stored.items() if key != name}))
        assert f"command.json lacks the option {name!r}: it is damaged or of another" in drake("eval", "--resume", run)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[]", "holds a JSON list where an object belongs; restore it."),
        ('"sft"', "holds a JSON str where an object belongs; restore it."),
        ("{", "cannot be read as JSON ("),
        ('{"method": "\\ud800"}', "cannot be read as JSON ("),
        ("[" * 100_000, "cannot be read as JSON ("),
        (" " * (17 << 20), "is larger than 16 MiB, so it is not what it should be."),
    ],
    ids=["list", "string", "cut off", "half a surrogate pair", "deep", "large"],
)
@pytest.mark.parametrize("file", ["command.json", "config.json"])
def test_a_file_that_holds_no_options_is_one_sentence(run, file, text, sentence):
    (run / file).write_text(text)
    command = ("eval", "--resume", run)
    if file == "config.json":
        command = ("export", run, "--client", 0, "--out", run / "out")
    said = drake(*command)
    assert said.startswith(f"{run / file} ")
    assert sentence in said


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
def test_a_config_that_no_run_has_is_one_sentence(run, tmp_path, changes, where):
    change(run, "config.json", **changes)
    with pytest.raises(DrakeError) as caught:
        export(run, 0, tmp_path / "out")
    assert str(caught.value).startswith(f"{run / 'config.json'} is no config of a run of `drake eval`: ")
    assert where in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_for_encoded_pictures_is_not_taken_from_the_run(run, tmp_path):
    """It is written to, and what is too much in it is deleted."""
    models = tmp_path / "models/precious"
    models.mkdir(parents=True)
    (models / "model.safetensors").write_bytes(b"years of work")
    (run / "results.json").unlink()
    shutil.rmtree(run / "predictions")
    shutil.rmtree(run / "checkpoints")
    change(run, "command.json", feature_cache=str(tmp_path / "models"), feature_cache_gb=1e-9)
    found = CliRunner().invoke(cli.drake, ["eval", "--resume", str(run)])
    assert found.exception is None, found.exception
    assert (
        f"the run kept encoded pictures in {str(tmp_path / 'models')!r}; to use them, add --feature-cache."
        in found.output
    )
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["precious"]
    assert (models / "model.safetensors").read_bytes() == b"years of work"


def test_the_method_of_a_folder_is_asked_for_before_anything_is_loaded(tmp_path):
    for name in (None, 3, ["sft"]):
        with pytest.raises(DrakeError, match="does not say which method it was made with"):
            registry.named_by_folder(tmp_path, name, None)
    with pytest.raises(UnknownName):
        registry.named_by_folder(tmp_path, "stf", None)
    assert registry.named_by_folder(tmp_path, "sft", None) == "sft"
    assert registry.named_by_folder(tmp_path, "no.such:Thing", "no.such:Thing") == "no.such:Thing"  # not looked at


def test_results_made_in_python_have_no_command_to_resume(micro_backbones, micro_data, tmp_path):
    chosen = preset("quick").with_(steps=1, micro_batch=1, eval_records=1)
    evaluate(Setup(Settings("sft", chosen, (micro_backbones["llama-4"],), micro_data, rounds=1)), tmp_path / "run")
    assert "holds no run that `drake eval` began" in drake("eval", "--resume", tmp_path / "run")
