"""Records of stages: what earlier versions wrote is read, and nothing is ever replaced by a rename."""

import json
from pathlib import Path
from typing import ClassVar

import pytest

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.workflows.records import (
    StageRecord,
    config_changes,
    is_occupied,
    next_name,
    read_record,
    set_aside,
    write_record,
)

FINGERPRINT = "made_of"  # words: the key in format 1
RECORD = StageRecord(
    name="sft",
    kind="sft",
    versions={"sft": 3},
    config={"output": "runs/sft", "steps": 3},
    inputs={"runs/corpus": "d00e"},
    code="660fe6ee8a64ec6f",
    state="done",
    seconds=12.5,
    finished=1795896544.2,
    result="5973",
)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_record(tmp_path / "sft", RECORD)
    assert read_record(tmp_path / "sft") == RECORD


def test_a_record_of_format_1_is_read(tmp_path: Path) -> None:
    (tmp_path / "stage.yaml").write_text("dataset: runs/corpus\nprompts: 7\n")
    content = {
        "name": "messages",
        "fingerprint": "228b",
        FINGERPRINT: {"kind": "messages", "configuration": "0ff3", "inputs": {"runs/corpus": "d00e"}, "code": "c715"},
        "state": "done",
        "seconds": 143.9,
        "finished": 1795896544.2,
        "result": "d00e1a",
    }  # fmt: skip
    (tmp_path / "stage.json").write_text(json.dumps(content))
    record = read_record(tmp_path)
    assert record == StageRecord(
        name="messages",
        kind="synthesis_data",
        versions={},
        config={"dataset": "runs/corpus", "prompts": 7},
        inputs={"runs/corpus": "d00e"},
        code="c715",
        state="done",
        seconds=143.9,
        finished=1795896544.2,
        result="d00e1a",
    )


def test_a_record_of_a_later_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stage.json").write_text('{"format": 3}')
    with pytest.raises(UserError, match=r"stage\.json: has format 3, and this version of step3vl reads up to 2"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"format": 2, "name": "a"}', f'{{"{FINGERPRINT}": 3}}']
)  # words: format 1
def test_a_damaged_record_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "stage.json").write_text(content)
    assert read_record(tmp_path) is None


def test_outputs_are_renamed_to_the_first_free_number(tmp_path: Path) -> None:
    out = tmp_path / "sft"
    for number in (1, 2, 3):
        out.mkdir()
        (out / "model").write_text(str(number))
        assert set_aside(out) == tmp_path / f"sft.{number}"
        assert not out.exists()
    assert [(tmp_path / f"sft.{number}" / "model").read_text() for number in (1, 2, 3)] == ["1", "2", "3"]
    (tmp_path / "sft.4").symlink_to(tmp_path / "nowhere")
    assert next_name(out) == tmp_path / "sft.5"


def test_an_empty_folder_holds_nothing_to_lose(tmp_path: Path) -> None:
    assert not is_occupied(tmp_path / "absent")
    assert not is_occupied(tmp_path)
    (tmp_path / "file").touch()
    assert is_occupied(tmp_path)
    assert is_occupied(tmp_path / "file")


class Optimizer(Config):
    lr: float = 1e-3


class Training(Config):
    RENAMED: ClassVar = {"micro": "steps", "rate": "optimizer.lr"}

    steps: int = 10
    optimizer: Optimizer = Optimizer()
    sources: tuple[str, ...] = ()


def test_free_fields_are_not_compared() -> None:
    stored = {"steps": 3, "optimizer": {"lr": 0.5}}
    assert config_changes(stored, Training(), ["optimizer"]) == ["steps: 3 -> 10"]
    assert config_changes(stored, Training(), ["steps", "optimizer.lr"]) == []
    assert config_changes(stored, Training(), ["step", "optimizer.l"]) != []


@pytest.mark.parametrize(
    ("stored", "changes"),
    [
        ({"steps": 10, "optimizer": {"lr": 0.001}, "sources": []}, []),
        ({}, []),
        ({"steps": 3, "optimizer": {"lr": 0.002}}, ["steps: 3 -> 10", "optimizer.lr: 0.002 -> 0.001"]),
        ({"sources": ["a"]}, ['sources.0: "a" -> absent', "sources: absent -> []"]),
        ({"steps": 10, "capacity": 7}, None),
        ({"micro": 10, "rate": 0.001}, []),
        ({"micro": 3, "rate": 0.01}, ["steps: 3 -> 10", "optimizer.lr: 0.01 -> 0.001"]),
    ],
)
def test_changed_fields_are_listed(stored: dict, changes: list[str] | None) -> None:
    assert config_changes(stored, Training()) == changes
