"""One configuration: what each source says, which of them wins, and a sentence for whatever is wrong."""

import pickle
from dataclasses import FrozenInstanceError, asdict, fields
from pathlib import Path

import pytest

from drake.cli.settings_page import table
from drake.config import configure, preset, presets, resolve
from drake.config.file import write
from drake.config.schema import FLAGS, Training, known_settings
from drake.errors import DrakeError


@pytest.fixture
def file(tmp_path):
    """Text -> the path of a configuration file that holds it."""

    def written(text: str) -> Path:
        path = tmp_path / "my.toml"
        path.write_text(text)
        return path

    return written


def test_a_stronger_source_wins_and_what_it_does_not_say_stays(file):
    path = file('method = "sft"\npreset = "quick"\n[training]\nrank = 3\nsteps = 5\n[evaluation]\nrecords = 7')
    config = resolve(path, {"rank": 4, "eval_records": 9}, ["training.rank=6"])
    assert (config.method, config.preset) == ("sft", "quick")
    assert (config.training.rank, config.evaluation.records, config.training.steps) == (6, 9, 5)
    assert config.training.micro_batch == presets()["quick"].training.micro_batch == 8
    assert resolve(path, {"preset": "paper"}).training.learning_rate == 2e-5  # under the file
    assert resolve(path).training.rank == 3


def test_text_and_typed_values_give_the_same(file):
    typed = configure("sft", "quick", seeds=[0, 1, 2], rank=4, execution={"workers": 2, "engine": "ray"}, deadline=1.5)
    pairs = [
        "seeds=0-2",
        "training.rank=4",
        "execution.workers=2",
        "execution.engine=ray",
        "participation.deadline=1.5",
    ]
    assert resolve(flags={"method": "sft", "preset": "quick"}, pairs=pairs) == typed
    again = file("seeds = [0, 1, 2]\n[training]\nrank = 4\n[execution]\nworkers = 2\nengine = 'ray'")
    assert resolve(again, {"method": "sft", "preset": "quick", "deadline": 1.5}) == typed
    assert configure("sft", "quick", **{"training.rank": 4}) == configure("sft", "quick", training={"rank": 4})
    assert resolve(again, pairs=["execution.workers=none"]).execution.workers is None


@pytest.mark.parametrize(
    ("pair", "sentence"),
    [
        ("training.rnak=3", "unknown setting 'training.rnak' (--set 'training.rnak=3'); did you mean 'training.rank'?"),
        ("trainig.rank=3", "unknown setting 'trainig.rank' (--set 'trainig.rank=3'); did you mean 'training.rank'?"),
        ("dito.penalty=3", "unknown setting 'dito.penalty' (--set 'dito.penalty=3'); did you mean 'ditto.penalty'?"),
        ("training.rank=0", "--set training.rank is 0; it must be more than 0 and at most 8192."),
        ("training.rank=x", "--set training.rank is 'x'; it must be a whole number."),
        ("training.rank=2.5", "--set training.rank is '2.5'; it must be a whole number."),
        ("training.learning_rate=nan", "--set training.learning_rate is 'nan'; it must be a finite number."),
        ("training.dropout=1", "--set training.dropout is 1.0; it must be at least 0 and below 1."),
        ("execution.compile=maybe", "--set execution.compile is 'maybe'; it must be true or false."),
        ("execution.dtype=float8", "unknown value of --set execution.dtype 'float8'; did you mean 'float32'?"),
        ("participation.share=0", "--set participation.share is 0.0; it must be more than 0 and at most 1."),
        ("execution.gpu_share=half", "--set execution.gpu_share 'half' is not of the form llama1b=0.25,llama3b=0.5."),
        ("penalty=x", "--set penalty is 'x'; it must be a number."),
        ("ditto.penaltie=1", "--set ditto.penaltie: unknown option 'penaltie'; did you mean 'penalty'?"),
        ("fedmosaic.kept=0.2", "--set 'fedmosaic.kept=0.2' is an option of 'fedmosaic', but the method is 'ditto'."),
        ("training.rank", "--set 'training.rank' is not of the form NAME=VALUE, such as training.rank=16."),
        (
            "preset=official",
            "--set 'preset=official' names no preset of runs; for one of the method: --set ditto.preset=official.",
        ),
        ("seeds=1,1", "a seed is named twice in 1, 1; name each once."),
        ("execution.workers=2", "--workers is for --engine processes and ray; add one or leave it out."),
    ],
)
def test_what_is_wrong_with_a_pair_is_one_sentence_that_names_it(pair, sentence):
    with pytest.raises(DrakeError) as raised:
        resolve(flags={"method": "ditto"}, pairs=[pair])
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "[training]\nrnak = 3",
            "unknown setting 'training.rnak' (training.rnak in {}); did you mean 'training.rank'?",
        ),
        ("rank = 3", "unknown setting 'rank' (rank in {}); did you mean 'training.rank'?"),
        ("[trainng]\nrank = 3", "unknown setting 'trainng.rank' (trainng.rank in {}); did you mean 'training.rank'?"),
        ("[training]\nrank = true", "training.rank in {} is True; it must be a whole number."),
        ("[data]\npath = 3", "data.path in {} is 3; it must be text."),
        ("[ditto]\npenalty = 'high'", "ditto.penalty in {} is 'high'; it must be a number."),
        ("seeds = ['a']", "seeds in {} is 'a'; it must be a whole number."),
        ("models = 3", "models in {} is 3; it must be a list of names."),
        ("rank = ", "{} is no valid TOML file (Invalid value (at end of document)); correct it."),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence_that_names_it(file, text, sentence):
    path = file(text)
    with pytest.raises(DrakeError) as raised:
        resolve(path, {"method": "ditto"})
    assert str(raised.value) == sentence.format(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DrakeError, match=r"no\.toml is no file"):
        resolve(tmp_path / "no.toml")


