"""No field of a record is ignored in silence: it is used, counted, or the reason why the record failed."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.convert import DatasetConfig, RecordDefaults, read_records, to_dataset
from step3vl.data.convert.fields import MAX_EXCERPT, Fields
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.errors import UserError
from step3vl.data.sample.sample import Sample

CHAT = [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "A square."}]


@pytest.fixture
def convert(tmp_path: Path) -> Callable[..., tuple[Sample | DeadLetter, Counter[str]]]:
    """convert(record, format, **defaults): what a record becomes, and the fields that were not used."""

    def convert(
        record: dict, format_name: str = "openai", **defaults: Any
    ) -> tuple[Sample | DeadLetter, Counter[str]]:
        path = tmp_path / "data.jsonl"
        path.write_text(json.dumps(record))
        records = read_records(path, format_name, RecordDefaults(**defaults))
        (item,) = records
        return item, records.unused

    return convert


GARBAGE = """  # in a process of its own: threads of other tests make garbage too
import gc, sys
from pathlib import Path
from step3vl.data.convert import RecordDefaults, read_records
samples = iter(read_records(Path(sys.argv[1]), "openai", RecordDefaults()))
for _ in range(10):
    next(samples)
gc.collect()
gc.disable()
print(len(list(samples)), gc.collect())
"""


def test_a_record_that_was_converted_needs_no_garbage_collector(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(f"{json.dumps({'messages': CHAT, 'made_up': 1})}\n" * 200)
    done = subprocess.run([sys.executable, "-c", GARBAGE, path], capture_output=True, text=True, check=True)
    converted, unreachable = map(int, done.stdout.split())
    assert converted == 190 and unreachable < 100


LOST: dict[str, tuple[str, dict, str]] = {  # records whose sample would say something else without the field
    "videos": ("openai", {"messages": CHAT, "videos": ["a.mp4"]}, "it has video or audio (videos)"),
    "audios": ("openai", {"messages": CHAT, "audios": ["a.wav"]}, "it has video or audio (audios)"),
    "video_path": ("sharegpt", {"conversations": CHAT, "video_path": "a.mp4"}, "it has video or audio (video_path)"),
    "options": ("openai", {"messages": CHAT, "options": ["a", "b"]}, "its field options would be lost"),
    "functions": ("sharegpt", {"conversations": CHAT, "functions": [{}]}, "its field functions would be lost"),
    "context": ("openai", {"messages": CHAT, "context": "A page."}, "its field context would be lost"),
    "image_2": ("openai", {"messages": CHAT, "images": [], "image_2": "a.png"}, "image_2 would be lost"),
    "label of KTO": ("openai", {"messages": CHAT, "label": False}, "its field label would be lost"),
    "content beside value": (
        "step",
        {"conversations": [{"role": "user", "value": "a", "content": "b"}, CHAT[1]]},
        "its field conversations.value would be lost",
    ),
    "content beside refusal": (
        "openai",
        {"messages": [CHAT[0], {"role": "assistant", "content": "Yes.", "refusal": "No."}]},
        "its field messages.refusal would be lost",
    ),
    "a part of video": (
        "openai",
        {"messages": [{"role": "user", "content": [{"type": "video", "video": "a.mp4"}]}, CHAT[1]]},
        "it has video or audio (a part of type video)",
    ),
}


@pytest.mark.parametrize("name", LOST)
def test_a_field_that_changes_the_meaning_is_a_dead_letter(name: str, convert: Callable[..., tuple]) -> None:
    format_name, record, reason = LOST[name]
    item, unused = convert(record, format_name)
    assert isinstance(item, DeadLetter) and reason in item.reason
    assert not unused, "only fields of kept records are counted"


def test_a_field_is_left_out_where_the_user_says_so(convert: Callable[..., tuple]) -> None:
    record = {"messages": CHAT, "context": "A page.", "options": ["a"], "id": 7, "empty": [], "none": None}
    item, _ = convert(record, ignore=("context",))
    assert isinstance(item, DeadLetter) and "--ignore options" in item.reason
    item, unused = convert(record, ignore=("context", "options"))
    assert isinstance(item, Sample)
    assert unused == {"context": 1, "options": 1, "id": 1}


def test_a_text_that_the_sample_holds_is_not_lost(convert: Callable[..., tuple]) -> None:
    item, unused = convert({"messages": CHAT, "prompt": "What is it?", "text": "What is it? "})
    assert isinstance(item, Sample) and set(unused) == {"prompt", "text"}
    item, _ = convert({"messages": CHAT, "prompt": "What is that?"})
    assert isinstance(item, DeadLetter)


def test_fields_inside_messages_are_counted_by_their_dotted_names(convert: Callable[..., tuple]) -> None:
    messages = [CHAT[0], {**CHAT[1], "annotations": [1], "audio": None}]
    item, unused = convert({"messages": messages, "parallel_tool_calls": False})
    assert isinstance(item, Sample)
    assert unused == {"messages.annotations": 1, "parallel_tool_calls": 1}


def test_columns_by_other_names(convert: Callable[..., tuple]) -> None:
    record = {"task_text": "2+2?", "result": "4", "note": "easy"}
    item, unused = convert(record, "huggingface", columns={"question": "task_text", "answer": "result"})
    assert isinstance(item, Sample) and item.answer() == "4" and unused == {"note": 1}
    item, unused = convert({"question": "?", "answer": "a"}, "huggingface", columns={"image": "pcture"})
    assert isinstance(item, Sample) and unused == {"pcture of --columns": 1}, "a name that no record has"
    swapped = {"question": "4", "answer": "2+2?"}
    item, _ = convert(swapped, "huggingface", columns={"question": "answer", "answer": "question"})
    assert isinstance(item, Sample) and item.answer() == "4"
    item, _ = convert({**record, "question": "?"}, "huggingface", columns={"question": "task_text"})
    assert isinstance(item, DeadLetter) and "has a field question of its own" in item.reason


def test_unused_fields_are_in_the_ledger(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    lines = [{"messages": [{**CHAT[0], "content": f"{n}?"}, CHAT[1]], "id": n + 1} for n in range(3)]
    path.write_text("\n".join(map(json.dumps, [*lines, {"messages": CHAT, "videos": ["a.mp4"]}])))
    items = read_records(path, "openai", RecordDefaults())
    result = to_dataset(items, tmp_path / "out", DatasetConfig(name="t", shards=1), {})
    assert result.steps[0].unused == {"id": 3} and result.steps[0].failed == {"ValueError": 1}
    assert result.steps[1].answers and result.steps[1].answers.trained == result.steps[1].answers.total


def test_too_many_failed_records_commit_nothing(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, [{"messages": CHAT}, {"messages": 3}])))
    items = read_records(path, "openai", RecordDefaults())
    with pytest.raises(UserError, match=r"1 of 2 records \(50\.00%\) failed, more than the 10\.00%"):
        to_dataset(items, tmp_path / "out", DatasetConfig(name="t", shards=1), {}, max_failed=0.1)
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_a_limit_counts_records(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("not json\n" + json.dumps({"messages": CHAT}) + "\n" + json.dumps({"messages": CHAT}))
    items = list(read_records(path, "openai", RecordDefaults(), limit=2))
    assert [type(item) for item in items] == [DeadLetter, Sample]


LONG = "x" * 100_000


@pytest.mark.parametrize(
    ("format_name", "record"),
    [
        (
            "llava",
            {"image": LONG, "conversations": [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "a"}]},
        ),
        ("sharegpt", {"conversations": [{"from": LONG, "value": "a"}]}),
        ("openai", {"messages": [{"role": "user", "content": [{"type": LONG}]}]}),
        (
            "openai",
            {"messages": [CHAT[0], {"role": "assistant", "tool_calls": [{"name": LONG + "!", "arguments": {}}]}]},
        ),
        ("openai", {"messages": CHAT, "tools": LONG}),
        ("huggingface", {"question": "q", "options": [LONG, "b"], "answer": "z"}),
        ("huggingface", {LONG: 1}),
        ("step", {"conversations": [{"role": LONG, "content": "a"}]}),
    ],
)
def test_a_reason_quotes_little_of_the_data(format_name: str, record: dict, convert: Callable[..., tuple]) -> None:
    item, _ = convert(record, format_name)
    assert isinstance(item, DeadLetter)
    assert max(map(len, item.reason.split("x" * 20)), default=0) < 300 and item.reason.count("x") <= 2 * MAX_EXCERPT


def test_nested_objects_are_followed() -> None:
    fields = Fields({"a": 1, "b": [{"c": 1, "d": 2}], "e": ""})
    (child,) = fields.children("b")
    assert child.get("c") == 1 and fields.unused() == {"a": 1, "b.d": 2}
    assert fields.get("a", "x") == 1 and "a" not in fields.unused()
    with pytest.raises(ValueError, match="b is int, not an object"):
        fields.child(3, "b")
