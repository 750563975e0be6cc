"""Reconstruction from raw sources: what each format becomes, train apart from test, and the seed."""

import json

import pytest
from raw_samples import ALL, FIXTURES, by_text, drawn, found, lines, raw_folder

from drake.data.building import build
from drake.data.manifest import read_manifest
from drake.data.oracle import check_record, gold_wins
from drake.data.sources.raw.source import RawSource


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """A folder with all data sets; tests only read it."""
    return raw_folder(tmp_path_factory.mktemp("raw"), *ALL)


EXPECTED = {
    "NLVR2-0": (24, 6, {2}),
    "NLVR2-1": (24, 6, {2}),
    "NLVR-0": (24, 6, {1}),
    "VSR-0": (40, 20, {1}),
    "CIRR-0": (32, 8, {2}),
    "imagecode-0": (46, 15, {4}),
    "COMICS_Dialogue-0": (24, 6, {3}),
    "WCVQA-0": (13, 2, {1}),
    "WCVQA-1": (13, 2, {1}),
    "WCVQA-2": (10, 5, {1}),
    "WCVQA-3": (12, 3, {1}),
    "Mantis_contrastive_caption-0": (7, 2, {2, 3, 4}),
    "AQUA-0": (10, 4, {1}),
    "AQUA-3": (4, 2, {1}),
    "IRFL-0": (72, 18, {1}),
    "IRFL-1": (24, 6, {4}),
    "IRFL-2": (48, 12, {4}),
    "IRFL-3": (72, 18, {1}),
    "MagicBrush-0": (12, 4, {2}),
    "DreamSim-0": (6, 2, {3}),
}
"""Task -> records of train and of test with seed 0, and how many pictures they have."""


def test_every_task_gets_its_records_and_those_that_get_none_are_left_out(everything):
    source = RawSource(str(everything))
    assert source.tasks() == dict.fromkeys(sorted(EXPECTED), ("train", "test"))
    for task, (train, test, pictures) in EXPECTED.items():
        records = {split: list(source.records(task, split)) for split in ("train", "test")}
        assert (len(records["train"]), len(records["test"])) == (train, test), task
        assert {len(record.images) for of_split in records.values() for record in of_split} == pictures, task


def test_every_record_is_sound_and_its_gold_answer_can_win(everything):
    source = RawSource(str(everything))
    for task in source.tasks():
        for split in ("train", "test"):
            for number, record in enumerate(source.records(task, split)):
                check_record(split, record)
                assert record.id == f"{task}/{split}/raw-{number:06d}"
                assert (record.task, record.metric) == (task, "accuracy")
                assert gold_wins(record, "official"), record
                assert gold_wins(record, "strict"), record


@pytest.mark.parametrize("seed", [0, 3])
def test_no_picture_of_train_is_in_test(everything, seed):
    """The drawn pictures differ by file name, those of NLVR are real."""
    source = RawSource(str(everything), seed=seed)
    shown: dict[str, dict[str, set[bytes]]] = {}
    for task, splits in source.tasks().items():
        for split in splits:
            of_source = shown.setdefault(task.rpartition("-")[0], {"train": set(), "test": set()})
            of_source[split].update(image for record in source.records(task, split) for image in record.images)
    for name, of_source in shown.items():
        assert of_source["train"]
        assert of_source["test"]
        assert of_source["train"].isdisjoint(of_source["test"]), name


def test_nlvr2(everything):
    records = [r for n in (0, 1) for split in ("train", "test") for r in found(everything, f"NLVR2-{n}", split)]
    record = by_text(records, "A rolling pin is rolling out dough")
    assert record.prompt.endswith(
        "\n<image><image>\nRelation: A rolling pin is rolling out dough in at least one of the pictures."
        "\nChoice list:[True, False]. Your answer is:"
    )
    assert (record.choices, record.answer) == (("True", "False"), "False")
    assert record.images == (drawn("dev/dev-227-1-img0.png"), drawn("dev/dev-227-1-img1.png"))
    assert record.category == "Visual Relation"
    assert len({record.prompt for record in records}) == 60  # the two tasks share no entry


def test_nlvr_with_its_real_pictures(everything):
    records = found(everything, "NLVR-0", "train") + found(everything, "NLVR-0", "test")
    record = by_text(records, "Each grey box contains atleast one yellow object")
    assert record.answer == "True"
    real = FIXTURES / "release_layout/dataset/NLVR2/images/dev-1572-0-0.png"
    assert record.images == (real.read_bytes(),)


def test_vsr_keeps_its_own_division(everything):
    record = by_text(found(everything, "VSR-0", "train"), "The cake is next to the person.")
    assert record.prompt == (
        "Decide whether the caption states the position of the things in the image correctly.\n<image>\n"
        "Caption: The cake is next to the person.\nChoice list:[True, False]. Your answer is:"
    )
    assert (record.answer, record.images) == ("True", (drawn("000000558388.jpg"),))
    test = {row["caption"] for row in lines(everything / "VSR/test.jsonl")}
    assert {r.prompt.split("Caption: ")[1].split("\n")[0] for r in found(everything, "VSR-0", "test")} == test


