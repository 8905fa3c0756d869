"""Complete conversions to a dataset and to files."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from step3vl.data.convert import RecordDefaults, SampleSource, read_dataset, read_records, to_dataset, to_files
from step3vl.data.convert.conversion import LEDGER_FOLDER, DatasetConfig
from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.dead_letters import DEAD_LETTERS
from step3vl.data.errors import UserError
from step3vl.data.inspect.verify import verify
from step3vl.data.sample.conversations import conversation
from step3vl.data.sample.parts import text
from step3vl.data.sample.sample import Sample, Source

SOURCE = Source(uri="test:1", licence="CC0-1.0", collected_by="tests", parents=("0" * 32,))


def test_samples_that_a_format_cannot_hold_are_counted_and_not_altered(tmp_path: Path) -> None:
    document = Sample.make(domain="d", task="t", source=SOURCE, content=(text("A page."),))
    forged = Sample.make(domain="d", task="t", source=SOURCE, messages=conversation((text("see <image>"),), "no"))
    good = Sample.make(domain="d", task="t", source=SOURCE, messages=conversation((text("1+1?"),), "2", "hm"))
    result = to_files(SampleSource.of([document, forged, good]), tmp_path / "out", "llava")
    assert [(step.name, step.read, step.kept, step.failed) for step in result.steps] == [
        ("convert", 3, 3, {}),
        ("write", 3, 1, {"ValueError": 2}),
    ]
    reasons = [row["reason"] for row in pq.read_table(tmp_path / "out" / LEDGER_FOLDER / DEAD_LETTERS).to_pylist()]
    assert "no turns" in reasons[0] and "<image>" in reasons[1]


TURNS = [{"from": "human", "value": "<image>Colour?"}, {"from": "gpt", "value": "Red."}]


def items_of(dataset: Dataset) -> dict[str, dict]:
    return {sample.id: sample.to_row() for sample in dataset.samples()}


def test_dataset_and_ledger_do_not_depend_on_the_order_of_records(
    folder: Path, llava: Callable[..., dict], tmp_path: Path
) -> None:
    questions = [{"from": "human", "value": f"<image>{number % 30}?"} for number in range(40)]
    records = [llava(conversations=[turn, TURNS[1]]) for turn in questions]
    records.insert(7, llava(image="a/2.png"))
    config = DatasetConfig(name="set", shards=3, heldout=0.25)
    datasets = {}
    for name, order in (("first", records), ("second", records[:7] + records[8:][::-1] + records[7:8])):
        (folder / "data.json").write_text(json.dumps(order))
        items = read_records(folder / "data.json", "llava", RecordDefaults(licence="CC0-1.0"))
        result = to_dataset(items, tmp_path / name, config, {"from": "llava"})
        assert [(step.name, step.read, step.kept) for step in result.steps] == [
            ("convert", 41, 40),
            ("tokens", 40, 40),
            ("shards", 40, 30),
        ]
        assert result.steps[2].dropped == {"duplicate": 10} and result.first
        datasets[name] = Dataset.open(tmp_path / name)
        assert not verify(tmp_path / name).problems
    assert set(items_of(datasets["first"])) == set(items_of(datasets["second"]))
    assert {shard.split for shard in datasets["first"].manifest.shards} == {"train", "heldout"}
    assert not list((tmp_path / "first").glob(".*")), "no temporary files remain"
    with pytest.raises(UserError, match="already holds a dataset"):
        to_dataset(SampleSource.of([]), tmp_path / "first", config, {})


def test_same_records_give_the_same_bytes(folder: Path, llava: Callable[..., dict], tmp_path: Path) -> None:
    (folder / "data.json").write_text(json.dumps([llava(), llava(id="2", image=["a/1.png"])]))
    for name in ("first", "second"):
        to_dataset(
            read_records(folder / "data.json", "llava", RecordDefaults()), tmp_path / name, DatasetConfig(name="s"), {}
        )
    first, second = (sorted((tmp_path / name).rglob("*")) for name in ("first", "second"))
    assert [path.read_bytes() for path in first if path.is_file()] == [
        path.read_bytes() for path in second if path.is_file()
    ]


def test_dataset_round_trip_through_another_format(dataset: Dataset, tmp_path: Path) -> None:
    result = to_files(read_dataset(dataset), tmp_path / "out", "sharegpt")
    assert result.steps[-1].kept == 120
    to_dataset(
        read_records(tmp_path / "out", "sharegpt", RecordDefaults()),
        tmp_path / "back",
        DatasetConfig(name="back", tokenizer=dataset.tokenizer, image=dataset.manifest.counting.image),
        {},
    )
    assert items_of(Dataset.open(tmp_path / "back")) == items_of(dataset)


def test_nothing_to_convert_is_a_user_error(folder: Path, llava: Callable[..., dict], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        list(read_records(tmp_path / "nowhere", "llava", RecordDefaults()))
    with pytest.raises(UserError, match="no file that ends in"):
        list(read_records(folder / "a", "openai", RecordDefaults()))
    (folder / "data.json").write_text(json.dumps([llava(image="a/2.png")]))
    with pytest.raises(UserError, match=r"data.json#1: a/2.png: no such image"):
        to_dataset(
            read_records(folder / "data.json", "llava", RecordDefaults()),
            tmp_path / "out",
            DatasetConfig(name="s"),
            {},
        )
    assert not (tmp_path / "out" / "dataset.json").exists()
