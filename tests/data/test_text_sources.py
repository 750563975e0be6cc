"""GLUE and the text tracks from folders: records, clients, and one sentence for what is missing."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from drake.catalog import benchmark
from drake.data.benchmark import load
from drake.data.building import build
from drake.data.sources import open_source
from drake.data.sources.glue import GLUE_TASKS
from drake.errors import DrakeError


def turns(question, answer, *more):
    said = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}, *more]
    return {"id": question, "conversations": said}


def write_track(root, tasks):
    for task in tasks:
        source, _, number = task.rpartition("-")
        for split, count in (("train", 3), ("test", 2)):
            path = root / "dataset" / source / split / f"dataset-{number}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps([turns(f"{task} {split} {row}?", f"answer {row}") for row in range(count)]))


@pytest.fixture
def scope(tmp_path):
    write_track(tmp_path, benchmark("fed-scope").tasks)
    return tmp_path


def test_a_text_track_is_built_with_its_clients_metric_and_public_records(scope, tmp_path_factory):
    later = {"from": "human", "value": "And then?"}
    (scope / "dataset/chatbotIT.json").write_text(json.dumps([turns("Who?", "Anna", later), turns("Where?", "Here")]))
    found = load(build(f"fed-scope:{scope}", out=tmp_path_factory.mktemp("built") / "scope"))
    assert found.clients == benchmark("fed-scope").clients
    assert {entry.metric for entry in found.tasks.values()} == {"ROUGE-L"}
    assert found.source == "fed-scope"
    assert found.public["prompt"] == ["Who?", "Where?"]
    assert found.records("FS_LLM_Instruct-24", "test")["answer"] == ["answer 0", "answer 1"]


def test_train_records_that_are_test_records_are_left_out(scope):
    path = scope / "dataset/FS_LLM_Instruct/train/dataset-0.json"
    path.write_text(json.dumps([turns("new?", "yes"), turns("FS_LLM_Instruct-0 test 1?", "answer 1")]))
    records = list(open_source(f"fed-scope:{scope}").records("FS_LLM_Instruct-0", "train"))
    assert [record.prompt for record in records] == ["new?"]


def test_tasks_of_other_tracks_in_the_folder_are_left_out(scope):
    write_track(scope, ["FS_LLM_Instruct-100", "FedDPA-0"])
    assert set(open_source(f"fed-scope:{scope}").tasks()) == set(benchmark("fed-scope").tasks)


def test_tasks_that_are_numbered_in_another_way_are_dealt_in_order(tmp_path):
    write_track(tmp_path, [f"FS_LLM_Instruct-{number}" for number in range(20)])
    clients = open_source(f"fed-scope:{tmp_path}").clients
    assert [len(own) for own in clients] == [4] * 5
    assert clients[2] == tuple(f"FS_LLM_Instruct-{number}" for number in range(8, 12))


def test_a_missing_task_is_one_sentence(tmp_path):
    write_track(tmp_path, benchmark("fed-aya").tasks[:-1])
    with pytest.raises(
        DrakeError, match=r"Fed-aya has 32 tasks of Fed-aya_topic, .* has 31; .* dataset/Fed-aya_topic/train/dataset-73"
    ):
        open_source(f"fed-aya:{tmp_path}").tasks()


def write_glue(root, rows=6):
    for known in GLUE_TASKS.values():
        folder = root / known.folder
        folder.mkdir(parents=True)
        labels = list(range(len(known.labels))) or [0.0, 2.4, 5.0]
        columns = {name: [f"{name} {row}" for row in range(rows)] for name in known.columns}
        table = pa.table(columns | {"label": [labels[row % len(labels)] for row in range(rows)]})
        pq.write_table(table, folder / "train-00000-of-00001.parquet")
        pq.write_table(table.slice(0, 3), folder / f"{known.validation}-00000-of-00001.parquet")
    return root


def test_glue_is_read_as_it_is_on_the_hub(tmp_path):
    source = open_source(f"glue:{write_glue(tmp_path)}", train=4)
    assert source.clients == benchmark("glue").clients
    first, *_ = records = list(source.records("QNLI-0", "test"))
    assert len(records) == 3
    assert first.answer == "Yes"  # label 0 is entailment
    assert first.prompt == (
        "Question: question 0\nSentence: sentence 0\nIs the answer in the sentence?\nChoice list:[Yes, No]. "
        "Your answer is:"
    )
    assert [record.answer for record in source.records("STS-B-0", "test")] == ["0.0", "2.4", "5.0"]
    assert [record.answer for record in source.records("MNLI-0", "test")] == ["entailment", "neutral", "contradiction"]
    assert len(list(source.records("RTE-0", "train"))) == 4


def test_glue_without_a_task_or_with_a_hidden_label_is_one_sentence(tmp_path):
    write_glue(tmp_path)
    hidden = tmp_path / "rte/validation-00000-of-00001.parquet"
    pq.write_table(pa.table({"sentence1": ["a"], "sentence2": ["b"], "label": [-1]}), hidden)
    with pytest.raises(DrakeError, match=r"its label is -1 where 0 to 1 belongs"):
        list(open_source(f"glue:{tmp_path}").records("RTE-0", "test"))
    hidden.unlink()
    with pytest.raises(DrakeError, match=r"rte has no validation file"):
        open_source(f"glue:{tmp_path}")
    with pytest.raises(DrakeError, match="there is no folder"):
        open_source(f"glue:{tmp_path}/nowhere")