def test_cirr_has_as_many_false_records_as_true_ones_of_both_kinds(everything):
    rows = {row["caption"]: row for row in json.loads((everything / "CIRR/captions/cap.rc2.val.json").read_text())}
    records = found(everything, "CIRR-0", "train")
    kinds = []
    for record in records:
        row = rows[record.prompt.split("Caption: ")[1].split("\n")[0]]
        reference, target = (drawn(f"dev/{row[name]}.png") for name in ("reference", "target_hard"))
        others = {drawn(f"dev/{name}.png") for name in row["img_set"]["members"]} - {reference, target}
        swapped = record.images == (target, reference)
        wrong = record.images[0] == reference and record.images[1] in others
        assert (record.images == (reference, target)) == (record.answer == "True")
        assert swapped or wrong or record.answer == "True"
        kinds.append("swapped" if swapped else "wrong" if wrong else "true")
    assert (kinds.count("true"), kinds.count("swapped"), kinds.count("wrong")) == (16, 8, 8)


def test_imagecode_shows_four_pictures_of_a_set_of_ten(everything):
    record = by_text(
        found(everything, "imagecode-0", "train") + found(everything, "imagecode-0", "test"), "A ball is going through"
    )
    name = "MSR-VTT-videoTestVideo_video7168-shot1_1"
    pictures = [drawn(f"{name}/img{number}.jpg") for number in range(10)]
    assert len(set(record.images)) == 4
    assert set(record.images) <= set(pictures)
    assert record.images[record.choices.index(record.answer)] == pictures[5]
    assert record.choices == ("Image A", "Image B", "Image C", "Image D")


def test_comics_adds_a_fourth_answer_of_another_book(everything):
    record = by_text(
        found(everything, "COMICS_Dialogue-0", "train") + found(everything, "COMICS_Dialogue-0", "test"),
        "you come with me , spirit !",
    )
    assert record.images == tuple(drawn(f"2946/4_{panel}.jpg") for panel in (1, 2, 3))
    options = dict(option.split(": ", 1) for option in record.prompt.split("[")[1].split("]")[0].split("| "))
    assert options[record.answer] == "you too short to walk you drown deep here !"
    assert list(options) == ["A", "B", "C", "D"]
    assert len(set(options.values())) == 4


def test_worldcuisines_asks_the_questions_of_its_files_by_prompt_type(everything):
    records = found(everything, "WCVQA-2", "train") + found(everything, "WCVQA-2", "test")
    record = by_text(records, "I hate this food that I ate at a Bolivian restaurant.")
    assert record.prompt.startswith("<image>\nI hate this food")
    assert record.prompt.endswith("\n\nPrint only the answer with a single answer id (1,2,3,4,5).")
    assert (record.answer, record.images) == ("4", (drawn("Chipa_so'o_(closeup).jpg"),))


def test_mantis_takes_questions_whose_answer_names_one_picture(everything):
    records = [r for split in ("train", "test") for r in found(everything, "Mantis_contrastive_caption-0", split)]
    answers = {record.prompt.split("Picture ")[1][0]: record.answer for record in records}
    assert answers == {str(number): "Image 1" if number % 3 == 0 else "Image 2" for number in range(9)}
    record = by_text(records, "Picture 1,")
    assert record.prompt == (
        "<image><image><image>\nWhich image is meant?\nPicture 1, a box. You must choose your answer from the Choice "
        "List.\nChoice list:[Image 1, Image 2, Image 3]. Your answer is:"
    )


def test_aqua_goes_by_words_of_the_question_and_leaves_out_knowledge_of_art(everything):
    records = [r for split in ("train", "test") for r in found(everything, "AQUA-0", split)]
    assert all("stand" in record.prompt for record in records)
    record = by_text(records, "what do a couple of people stand on?")
    assert (record.answer, record.images) == ("field", (drawn("31738-01figure.jpg"),))
    external = [
        row for row in json.loads((everything / "AQUA/test.json").read_text()) if row["need_external_knowledge"]
    ]
    assert len(external) == 20
    source = RawSource(str(everything), tasks="AQUA")
    every = [r.prompt for task in source.tasks() for split in ("train", "test") for r in source.records(task, split)]
    assert not any(row["question"] in prompt for row in external for prompt in every)


