"""--eval-tokens: a number, the preset's, or what fits; found once, kept, and no scores depend on it."""

import json

import pytest

from drake.config import configure, resolve
from drake.errors import DrakeError
from drake.runs import Setup, evaluate
from drake.runs.batch_size import settle


@pytest.fixture(scope="module")
def make(micro_backbones, micro_data):
    """eval_tokens -> a small SFT run that asks for it."""
    numbers = {"steps": 1, "micro_batch": 2, "eval_records": 2, "max_new_tokens": 4}
    models = (micro_backbones["llama-4"], micro_backbones["llama-6"])

    def setup(eval_tokens=None, models=models, folder=None, **changes) -> Setup:
        asked = numbers | {"rounds": 1, "device": "cpu"} | changes
        asked |= {} if eval_tokens is None else {"eval_tokens": eval_tokens}
        return Setup(configure("sft", "quick", models=models, data=micro_data, **asked), folder)

    return setup


def longest(setup: Setup) -> int:
    backbone = next(iter(setup.backbones.values()))
    places = [place for task in setup.tasks for place in setup.test_rows(task)]
    return max(backbone.prompt_length(setup.test_record(*place)) for place in places)


def test_a_number_is_taken_as_it_is_and_none_or_a_cpu_takes_the_presets(make, tmp_path):
    for asked, expected in ((None, 2048), ("auto", 2048), (300, 300)):
        setup = make(asked)
        assert setup.eval_tokens == dict.fromkeys(setup.backbones, expected)


def test_the_batch_is_doubled_while_it_fits_and_no_further_than_all_records(make, tmp_path):
    setup = make("auto")
    batches = []

    def fits(attempt):
        attempt()  # answers for real
        batches.append(attempt)
        return len(batches) % 3 != 0  # of each backbone two sizes fit

    found = settle(setup, tmp_path, fits)
    assert list(found.values()) == [4096, 4096]
    assert len(batches) == 6
    everything = settle(setup, tmp_path, lambda attempt: True)
    length, records = longest(setup), 40 * 2
    assert all(tokens // length >= records > tokens // 2 // length for tokens in everything.values())
    assert settle(setup, tmp_path, lambda attempt: False) == dict.fromkeys(setup.backbones, length)


def test_a_run_records_the_numbers_and_keeps_them_when_it_goes_on(make, tmp_path):
    setup = make("auto")
    found = dict(zip(setup.backbones, (4096, 8192), strict=True))
    (tmp_path / "identity.json").write_text(json.dumps({"eval_tokens": found}))
    assert settle(setup, tmp_path, lambda attempt: False) == found
    (tmp_path / "identity.json").write_text(json.dumps({"eval_tokens": {"another backbone": 1}}))
    assert settle(setup, tmp_path, lambda attempt: False) == dict.fromkeys(setup.backbones, longest(setup))


@pytest.mark.usefixtures("undrawn")
def test_scores_do_not_depend_on_the_batch_which_the_config_records(make, micro_backbones, tmp_path):
    small = {"models": (micro_backbones["llama-4"],), "eval_records": 1, "max_new_tokens": 2, "clients": 4}
    runs = {tokens: evaluate(make(tokens, **small), tmp_path / f"{tokens}") for tokens in (None, 200)}
    assert runs[200].runs[0].scores == runs[None].runs[0].scores
    assert runs[200].runs[0].zero_shot == runs[None].runs[0].zero_shot
    assert set(runs[200].config["eval_tokens"].values()) == {200}
    assert runs[200].config["numbers"] == runs[None].config["numbers"]  # one track of the leaderboard


def test_wrong_numbers_are_refused(make, tmp_path):
    asked = [resolve(pairs=[f"evaluation.tokens={text}"]).evaluation.tokens for text in ("auto", "512")]
    assert asked == ["auto", 512]
    with pytest.raises(DrakeError, match=r"evaluation\.tokens is 'many'; it must be a whole number or 'auto'"):
        resolve(pairs=["evaluation.tokens=many"])
    with pytest.raises(DrakeError, match=r"evaluation\.tokens is 0; it must be more than zero"):
        make(0)
    setup = make("auto")
    setup.device = "cuda"  # other processes have the GPUs
    with pytest.raises(DrakeError, match="needs the GPU in this process"):
        settle(setup, tmp_path)
