"""Formats that people have: what goes in comes out, and what is broken is one dead letter that says why."""

import base64
import io
import json
import tarfile
from pathlib import Path

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from step3vl.data.action import Action
from step3vl.data.convert import FORMATS, About
from step3vl.data.convert.run import ACCOUNT, DatasetConfig, read_dataset, read_records, to_dataset, to_files
from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.ledger import DeadLetter
from step3vl.data.letters import LETTERS
from step3vl.data.sample import (
    GuiStep,
    Image,
    Message,
    Sample,
    Source,
    ToolCall,
    conversation,
    image,
    text,
    trajectory,
)
from step3vl.data.schema import sample_schema
from step3vl.data.truth import ActionTruth, AnyTruth, CountTruth, TextTruth
from step3vl.data.verify import verify

SOURCE = Source(uri="test:1", licence="CC0-1.0", collected_by="tests", parents=("0" * 32,))
SCHEMA = jsonschema.Draft202012Validator(sample_schema())
CONVERSATIONAL = ["llava", "sharegpt", "openai", "huggingface", "step"]


def encoded(number: int, format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", (8 + number % 5, 8), (number % 256, 40, 90)).save(buffer, format)
    return buffer.getvalue()


PICTURES = [Image.from_bytes(encoded(number, format)) for number, format in enumerate(["PNG", "JPEG", "WEBP"])]
SAID = st.text(st.sampled_from('ab 1\né好<>"\\'), min_size=1, max_size=10)
PLAIN = st.text(st.sampled_from("abc 12.?é好"), min_size=1, max_size=12)


@st.composite
def any_sample(draw, said=SAID) -> Sample:
    """Documents and conversations with pictures, thoughts, calls and weights."""
    shown: list[Image] = []

    def content(least: int = 1) -> tuple:
        parts = [text(draw(said)) for _ in range(draw(st.integers(least, 2)))]
        if draw(st.booleans()):
            parts.insert(draw(st.integers(0, len(parts))), image(len(shown)))
            shown.append(draw(st.sampled_from(PICTURES)))
        return tuple(parts)

    scores = draw(st.dictionaries(st.sampled_from(["clip", "pass"]), st.floats(0, 1), max_size=2))
    truth = draw(st.sampled_from([None, TextTruth(text="a"), CountTruth(count=3)]))
    common = {"domain": "d", "task": "d.t", "source": SOURCE, "scores": scores, "truth": truth}
    if draw(st.booleans()):
        content_ = content()
        return Sample.make(content=content_, images=tuple(shown), **common)
    turns = [Message(role="system", content=(text(draw(said)),))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        turns.append(Message(role="user", content=content()))
        thought = draw(st.none() | said)
        weight = draw(st.sampled_from([None, 0.0, 0.5]))
        if draw(st.booleans()):
            call = ToolCall(name="look", arguments={"at": draw(said), "n": 1.5})
            turns.append(Message(role="assistant", content=(), reasoning_content=thought, tool_calls=(call,)))
            turns.append(Message(role="tool", content=content()))
        turns.append(Message(role="assistant", content=content(), reasoning_content=thought, loss_weight=weight))
    tools = ({"type": "function", "function": {"name": "look"}},) if draw(st.booleans()) else ()
    return Sample.make(messages=tuple(turns), tools=tools, images=tuple(shown), **common)


def there_and_back(samples: list[Sample], form: str, folder: Path) -> tuple[dict[str, Sample], list[DeadLetter]]:
    """Write and read; the samples that came back by id, and what could not be written."""
    out = folder / form
    try:
        to_files(iter(samples), out, form)
    except UserError:
        return {}, []
    items = list(read_records(out, form, About()))
    assert not [item for item in items if isinstance(item, DeadLetter)], "what was written can be read"
    letters = pq.read_table(out / ACCOUNT / LETTERS).to_pylist() if (out / ACCOUNT / LETTERS).is_file() else []
    return {item.id: item for item in items if isinstance(item, Sample)}, [DeadLetter(**row) for row in letters]


def said_by(sample: Sample) -> Sample:
    """The sample, wherever its pictures rest."""
    return sample.model_copy(
        update={"images": tuple(one.model_copy(update={"at": None, "data": None}) for one in sample.images)}
    )


@settings(max_examples=60)
@given(st.lists(any_sample(), min_size=1, max_size=4), st.sampled_from(sorted(FORMATS)))
def test_a_sample_comes_back_the_same_or_was_refused(tmp_path_factory, samples, form) -> None:
    samples = list({sample.id: sample for sample in samples}.values())
    back, refused = there_and_back(samples, form, tmp_path_factory.mktemp("convert"))
    if back:
        assert len(back) + len(refused) == len(samples)
    for sample in samples:
        if sample.id in back:
            assert said_by(back[sample.id]) == said_by(sample)
            assert [one.read() for one in back[sample.id].images] == [one.read() for one in sample.images]


@settings(max_examples=40)
@given(any_sample())
def test_a_row_is_its_sample_and_fits_the_schema(sample: Sample) -> None:
    row = json.loads(json.dumps(sample.to_row(), sort_keys=True))
    SCHEMA.validate(row)
    again = Sample.from_row(row)
    assert again == said_by(sample) and again.content_id() == sample.id


@settings(max_examples=25)
@given(st.lists(any_sample(PLAIN), min_size=1, max_size=4), st.sampled_from(["openai", "huggingface"]))
def test_messages_hold_every_conversation(tmp_path_factory, samples, form) -> None:
    samples = list({one.id: one for one in samples if form == "huggingface" or one.messages}.values())
    back, _ = there_and_back(samples, form, tmp_path_factory.mktemp("convert"))
    assert set(back) == {sample.id for sample in samples}


@pytest.mark.parametrize("form", CONVERSATIONAL)
def test_a_trajectory_and_its_truth_survive(form: str, tmp_path: Path) -> None:
    click = Action(action="click", point_2d=(500, 40))
    steps = [GuiStep(0, "The button is at the top.", click), GuiStep(1, "", Action(action="complete"))]
    truths = (ActionTruth(action=Action(action="complete")), ActionTruth(action=click, boxes=((480, 20, 520, 60),)))
    sample = Sample.make(
        domain="gui",
        task="gui.trajectory",
        source=SOURCE,
        messages=trajectory("Open the menu.", steps, system="You act on screens."),
        images=tuple(PICTURES[:2]),
        truth=AnyTruth(truths=truths),
    )
    back, refused = there_and_back([sample], form, tmp_path)
    assert said_by(back[sample.id]) == said_by(sample) and not refused


def test_what_a_format_cannot_hold_is_counted_and_not_bent(tmp_path: Path) -> None:
    document = Sample.make(domain="d", task="t", source=SOURCE, content=(text("A page."),))
    forged = Sample.make(domain="d", task="t", source=SOURCE, messages=conversation((text("see <image>"),), "no"))
    good = Sample.make(domain="d", task="t", source=SOURCE, messages=conversation((text("1+1?"),), "2", "hm"))
    done = to_files(iter([document, forged, good]), tmp_path / "out", "llava")
    assert [(step.name, step.read, step.kept, step.dead) for step in done.steps] == [
        ("convert", 3, 3, {}),
        ("write", 3, 1, {"ValueError": 2}),
    ]
    reasons = [row["reason"] for row in pq.read_table(tmp_path / "out" / ACCOUNT / LETTERS).to_pylist()]
    assert "no turns" in reasons[0] and "<image>" in reasons[1]


LLAVA = {
    "id": "1",
    "image": "a/1.png",
    "conversations": [
        {"from": "human", "value": "<image>\nWhat is it?"},
        {"from": "gpt", "value": "A square."},
        {"from": "human", "value": "Sure?"},
        {"from": "gpt", "value": "<think>\nI look again.\n</think>\nYes."},
    ],
}


def changed(**changes: object) -> dict:
    return {**LLAVA, **changes}


TURNS = [{"from": "human", "value": "<image>Colour?"}, {"from": "gpt", "value": "Red."}]
BROKEN = {
    "too few pictures": (changed(image=None), "more <image> than it has pictures"),
    "too many pictures": (changed(image=["a/1.png", "a/1.png"]), "has 2 pictures, but its texts show 1"),
    "no such picture": (changed(image="a/2.png"), "a/2.png: no such picture"),
    "a path that leads out": (changed(image="../secret.png"), "leads out of the folder"),
    "an absolute path": (changed(image="/etc/passwd"), "leads out of the folder"),
    "a picture that lies": (changed(image="a/lie.png"), "in no known format of pictures"),
    "a picture on the net": (changed(image="https://example.com/1.png"), "not on this machine"),
    "a cut picture": (changed(image="a/cut.png"), "a/cut.png: the picture cannot be decoded"),
    "not an object": ([1], "the record is list"),
    "no turns": (changed(conversations=None), "no list of conversations"),
    "turns that are none": (changed(conversations=[3]), "the record is int"),
    "an unknown speaker": (changed(conversations=[{"from": "bot", "value": "x"}]), "from 'bot'"),
    "no text": (changed(conversations=[{"from": "human", "value": 3}]), "has no text as its value"),
    "no answer": (changed(image=None, conversations=[{"from": "human", "value": "x"}]), "must end with an assistant"),
    "a false task": (changed(step3vl={"task": "No Dots"}), "task: String should match"),
    "a false truth": (changed(step3vl={"truth": {"kind": "guess"}}), "guess"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "in" / "a" / "1.png").write_bytes(encoded(1))
    (tmp_path / "in" / "a" / "lie.png").write_bytes(b"<html>not found</html>")
    (tmp_path / "in" / "a" / "cut.png").write_bytes(encoded(1)[:50])
    (tmp_path / "secret.png").write_bytes(encoded(2))
    return tmp_path / "in"


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_record_is_one_dead_letter_and_the_next_is_read(folder: Path, name: str) -> None:
    record, reason = BROKEN[name]
    (folder / "data.json").write_text(json.dumps([LLAVA, record, LLAVA]))
    first, letter, last = read_records(folder / "data.json", "llava", About())
    assert isinstance(first, Sample) and isinstance(last, Sample)
    assert isinstance(letter, DeadLetter)
    assert letter.source == "data.json#2" and reason in letter.reason


def test_a_llava_record_is_read(folder: Path) -> None:
    (folder / "data.json").write_text(json.dumps([LLAVA]))
    about = About(domain="vqa", task="vqa.general", licence="CC-BY-4.0")
    (sample,) = read_records(folder / "data.json", "llava", about)
    assert isinstance(sample, Sample) and sample.messages
    assert (sample.domain, sample.task, sample.source.licence) == ("vqa", "vqa.general", "CC-BY-4.0")
    assert sample.source.uri == "data.json#1"
    assert sample.messages[0].content == (image(0), text("\nWhat is it?"))
    assert sample.messages[-1].reasoning_content == "I look again." and sample.answer() == "Yes."
    assert sample.images[0].data is None, "its bytes stay in their file"
    assert sample.images[0].read() == encoded(1)


def test_a_broken_line_costs_one_record_and_a_broken_array_its_rest(folder: Path) -> None:
    line = json.dumps(changed(images=["a/1.png"], image=None))
    deep, forged = "[" * 200_000, json.dumps(changed(image=None, system="\ud800"))
    (folder / "data.jsonl").write_text(f"{line}\nnot json\n\n{deep}\n{forged}\n{line}\n")
    kinds = [type(item) for item in read_records(folder / "data.jsonl", "sharegpt", About())]
    assert kinds == [Sample, DeadLetter, DeadLetter, DeadLetter, Sample]
    (folder / "data.json").write_text(json.dumps([LLAVA]), encoding="utf-8-sig")
    assert isinstance(next(read_records(folder / "data.json", "llava", About())), Sample), "a byte order mark is none"
    (folder / "data.json").write_text(json.dumps([LLAVA, LLAVA])[:-40])
    first, letter = read_records(folder / "data.json", "llava", About())
    assert isinstance(first, Sample)
    assert isinstance(letter, DeadLetter) and "broken after 1 records" in letter.reason


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
def test_absurd_json_makes_dead_letters_and_nothing_worse(tmp_path_factory, records, form) -> None:
    path = tmp_path_factory.mktemp("absurd") / "data.jsonl"
    path.write_text("".join(f"{json.dumps(record)}\n" for record in ["no array", *records]))
    items = list(read_records(path, form, About()))
    assert len(items) == 1 + len(records)


def test_openai_messages_are_read(folder: Path) -> None:
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
    (sample,) = read_records(folder / "data.jsonl", "openai", About())
    assert isinstance(sample, Sample) and sample.messages
    assert [message.role for message in sample.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert list(sample.messages[2].tool_calls[0].arguments) == ["b", "a"], "the order that the model sees"
    assert sample.messages[-1].loss_weight == 0 and sample.images[0].read() == encoded(3)
    stored = Sample.from_row(json.loads(json.dumps(sample.to_row(), sort_keys=True)))
    assert list(stored.messages[2].tool_calls[0].arguments) == ["b", "a"]


def test_hugging_face_rows_of_several_kinds_are_read(tmp_path: Path) -> None:
    picture = {"bytes": encoded(4), "path": None}
    tables = {
        "pair": [{"image": picture, "caption": "A square."}],
        "vqa": [{"image": picture, "question": "Colour?", "answers": ["red", "dark red", "red"]}],
        "cauldron": [{"images": [picture, picture], "texts": [{"user": "Same?", "assistant": "Yes.", "source": "x"}]}],
        "trl": [{"images": [picture], "messages": [
            {"role": "user", "content": [{"type": "image", "text": None}, {"type": "text", "text": "Colour?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "Red."}]}]}],
        "llava": [{"image": picture, "conversations": TURNS}],
        "unknown": [{"image": picture, "label": 3}],
    }  # fmt: skip
    items = {}
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
        (items[name],) = read_records(tmp_path / f"{name}.parquet", "huggingface", About())
    letter = items.pop("unknown")
    assert isinstance(letter, DeadLetter) and "image, label" in letter.reason
    assert {name: (sample.kind, len(sample.images)) for name, sample in items.items()} == {
        "pair": ("document", 1),
        "vqa": ("conversation", 1),
        "cauldron": ("conversation", 2),
        "trl": ("conversation", 1),
        "llava": ("conversation", 1),
    }
    assert items["vqa"].truth == AnyTruth(truths=(TextTruth(text="red"), TextTruth(text="dark red")))
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "pair.parquet").read_bytes()[:-20])
    (letter,) = read_records(tmp_path / "cut.parquet", "huggingface", About())
    assert isinstance(letter, DeadLetter) and "broken after 0 rows" in letter.reason


def test_pairs_are_read_as_img2dataset_writes_them(tmp_path: Path) -> None:
    members = {
        "000.jpg": encoded(1, "JPEG"), "000.txt": b"A square.", "000.json": b'{"url": "https://example.com/1.jpg"}',
        "001.jpg": encoded(2, "JPEG"), "001.json": b'{"caption": "Another."}',
        "002.jpg": encoded(3, "JPEG"),
        "003.txt": b"No picture.",
        "004.png": b"no png", "004.txt": b"x",
        "005.jpg": encoded(5, "JPEG"), "005.txt": b"\xff",
    }  # fmt: skip
    path = tmp_path / "pairs.tar"
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    items = list(read_records(path, "webdataset", About()))
    assert [type(item) for item in items] == [Sample, Sample, *[DeadLetter] * 4]
    assert items[0].content == (image(0), text("A square.")) and items[0].source.uri == "https://example.com/1.jpg"
    assert items[1].source.uri == "pairs.tar#001"
    assert [item.source for item in items[2:]] == [f"pairs.tar#{key}" for key in ("002", "003", "004", "005")]
    path.write_bytes(path.read_bytes()[:2500])
    *_, letter = read_records(path, "webdataset", About())
    assert isinstance(letter, DeadLetter) and "broken" in letter.reason


def test_records_of_stepfuns_framework_are_read(folder: Path) -> None:
    (folder / "a" / "crop.png").write_bytes(encoded(9))
    crops = "<patch_start><im_patch><im_patch><patch_end><patch_newline>"
    said = f"{crops}<im_start><im_patch><im_end>What?"
    record = {
        "conversations": [
            {"role": "system", "content": "x", "tool_schemas": [{"name": "look"}]},
            {"role": "user", "content": [{"type": "text", "value": said, "loss_mask": 0}]},
            {"role": "assistant", "content": "Red.", "loss_mask": 0.5, "reasoning_content": "", "ground_truth": "red"},
        ],
        "images": [["a/crop.png", 1], ["a/1.png", 0]],
    }  # fmt: skip
    (folder / "data.json").write_text(json.dumps([record]))
    (sample,) = read_records(folder / "data.json", "step", About())
    assert isinstance(sample, Sample) and sample.messages
    assert sample.messages[1].content == (image(0), text("What?")) and sample.images[0].read() == encoded(1)
    assert sample.messages[2].loss_weight == 0.5 and sample.truth == TextTruth(text="red")
    assert sample.tools == ({"name": "look"},)


def items_of(dataset: Dataset) -> dict[str, dict]:
    return {sample.id: sample.to_row() for sample in dataset.samples()}


def test_records_become_a_dataset_that_balances_whatever_their_order(folder: Path, tmp_path: Path) -> None:
    asked = [{"from": "human", "value": f"<image>{number % 30}?"} for number in range(40)]
    records = [changed(conversations=[turn, TURNS[1]]) for turn in asked]
    records.insert(7, changed(image="a/2.png"))
    config = DatasetConfig(name="set", shards=3, heldout=0.25)
    places = {}
    for name, order in (("one", records), ("two", records[:7] + records[8:][::-1] + records[7:8])):
        (folder / "data.json").write_text(json.dumps(order))
        items = read_records(folder / "data.json", "llava", About(licence="CC0-1.0"))
        done = to_dataset(items, tmp_path / name, config, {"from": "llava"})
        assert [(step.name, step.read, step.kept) for step in done.steps] == [
            ("convert", 41, 40),
            ("tokens", 40, 40),
            ("shards", 40, 30),
        ]
        assert done.steps[2].dropped == {"duplicate": 10} and done.first
        places[name] = Dataset.open(tmp_path / name)
        assert not verify(tmp_path / name).problems
    assert set(items_of(places["one"])) == set(items_of(places["two"]))
    assert {shard.split for shard in places["one"].manifest.shards} == {"train", "heldout"}
    assert not list((tmp_path / "one").glob(".*")), "nothing is left of the work"
    with pytest.raises(UserError, match="already holds a dataset"):
        to_dataset(iter([]), tmp_path / "one", config, {})


def test_the_same_records_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    (folder / "data.json").write_text(json.dumps([LLAVA, changed(id="2", image=["a/1.png"])]))
    for name in ("one", "two"):
        to_dataset(read_records(folder / "data.json", "llava", About()), tmp_path / name, DatasetConfig(name="s"), {})
    one, two = (sorted((tmp_path / name).rglob("*")) for name in ("one", "two"))
    assert [path.read_bytes() for path in one if path.is_file()] == [
        path.read_bytes() for path in two if path.is_file()
    ]


def test_a_dataset_is_written_in_another_format_and_comes_back(dataset: Dataset, tmp_path: Path) -> None:
    done = to_files(read_dataset(dataset), tmp_path / "out", "sharegpt")
    assert done.steps[-1].kept == 120
    to_dataset(
        read_records(tmp_path / "out", "sharegpt", About()),
        tmp_path / "back",
        DatasetConfig(name="back", tokenizer=dataset.tokenizer, image=dataset.manifest.counting.image),
        {},
    )
    assert items_of(Dataset.open(tmp_path / "back")) == items_of(dataset)


def test_nothing_to_convert_is_one_clear_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        list(read_records(tmp_path / "nowhere", "llava", About()))
    with pytest.raises(UserError, match="no file that ends in"):
        list(read_records(folder / "a", "openai", About()))
    (folder / "data.json").write_text(json.dumps([changed(image="a/2.png")]))
    with pytest.raises(UserError, match=r"data.json#1: a/2.png: no such picture"):
        to_dataset(read_records(folder / "data.json", "llava", About()), tmp_path / "out", DatasetConfig(name="s"), {})
    assert not (tmp_path / "out" / "dataset.json").exists()
