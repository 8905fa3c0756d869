"""Readers of each format; a broken record is one dead letter with the reason."""

import base64
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.data.convert import RecordDefaults
from step3vl.data.convert.json_files import parse_json
from step3vl.data.convert.record_source import read_records
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.sample.parts import image, text
from step3vl.data.sample.sample import Sample
from step3vl.data.sample.truth import AnyTruth, TextTruth

TURNS = [{"from": "human", "value": "<image>Colour?"}, {"from": "gpt", "value": "Red."}]

BROKEN: dict[str, tuple[dict | list, str]] = {  # changes of a record, or what stands in its place
    "too few images": ({"image": None}, "its texts show more images, but it has 0"),
    "too many images": ({"image": ["a/1.png", "a/1.png"]}, "has 2 images, but its texts show 1"),
    "no such image": ({"image": "a/2.png"}, "a/2.png: no such image"),
    "a path that leads out": ({"image": "../secret.png"}, "leads out of the folder"),
    "an absolute path": ({"image": "/etc/passwd"}, "leads out of the folder"),
    "data that is not an image": ({"image": "a/text.png"}, "not in a known image format"),
    "an image on the net": ({"image": "https://example.com/1.png"}, "not on this machine"),
    "a truncated image": ({"image": "a/truncated.png"}, "a/truncated.png: the image cannot be decoded"),
    "not an object": ([1], "the record is list"),
    "no turns": ({"conversations": None}, "no list of conversations"),
    "turns that are not objects": ({"conversations": [3]}, "conversations is int"),
    "an unknown speaker": ({"conversations": [{"from": "narrator", "value": "x"}]}, "from 'narrator'"),
    "no text": ({"conversations": [{"from": "human", "value": 3}]}, "has no text as its value"),
    "no answer": ({"image": None, "conversations": [{"from": "human", "value": "x"}]}, "must end with an assistant"),
    "an invalid task": ({"step3vl": {"task": "No Dots"}}, "task: String should match"),
    "an invalid truth": ({"step3vl": {"truth": {"kind": "guess"}}}, "guess"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_record_is_one_dead_letter_and_the_next_is_read(
    folder: Path, llava: Callable[..., dict], name: str
) -> None:
    changes, reason = BROKEN[name]
    record = llava(**changes) if isinstance(changes, dict) else changes
    (folder / "data.json").write_text(json.dumps([llava(), record, llava()]))
    first, dead_letter, last = read_records(folder / "data.json", "llava", RecordDefaults())
    assert isinstance(first, Sample) and isinstance(last, Sample)
    assert isinstance(dead_letter, DeadLetter)
    assert dead_letter.source == "data.json#2" and reason in dead_letter.reason


def test_llava_record(folder: Path, llava: Callable[..., dict], encoded: Callable[..., bytes]) -> None:
    (folder / "data.json").write_text(json.dumps([llava()]))
    defaults = RecordDefaults(domain="vqa", task="vqa.general", licence="CC-BY-4.0")
    (sample,) = read_records(folder / "data.json", "llava", defaults)
    assert isinstance(sample, Sample) and sample.messages
    assert (sample.domain, sample.task, sample.source.licence) == ("vqa", "vqa.general", "CC-BY-4.0")
    assert sample.source.uri == "data.json#1"
    assert sample.messages[0].content == (image(0), text("\nWhat is it?"))
    assert sample.messages[-1].reasoning_content == "I look again." and sample.answer() == "Yes."
    assert sample.images[0].data is None, "the bytes stay in the file"
    assert sample.images[0].read() == encoded(1)


def test_broken_line_loses_one_record_and_broken_array_the_rest(folder: Path, llava: Callable[..., dict]) -> None:
    line = json.dumps(llava(images=["a/1.png"], image=None))
    deep, forged = "[" * 200_000, json.dumps(llava(image=None, system="\ud800"))
    (folder / "data.jsonl").write_text(f"{line}\nnot json\n\n{deep}\n{forged}\n{line}\n")
    kinds = [type(item) for item in read_records(folder / "data.jsonl", "sharegpt", RecordDefaults())]
    assert kinds == [Sample, DeadLetter, DeadLetter, DeadLetter, Sample]
    (folder / "data.json").write_text(json.dumps([llava()]), encoding="utf-8-sig")
    assert isinstance(next(iter(read_records(folder / "data.json", "llava", RecordDefaults()))), Sample), (
        "a byte order mark is skipped"
    )
    (folder / "data.json").write_text(json.dumps([llava(), llava()])[:-40])
    first, dead_letter = read_records(folder / "data.json", "llava", RecordDefaults())
    assert isinstance(first, Sample)
    assert isinstance(dead_letter, DeadLetter) and "broken after 1 records" in dead_letter.reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["conversations", "messages", "from", "role", "value", "content", "image", "images", "tools", "tool_calls",
             "function", "name", "arguments", "type", "text", "image_url", "url", "loss_mask", "tool_schemas",
             "step3vl", "truth", "source", "weight", "ground_truth"]
        ),
        inner | st.sampled_from(["user", "human", "assistant", "gpt", "text", "image", "function_call", "tool"]),
        max_size=4,
    ),
    max_leaves=25,
)  # fmt: skip