def test_irfl_divides_by_phrase_and_shows_literal_pictures_beside_figurative_ones(everything):
    phrases = {}
    for split in ("train", "test"):
        records = [r for task in range(4) for r in found(everything, f"IRFL-{task}", split)]
        phrases[split] = {p for r in records for p in r.prompt.replace("]", ",").replace('"', ",").split(",")}
        phrases[split] = {p.rpartition("[")[2].strip() for p in phrases[split] if " number " in p}
    assert phrases["train"].isdisjoint(phrases["test"])
    assert len(phrases["train"] | phrases["test"]) == 30
    record = found(everything, "IRFL-1", "train")[0]
    assert record.prompt.startswith(
        'Which of the images expresses the meaning of the idiom "idiom number 0", which means meaning 0?'
    )
    assert record.images[record.choices.index(record.answer)] == drawn(f"{0:08x}.jpeg")
    assert drawn(f"{3:08x}.jpeg") in record.images  # the literal one of the phrase
    statements = found(everything, "IRFL-0", "train")
    assert [record.answer for record in statements[:4]] == ["True", "False", "True", "False"]


def test_magicbrush_turns_every_second_pair_round(everything):
    first, second = found(everything, "MagicBrush-0", "train")[:2]
    assert first.images == (drawn("train 0 source"), drawn("train 0 target"))
    assert second.images == (drawn("train 1 target"), drawn("train 1 source"))
    assert (first.answer, second.answer) == ("A to B", "B to A")
    assert second.prompt.endswith(
        "\nImage A:<image> Image B:<image> Instruction: add 1 birds\nChoice list:[A to B, B to A]. Your answer is:"
    )
    last = found(everything, "MagicBrush-0", "train")[-1]  # of the third row group
    assert last.images == (drawn("train 11 target"), drawn("train 11 source"))


def test_dreamsim_goes_by_the_votes_and_leaves_out_ties(everything):
    records = found(everything, "DreamSim-0", "train")
    assert [record.answer for record in records] == ["Image B", "Image A"] * 3
    assert records[2].images == (drawn("000/2_0.png"), drawn("000/2.png"), drawn("000/2_1.png"))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_division(tmp_path, everything):
    tasks = "NLVR2,CIRR,IRFL-0,COMICS_Dialogue"
    built = {
        name: read_manifest(build(f"raw:{everything}", out=tmp_path / name, seed=seed, tasks=tasks))
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    }
    assert built["a"] == built["b"]
    assert built["a"].fingerprint != built["c"].fingerprint
    for task in ("NLVR2-0", "CIRR-0", "IRFL-0", "COMICS_Dialogue-0"):
        tests = [{record.images for record in found(everything, task, "test", seed)} for seed in (0, 1)]
        assert tests[0] != tests[1]


def test_a_built_reconstruction_says_that_it_is_one(tmp_path, everything):
    folder = build(f"raw:{everything}", out=tmp_path / "d", train=5, test=3)
    manifest = read_manifest(folder)
    assert (manifest.source, manifest.name) == ("raw", "DRAKE reconstructed from raw sources")
    assert manifest.parameters == {
        "track": "reconstruction from raw sources, not the official release",
        "rules": 1,
        "train": 5,
        "test": 3,
        "split": "dynamic",
    }
    card = (folder / "README.md").read_text()
    assert "It is not the official release of DRAKE" in card
    assert "CC-BY-SA-4.0 (data); every picture its own Wikimedia licence" in card
    # The catalog's clients keep those of their tasks that are there; the unseen ones have none, NLVR is a client's own.
    assert manifest.clients[0] == ("MagicBrush-0",)
    assert manifest.clients[1] == ("VSR-0", "NLVR2-0")
    assert ("AQUA-0", "AQUA-3") in manifest.clients
    assert manifest.clients[-1] == ("NLVR-0",)
    assert manifest.unseen == ("DreamSim-0", "Mantis_contrastive_caption-0", "imagecode-0")
    assert {entry.train for entry in manifest.tasks.values()} <= {4, 5}
    assert {entry.test for entry in manifest.tasks.values()} <= {2, 3}


def test_train_records_that_show_a_picture_of_a_test_record_are_left_out(tmp_path):
    folder = raw_folder(tmp_path, "VSR")
    leak = json.loads((folder / "VSR/test.jsonl").read_text().splitlines()[0]) | {"caption": "It leaks."}
    with (folder / "VSR/train.jsonl").open("a") as file:
        file.write(json.dumps(leak) + "\n")
    records = found(folder, "VSR-0", "train")
    assert len(records) == 40
    assert not any("It leaks." in record.prompt for record in records)


def test_a_division_that_would_leave_no_train_record_is_drawn_anew(tmp_path):
    folder = raw_folder(tmp_path, "VSR")
    (folder / "VSR/dev.jsonl").unlink()
    (folder / "VSR/train.jsonl").write_text((folder / "VSR/test.jsonl").read_text())
    shown = {split: {image for r in found(folder, "VSR-0", split) for image in r.images} for split in ("train", "test")}
    assert (len(shown["train"]), len(shown["test"])) == (16, 4)
    assert shown["train"].isdisjoint(shown["test"])
