"""Shared by all rooms: micro backbones (ordinary checkpoint folders) and a small built dataset, made once."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

pytest_plugins = ("fabricated_runs",)

# Micro models gain nothing from a second thread and lose much to it on a busy machine; commands inherit this.
os.environ.setdefault("OMP_NUM_THREADS", "1")

TESTS = Path(__file__).parent


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of inputs and outputs computed with the official code (tests/golden/SOURCE.md)."""
    return TESTS / "golden"


@pytest.fixture(scope="session")
def release_layout() -> Path:
    """A small dataset with real pictures in the layout of the official release (its SOURCE.md says from where)."""
    return TESTS / "fixtures" / "release_layout"


@pytest.fixture(scope="session")
def micro_backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Short name -> checkpoint folder: llama with 4 layers, llama with 6 wider ones, qwen with 4; random weights."""
    from drake.common.seeds import python_random
    from drake.data.sources.mini.public import public_draft
    from drake.data.sources.mini.worlds import all_worlds
    from drake.models.tiny import Shape, new_model, new_processor, new_tokenizer

    rng = python_random(0, "micro texts")
    drafts = [public_draft(world, rng) for world in all_worlds().values() for _ in range(20)]
    texts = [f"{draft.prompt} {draft.answer}" for draft in drafts]
    shapes = {
        "llama-4": Shape("llama", 4, 32, 64),
        "llama-6": Shape("llama", 6, 48, 96),
        "qwen-4": Shape("qwen", 4, 32, 64),
    }
    root = tmp_path_factory.mktemp("backbones")
    folders = {}
    for name, shape in shapes.items():
        tokenizer = new_tokenizer(shape.family, texts)
        new_model(shape, tokenizer, seed=0).save_pretrained(root / name)
        new_processor(shape.family, tokenizer).save_pretrained(root / name)
        folders[name] = str(root / name)
    return folders


@pytest.fixture(scope="session")
def text_checkpoint(micro_backbones: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Name of a micro backbone -> the folder of its language model alone, as `AutoModelForCausalLM` saves one."""

    @cache
    def saved(name: str) -> str:
        from transformers import AutoModelForCausalLM, AutoTokenizer, LlavaForConditionalGeneration

        folder = tmp_path_factory.mktemp("text") / name
        llava = LlavaForConditionalGeneration.from_pretrained(micro_backbones[name])
        text = AutoModelForCausalLM.from_config(llava.config.text_config)
        text.model.load_state_dict(llava.model.language_model.state_dict())
        text.lm_head.load_state_dict(llava.lm_head.state_dict())
        text.generation_config = llava.generation_config
        text.save_pretrained(folder)
        AutoTokenizer.from_pretrained(micro_backbones[name]).save_pretrained(folder)
        if not (folder / "chat_template.jinja").exists():
            (folder / "chat_template.jinja").write_text(
                (Path(micro_backbones[name]) / "chat_template.jinja").read_text()
            )
        return str(folder)

    return saved


@pytest.fixture(scope="session")
def micro_data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A mini suite of 12 train and 4 test records a task."""
    from drake.data.building import build

    folder = tmp_path_factory.mktemp("data") / "micro"
    return str(build("mini", "dynamic", folder, train=12, test=4, public_per_world=4, workers=1))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in the test itself draw no curves.png, a tenth of a short run; those of module fixtures do."""
    monkeypatch.setattr("drake.results.plots.curves", lambda results, path: None)


@pytest.fixture(scope="session")
def data_without_public(micro_data: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same dataset without its public records, as a built release is."""
    import shutil

    from drake.data.manifest import MANIFEST, fingerprint, legacy_fingerprint, read_manifest

    folder = tmp_path_factory.mktemp("data") / "without-public"
    shutil.copytree(micro_data, folder)
    shutil.rmtree(folder / "data/public")
    manifest = read_manifest(folder)
    files = {name: entry for name, entry in manifest.files.items() if not name.startswith("data/public/")}
    new = {
        "files": files,
        "public": 0,
        "fingerprint": fingerprint(files.items(), manifest.clients),
        "legacy_fingerprint": legacy_fingerprint(files.items()),
    }
    (folder / MANIFEST).write_text(manifest.model_copy(update=new).model_dump_json())
    return str(folder)