def test_options_of_the_method_are_typed_and_those_of_others_in_a_file_are_left_alone(file):
    path = file("[ditto]\npenalty = 1\n[fedmosaic]\nkept = 0.2")
    options = resolve(path, {"method": "ditto"}, ["ditto.average_personal=yes"]).method_options
    assert options == {"penalty": 1.0, "average_personal": True}
    assert resolve(path, {"method": "fedmosaic"}, ["kept=0.3"]).method_options["kept"] == 0.3
    assert resolve(path, {"method": "sft"}).method_options == {}


def test_a_preset_of_the_method_replaces_the_files_options_but_not_those_of_drakes_preset(file):
    path = file("[fedmosaic]\ngate = 'fixed'\nkept = 0.2")
    options = resolve(path, {"method": "fedmosaic", "preset": "quick"}, ["fedmosaic.preset=official"]).method_options
    assert (options["gate"], options["kept"], options["gradient_every"]) == ("input", 0.4, 8)
    assert "preset" not in options


def test_a_number_of_rounds_and_rounds_per_task_exclude_each_other_and_the_stronger_source_counts(file):
    path = file("rounds = 2")
    assert resolve(path).rounds == 2
    assert resolve(path, {"rounds_per_task": 3.0}).rounds is None
    assert resolve(path, {"rounds_per_task": 3.0}).rounds_per_task == 3
    assert resolve(path).with_(rounds_per_task=4).rounds is None


def test_a_config_is_written_as_a_file_that_makes_it_again(tmp_path):
    settings = {"rounds": 3, "seeds": [4, 2], "data": "some folder", "learning_rate": 1e-5, "deadline": 2}
    settings |= {"eval_tokens": "auto", "engine": "ray", "gpu_share": {"tiny-llama-s": 0.25}}
    config = configure("fedmosaic", "quick", fedmosaic={"gate": "input"}, **settings)
    write(config, tmp_path / "config.toml")
    again = resolve(tmp_path / "config.toml")
    assert {**asdict(again), "rounds_per_task": None} == {**asdict(config), "rounds_per_task": None}
    assert pickle.loads(pickle.dumps(config)) == config


def test_a_config_never_changes():
    config = preset("quick")
    with pytest.raises(FrozenInstanceError):
        config.training.rank = 3
    changed = config.with_(rank=3, training={"steps": 9}, **{"evaluation.records": 1})
    assert (changed.training.rank, changed.training.steps, changed.evaluation.records) == (3, 9, 1)
    assert config.training.rank == 8
    with pytest.raises(DrakeError, match="its options, the preset and the benchmark are chosen when a Config is made"):
        config.with_(method="sft")


def test_a_file_may_not_name_code_to_import_and_the_command_line_may(file, monkeypatch):
    imported = []
    monkeypatch.setattr("drake.federation.registry.import_module", lambda name: imported.append(name))
    path = file('method = "evil_module:Evil"')
    with pytest.raises(DrakeError, match="not imported because a file names it; if you trust that code, name it"):
        resolve(path)
    with pytest.raises(DrakeError, match="code is not imported because a file names it"):
        configure(file=path)
    assert imported == []
    with pytest.raises(DrakeError, match="cannot be imported"):
        resolve(path, {"method": "evil_module:Evil"})
    assert imported == ["evil_module"]


def test_every_preset_gives_every_number_that_has_no_default():
    assert set(presets()) == {"quick", "mini", "paper"}
    for config in presets().values():
        assert {one.name for one in fields(Training)} == asdict(config.training).keys()
        assert config.models
    assert preset("paper").training.rank == 128


def test_a_run_is_evaluated_as_the_official_code_does_unless_it_is_told_otherwise():
    assert {config.evaluation.at for config in presets().values()} == {"trained"}


def test_short_names_stand_for_settings_and_none_hides_one():
    assert set(FLAGS.values()) <= set(known_settings())
    assert not set(FLAGS) & {name for name in known_settings() if "." not in name}


def test_the_page_lists_every_setting_as_it_is():
    page = (Path(__file__).parents[2] / "docs/configuration.md").read_text()
    assert page.endswith(table() + "\n")
    assert all(known.setting.meaning.endswith((".", "]")) for known in known_settings().values())


def test_a_presets_records_for_others_give_way_to_fewer_of_a_clients_own():
    assert preset("quick").evaluation.records_others == 2
    assert configure("sft", "quick", eval_records=1).evaluation.records_others is None
    assert preset("quick").with_(eval_records=1).evaluation.records_others is None
    assert configure("sft", "quick", eval_records=5).evaluation.records_others == 2
    with pytest.raises(DrakeError, match="--eval-records-others is 2; it must be at most --eval-records, which is 1"):
        configure("sft", "quick", eval_records=1, eval_records_others=2)
