"""`drake eval --adapters`: adapters that PEFT made, or that `drake export` wrote, scored as a federation without
training."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from peft import LoraConfig, LoraModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlavaForConditionalGeneration

from drake.cli.main import drake
from drake.config import configure
from drake.errors import DrakeError
from drake.federation import adapters
from drake.federation.peft_folders import CONFIG, WEIGHTS, read_folder
from drake.models.checkpoints import WEIGHTS_FOLDER
from drake.results import load, score, verify
from drake.runs import Setup, evaluate
from drake.scoring.predictions import read_predictions
from drake.tools.export import export

TINY = "tiny-llama-s"
NUMBERS = {"eval_records": 2, "eval_records_others": 1, "max_new_tokens": 3, "eval_unseen": "none"}


def made(folder: Path, base: str, seed: int, **settings) -> Path:
    """An adapter with random factors, made and saved by PEFT alone."""
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration.from_pretrained(base)
    usual = {"r": 4, "lora_alpha": 8, "target_modules": r".*language_model.*(q_proj|down_proj)"}
    wrapped = get_peft_model(model, LoraConfig(**usual | settings))
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    wrapped.save_pretrained(str(folder))
    return folder


def foreign(base: str, folder: Path, clients: int = 10, **changes):
    """The settings of a run that scores the folder."""
    given = {"adapters": {"folder": str(folder)}, "models": [base], "seeds": [0], "device": "cpu", "engine": "serial"}
    return configure("adapters", "quick", **NUMBERS | given | {"clients": clients} | changes)


SHAPES = {
    "plain": {},
    "rslora": {"use_rslora": True, "r": 6},
    "patterns": {"rank_pattern": {"0.self_attn.q_proj": 2}, "alpha_pattern": {"q_proj": 3, "down_proj": 5.5}},
    "bias": {"lora_bias": True, "r": 3},
    "names": {
        "target_modules": ["gate_proj", "o_proj"],  # which the vision tower has not
        "init_lora_weights": "gaussian",
    },
}


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A folder of five adapters of different kinds on an embedded backbone."""
    root = tmp_path_factory.mktemp("several")
    for number, settings in enumerate(SHAPES.values()):
        made(root / f"client-{number}", str(WEIGHTS_FOLDER / TINY), number, **settings)
    return root


def test_every_kind_of_adapter_gives_the_logits_that_peft_gives(several, micro_data):
    from peft import PeftModel

    base = str(WEIGHTS_FOLDER / TINY)
    setup = Setup(foreign(TINY, several, 5, data=micro_data))
    worker = setup.worker(0)
    ids = torch.arange(5, 35).reshape(2, 15)
    bare = LlavaForConditionalGeneration.from_pretrained(base)(input_ids=ids).logits
    for client in setup.clients:
        model = worker.answer_as(client, worker.initial_state(client), None).eval()
        peft = PeftModel.from_pretrained(
            LlavaForConditionalGeneration.from_pretrained(base), several / f"client-{client.id}"
        ).eval()
        with torch.no_grad():
            expected = peft(input_ids=ids).logits
            torch.testing.assert_close(model(input_ids=ids).logits, expected, atol=1e-5, rtol=1e-5)
            adapters.fold_up_to(model, 0)  # two thin products, as on backbones of a real size
            torch.testing.assert_close(model(input_ids=ids).logits, expected, atol=1e-5, rtol=1e-5)
            adapters.fold_up_to(model, adapters.FOLDED_WIDTH)
        assert (expected - bare).abs().max() > 0.05


@pytest.fixture(scope="module")
def trained(micro_backbones, micro_data, tmp_path_factory):
    """(folder, results) of SFT on two sizes, and the folder of all its exported adapters."""
    root = tmp_path_factory.mktemp("trained")
    models = [micro_backbones["llama-4"], micro_backbones["llama-6"]]
    fixed = {"models": models, "data": micro_data, "device": "cpu", "engine": "serial", "seeds": [0], "clients": 4}
    numbers = {"rounds": 1, "steps": 1, "micro_batch": 1, "learning_rate": 0.3}
    results = evaluate(Setup(configure("sft", "quick", **NUMBERS | fixed | numbers)), root / "run")
    for client in results.clients:
        export(root / "run", client.id, root / "exported" / f"client-{client.id}")
    return root / "run", results, root / "exported"


def answers(run: Path) -> dict:
    rows = read_predictions(run / "predictions/seed-0/point-1.parquet")
    return {(row.client, row.id): row.text for row in rows}