@settings(max_examples=150)
@given(st.lists(JSON, max_size=6), st.sampled_from(["llava", "sharegpt", "openai", "step"]))
def test_arbitrary_json_gives_samples_or_dead_letters(tmp_path_factory, records, format_name) -> None:
    path = tmp_path_factory.mktemp("absurd") / "data.jsonl"
    path.write_text("".join(f"{json.dumps(record)}\n" for record in ["no array", *records]))
    items = list(read_records(path, format_name, RecordDefaults()))
    assert len(items) == 1 + len(records)


def test_openai_messages(folder: Path, encoded: Callable[..., bytes]) -> None:
    url = "data:image/png;base64," + base64.b64encode(encoded(3)).decode()
    call = {"id": "c1", "type": "function", "function": {"name": "zoom", "arguments": '{"b": 1, "a": 2}'}}
    record = {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "<image> is only text here"},
            {"role": "assistant", "content": "Red.", "reasoning_content": "I see red.", "weight": 0},
        ],
        "tools": [{"type": "function", "function": {"name": "zoom"}}],
    }  # fmt: skip
    (folder / "data.jsonl").write_text(json.dumps(record))
    (sample,) = read_records(folder / "data.jsonl", "openai", RecordDefaults())
    assert isinstance(sample, Sample) and sample.messages
    assert [message.role for message in sample.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert list(sample.messages[2].tool_calls[0].arguments) == ["b", "a"], "the order that the model sees"
    assert sample.messages[-1].loss_weight == 0 and sample.images[0].read() == encoded(3)
    stored = Sample.from_row(json.loads(json.dumps(sample.to_row(), sort_keys=True)))
    assert list(stored.messages[2].tool_calls[0].arguments) == ["b", "a"]


def test_huggingface_rows_of_several_layouts(tmp_path: Path, encoded: Callable[..., bytes]) -> None:
    image_value = {"bytes": encoded(4), "path": None}
    tables = {
        "pair": [{"image": image_value, "caption": "A square."}],
        "vqa": [{"image": image_value, "question": "Colour?", "answers": ["red", "dark red", "red"]}],
        "cauldron": [{"images": [image_value] * 2, "texts": [{"user": "Same?", "assistant": "Yes.", "source": "x"}]}],
        "trl": [{"images": [image_value], "messages": [
            {"role": "user", "content": [{"type": "image", "text": None}, {"type": "text", "text": "Colour?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "Red."}]}]}],
        "llava": [{"image": image_value, "conversations": TURNS}],
        "unknown": [{"image": image_value, "label": 3}],
    }  # fmt: skip
    items = {}
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
        (items[name],) = read_records(tmp_path / f"{name}.parquet", "huggingface", RecordDefaults())
    dead_letter = items.pop("unknown")
    assert isinstance(dead_letter, DeadLetter) and "image, label" in dead_letter.reason
    assert {name: (sample.kind, len(sample.images)) for name, sample in items.items()} == {
        "pair": ("document", 1),
        "vqa": ("conversation", 1),
        "cauldron": ("conversation", 2),
        "trl": ("conversation", 1),
        "llava": ("conversation", 1),
    }
    assert items["vqa"].truth == AnyTruth(truths=(TextTruth(text="red"), TextTruth(text="dark red")))
    (tmp_path / "truncated.parquet").write_bytes((tmp_path / "pair.parquet").read_bytes()[:-20])
    (dead_letter,) = read_records(tmp_path / "truncated.parquet", "huggingface", RecordDefaults())
    assert isinstance(dead_letter, DeadLetter) and "broken after 0 rows" in dead_letter.reason


def test_webdataset_pairs_of_img2dataset(tmp_path: Path, encoded: Callable[..., bytes]) -> None:
    members = {
        "000.jpg": encoded(1, "JPEG"), "000.txt": b"A square.", "000.json": b'{"url": "https://example.com/1.jpg"}',
        "001.jpg": encoded(2, "JPEG"), "001.json": b'{"caption": "Another."}',
        "002.jpg": encoded(3, "JPEG"),
        "003.txt": b"No image.",
        "004.png": b"no png", "004.txt": b"x",
        "005.jpg": encoded(5, "JPEG"), "005.txt": b"\xff",
        "006.jpg": encoded(6, "JPEG"), "006.txt": b"alt", "006.json": b'{"caption": "Another caption."}',
    }  # fmt: skip
    path = tmp_path / "pairs.tar"
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    records = read_records(path, "webdataset", RecordDefaults())
    items = list(records)
    assert [type(item) for item in items] == [Sample, Sample, *[DeadLetter] * 4, Sample]
    assert items[6].content == (image(0), text("alt")) and records.unused == {"json.caption": 1}
    assert items[0].content == (image(0), text("A square.")) and items[0].source.uri == "https://example.com/1.jpg"
    assert items[1].source.uri == "pairs.tar#001"
    assert [item.source for item in items[2:6]] == [f"pairs.tar#{key}" for key in ("002", "003", "004", "005")]
    path.write_bytes(path.read_bytes()[:2500])
    *_, dead_letter = read_records(path, "webdataset", RecordDefaults())
    assert isinstance(dead_letter, DeadLetter) and "broken" in dead_letter.reason


def test_records_of_steptron(folder: Path, encoded: Callable[..., bytes]) -> None:
    (folder / "a" / "crop.png").write_bytes(encoded(9))
    crops = "<patch_start><im_patch><im_patch><patch_end><patch_newline>"
    question = f"{crops}<im_start><im_patch><im_end>What?"
    record = {
        "conversations": [
            {"role": "system", "content": "x", "tool_schemas": [{"name": "look"}]},
            {"role": "user", "content": [{"type": "text", "value": question, "loss_mask": 0}]},
            {"role": "assistant", "content": "Red.", "loss_mask": 0.5, "reasoning_content": "", "ground_truth": "red"},
        ],
        "images": [["a/crop.png", 1], ["a/1.png", 0]],
    }  # fmt: skip
    (folder / "data.json").write_text(json.dumps([record]))
    (sample,) = read_records(folder / "data.json", "step", RecordDefaults())
    assert isinstance(sample, Sample) and sample.messages
    assert sample.messages[1].content == (image(0), text("What?")) and sample.images[0].read() == encoded(1)
    assert sample.messages[2].loss_weight == 0.5 and sample.truth == TextTruth(text="red")
    assert sample.tools == ({"name": "look"},)
    record["conversations"][2]["content"] = [{"type": "text", "value": "Red.", "loss_mask": {"no": "number"}}]
    (folder / "data.json").write_text(json.dumps([record]))
    (dead_letter,) = read_records(folder / "data.json", "step", RecordDefaults())
    assert isinstance(dead_letter, DeadLetter) and "different loss_masks" in dead_letter.reason


LINES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
).map(json.dumps)
ODD = [
    *("-0", "1e400", "1E-400", "NaN", "-NaN", "01", "1.", "+1", "[1,]", "tru", "", '{"a":1,"a":2}', '"\x01"'),
    *('"\\ud800"', '"\\ud83d\\ude00"', '"\\udc00x"', "1" * 5000, "[" * 300 + "]" * 300, "[" * 9999, "9" * 40),
]


@given((LINES | st.sampled_from(ODD)).map(str.encode), st.binary(max_size=3), st.integers(0, 40))
def test_a_line_is_parsed_as_by_the_standard_library(line: bytes, noise: bytes, place: int) -> None:
    for data in (line, line[:place], line[:place] + noise + line[place:], line.decode().encode("utf-16")):
        assert outcome(parse_json, data) == outcome(json.loads, data)


def outcome(parse: Callable[[bytes], object], data: bytes) -> str:
    """What a parser gives, with the types of numbers, or what it raises."""
    try:
        return repr(parse(data))
    except (ValueError, RecursionError) as error:
        return repr(error)