def test_exported_adapters_give_the_answers_of_the_runs_last_point(trained, micro_data, tmp_path):
    run, results, exported = trained
    shutil.copytree(exported, tmp_path / "adapters")
    names = ",".join(results.models.names)
    asked = ["eval", "--adapters", tmp_path / "adapters", "--preset", "quick", "--models", names, "--data", micro_data]
    asked += ["--eval-records", 2, "--eval-records-others", 1, "--eval-unseen", "none", "--device", "cpu"]
    asked += ["--set", "evaluation.max_new_tokens=3", "--engine", "serial", "--clients", 4, "--out", tmp_path / "again"]
    shown = CliRunner().invoke(drake, list(map(str, asked)), catch_exceptions=False)
    assert shown.exit_code == 0
    found = load(tmp_path / "again")
    assert answers(tmp_path / "again") == answers(run)
    assert len(answers(run)) == 4 * (4 * 2 + 12)
    (seed,), (before,) = found.runs, results.runs
    for protocol in ("official", "strict"):
        assert seed.scores[protocol] == before.scores[protocol]
        for name in ("self_last", "others_last", "clients_last"):
            assert getattr(seed.summary[protocol], name) == getattr(before.summary[protocol], name)
        assert seed.summary[protocol].self_auc is seed.summary[protocol].others_auc is None
        assert before.summary[protocol].self_auc is not None
    assert (found.method.name, found.method.local_steps) == ("adapters", 0)
    assert (seed.traffic, seed.flops, seed.train_loss) == ([], None, [])
    assert len(set(found.config["adapters"])) == 4
    assert score(tmp_path / "again", micro_data).runs == found.runs
    verify(tmp_path / "again", micro_data)
    resumed = CliRunner().invoke(drake, ["eval", "--resume", str(tmp_path / "again")], catch_exceptions=False)
    assert resumed.exit_code == 0
    changed = load_file(tmp_path / "adapters/client-3" / WEIGHTS)
    save_file({name: 2 * tensor for name, tensor in changed.items()}, tmp_path / "adapters/client-3" / WEIGHTS)
    with pytest.raises(DrakeError, match="already holds another run"):
        CliRunner().invoke(drake, ["eval", "--resume", str(tmp_path / "again")], catch_exceptions=False)


def test_they_stand_in_a_track_of_their_own_with_no_costs(trained, micro_data, tmp_path):
    from drake_leaderboard.entries import row

    _, results, exported = trained
    setup = Setup(foreign("", exported, 4, data=micro_data, models=results.models.names))
    config = json.loads(json.dumps(setup.identity()))
    run = results.runs[0].model_copy(update={"train_loss": []})
    found = row(results.model_copy(update={"config": config, "runs": [run]}), "adapters")
    assert found.track != row(results, "sft").track
    assert found.track._replace(numbers="") == row(results, "sft").track._replace(numbers="")
    assert found.upload is None


def test_one_folder_may_serve_several_clients(several, micro_data, tmp_path):
    root = tmp_path / "shared"
    shutil.copytree(several / "client-0", root / "mean")
    (root / "adapters.toml").write_text('clients = ["mean", "mean", "mean"]')
    setup = Setup(foreign(TINY, root, 3, data=micro_data))
    worker = setup.worker(0)
    first, last = (worker.initial_state(setup.clients[i]) for i in (0, 2))
    assert all(torch.equal(first[name], last[name]) for name in first)
    assert setup.rounds == 1
    assert sorted(setup.begun(1)) == sorted(setup.tasks)


@pytest.fixture
def one(several, tmp_path):
    """A folder with a single adapter, to spoil."""
    shutil.copytree(several / "client-0", tmp_path / "one/client-0")
    return tmp_path / "one"


def spoilt_config(**values):
    def spoil(folder):
        path = folder / "client-0" / CONFIG
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return spoil


def spoilt_tensors(change):
    def spoil(folder):
        path = folder / "client-0" / WEIGHTS
        save_file(change(load_file(path)), path)

    return spoil


def renamed(old, new):
    return spoilt_tensors(lambda found: {name.replace(old, new): tensor for name, tensor in found.items()})


def only_pickle(folder):
    (folder / "client-0" / WEIGHTS).unlink()
    torch.save({}, folder / "client-0/adapter_model.bin")


FIRST = "base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (only_pickle, "a pickle, which can run code"),
        (lambda folder: (folder / "client-0" / WEIGHTS).write_bytes(b"\xff" * 64), "cannot be read as safetensors"),
        (lambda folder: (folder / "client-0" / CONFIG).unlink(), "adapter_config.json is no file"),
        (lambda folder: shutil.move(folder / "client-0", folder / "alice"), "has no folder client-0 for the 1 clients"),
        (
            lambda folder: shutil.copytree(folder / "client-0", folder / "client-1"),
            "client-1, but the clients are 0",
        ),
        (lambda folder: (folder / "adapters.toml").write_text('clients = ["../x"]'), "name folders below"),
        (lambda folder: (folder / "adapters.toml").write_text("clients = []"), "names 0 folders for 1 clients"),
        (spoilt_config(use_dora=True), "uses DoRA, so the model is no sum"),
        (spoilt_config(modules_to_save=["lm_head"]), r"whole modules that were trained \(modules_to_save\)"),
        (spoilt_config(of_the_future={"x": 1}), "uses 'of_the_future'"),
        (spoilt_config(peft_type="IA3"), "describes a 'IA3' adapter"),
        (spoilt_config(init_lora_weights="pissa"), "which changes the backbone's own weights"),
        (spoilt_config(alpha_pattern={"(a+)+$": 1}), "the regular expression"),
        (spoilt_config(lora_alpha="8"), "needs whole r and a number lora_alpha"),
        (spoilt_config(r=5), "has rank 4 in the layer .*, which adapter_config.json does not name"),
        (spoilt_config(base_model_name_or_path="somebody/other"), "belongs to the backbone 'somebody/other', client 0"),
        (renamed("language_model.layers.0", "vision_tower.layers.0"), "no linear layer of the text model"),
        (renamed("lora_A", "lora_magnitude_vector"), "which is no factor of a LoRA on a linear layer"),
        (renamed("layers.0.self_attn.q", "layers.99.self_attn.q"), "layer 99.self_attn.q_proj, which .* has not"),
        (spoilt_tensors(lambda found: {n: t for n, t in found.items() if n != FIRST}), "lacks the factor A"),
        (
            spoilt_tensors(lambda found: found | {FIRST: torch.zeros(4, 7)}),
            r"shape \[4, 7\], tiny-llama-s needs \[4, 64\]",
        ),
        (spoilt_tensors(lambda found: found | {FIRST: torch.zeros(4, 64, dtype=torch.int32)}), "as I32"),
        (spoilt_tensors(lambda found: found | {FIRST: torch.full((4, 64), np.nan)}), "holds NaN or infinity"),
    ],
)
def test_what_cannot_be_scored_is_one_sentence(one, micro_data, spoil, sentence):
    spoil(one)
    with pytest.raises(DrakeError, match=sentence):
        begun(foreign(TINY, one, 1, data=micro_data))


def begun(settings):
    """The state with which the first client begins."""
    worker = Setup(settings).worker(0)
    return worker.initial_state(worker.federation.clients[0])


def test_settings_of_training_are_refused(one, micro_data):
    with pytest.raises(DrakeError, match="name one in --seeds"):
        Setup(foreign(TINY, one, 1, data=micro_data, seeds=[0, 1]))
    with pytest.raises(DrakeError, match="adapters trains nobody; leave --participation"):
        Setup(foreign(TINY, one, 1, data=micro_data, late_clients="0=1"))
    with pytest.raises(DrakeError, match="name it with --adapters"):
        Setup(configure("adapters", "quick", models=[TINY], seeds=[0], data=micro_data))
    refused = CliRunner().invoke(drake, ["eval", "--adapters", str(one), "--steps", "3"])
    assert str(refused.exception) == "--adapters trains nothing; leave --steps out."


def test_a_backbone_of_another_name_is_warned_of_where_that_was_asked(one, micro_data):
    spoilt_config(base_model_name_or_path="somebody/other")(one)
    with pytest.warns(UserWarning, match="belongs to the backbone 'somebody/other', client 0 has"):
        Setup(foreign(TINY, one, 1, data=micro_data, adapters={"folder": str(one), "any_base": True}))
    spoilt_config(base_model_name_or_path=None)(one)
    with pytest.warns(UserWarning, match="does not say which backbone it belongs to"):
        Setup(foreign(TINY, one, 1, data=micro_data))
    spoilt_config(base_model_name_or_path=f"/home/alice/{TINY}")(one)
    assert Setup(foreign(TINY, one, 1, data=micro_data)).identity()["adapters"] == [
        read_folder(one / "client-0").digest
    ]


def test_older_names_of_the_same_tensors_are_read(several):
    """Of transformers 4.47, of a text model alone, and with the adapter's name in them."""
    folder = read_folder(several / "client-0")
    expected = folder.factors()
    for old, new in (
        ("model.language_model.layers", "language_model.model.layers"),
        ("model.language_model.layers", "model.layers"),
        ("model.language_model.layers", "model.text_model.layers"),
        (".weight", ".default.weight"),
    ):
        save_file({n.replace(old, new): t for n, t in load_file(folder.path / WEIGHTS).items()}, several / WEIGHTS)
        shutil.copy(folder.path / CONFIG, several)
        found = read_folder(several).factors()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[place].down, expected[place].down) for place in found)


def test_peft_and_drake_agree_on_what_a_pattern_names():
    """The rule by which alpha_pattern names modules, against PEFT's own."""
    from peft.utils.other import get_pattern_key

    from drake.federation.peft_folders import _matches

    names = ["model.layers.0.self_attn.q_proj", "layers.0.self_attn.q_proj", "0.self_attn.xq_proj"]
    for pattern in ["q_proj", "self_attn.q_proj", "^layers.0.self_attn.q_proj", "^q_proj", "proj"]:
        for name in names:
            assert _matches(pattern, name) == (get_pattern_key([pattern], name) == pattern), (pattern, name)
    assert LoraModel.prefix == "lora_"
