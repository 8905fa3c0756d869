"""Samples: validation that names the field, ids that follow the content, pictures that are whole."""

import io
import json
import struct
import zlib
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage
from pydantic import ValidationError

from step3vl.data.action import Action
from step3vl.data.sample import (
    GuiStep,
    Image,
    Message,
    Pointer,
    Sample,
    Source,
    ToolCall,
    conversation,
    image,
    text,
    trajectory,
)
from step3vl.data.schema import sample_schema, schema_text
from step3vl.data.truth import AnyTruth, BoxTruth, CountTruth, MathTruth, TextTruth

SOURCE = Source(uri="test:1", licence="CC0-1.0", collected_by="tests")


def encoded(size: tuple[int, int] = (20, 10), format: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", size, (200, 30, 30)).save(buffer, format, **options)
    return buffer.getvalue()


def claiming(width: int, height: int) -> bytes:
    """A PNG whose header claims a size; it has the pixels of a smaller one."""
    data = encoded(format="PNG")
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def sample(answer: str = "3", **changes: object) -> Sample:
    fields: dict = {
        "domain": "counting",
        "task": "counting.icons",
        "messages": conversation((image(0), text("How many?")), answer),
        "images": (Image.from_bytes(encoded()),),
        "truth": CountTruth(count=3),
        "source": SOURCE,
    }
    return Sample.make(**{**fields, **changes})


def test_id_follows_the_content_and_not_the_source() -> None:
    other = Source(uri="test:2", licence="MIT", collected_by="tests")
    assert sample().id == sample(source=other, scores={"a": 1.0}).id
    assert sample().id != sample(answer="4").id
    assert sample().id != sample(images=(Image.from_bytes(encoded((21, 10))),)).id


def test_row_round_trips_without_bytes() -> None:
    staged = sample().images[0].pointed(Pointer(path="x", offset=0, size=9))
    row = sample(images=(staged,)).to_row()
    assert "data" not in row["images"][0]
    assert Sample.from_row(row) == sample(images=(staged,))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"messages": None}, "either content"),
        ({"content": (image(0),)}, "either content"),
        ({"images": ()}, "image parts must name"),
        ({"task": "No Dots"}, "task"),
        ({"messages": (Message(role="user", content=(image(0),)),)}, "must end with an assistant"),
    ],
)
def test_validation_names_what_is_wrong(changes: dict, named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        sample(**changes)


CALL = ToolCall(name="look", arguments={"z": 1, "a": [None, "é"]})


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"role": "user", "reasoning_content": "hm"}, "only an assistant"),
        ({"role": "tool", "tool_calls": (CALL,)}, "a tool message carries tool_calls; only an assistant"),
        ({"role": "user", "loss_weight": 1.0}, "only an assistant"),
        ({"role": "user", "name": "observation"}, "only a system message"),
        ({"role": "assistant", "loss_weight": -1.0}, "loss_weight"),
        ({"role": "robot"}, "role"),
    ],
)
def test_a_turn_carries_only_what_its_role_may(fields: dict, named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        Message(content=(text("hi"),), **fields)


@pytest.mark.parametrize("name", ["", 'a"b', "a b"])
def test_a_call_has_a_name_and_json(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        ToolCall(name=name, arguments={})
    with pytest.raises(ValidationError, match="not a JSON object"):
        ToolCall(name="f", arguments={"x": float("nan")})


def turns(*roles: str) -> tuple[Message, ...]:
    return tuple(Message(role=role, content=(text("x"),)) for role in roles)


@pytest.mark.parametrize(
    ("messages", "named"),
    [
        (turns("tool", "user", "assistant"), "cannot begin with a tool"),
        (turns("user", "tool", "assistant"), "must follow an assistant's or a tool's, not a user's"),
        (turns("system", "assistant"), "at least one user"),
        (turns("user", "assistant", "tool"), "must end with an assistant"),
    ],
)
def test_turns_stand_in_an_order_that_means_something(messages: tuple[Message, ...], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        sample(messages=messages, images=())


def test_a_document_has_no_tools() -> None:
    with pytest.raises(ValidationError, match="a document has none"):
        sample(messages=None, content=(image(0),), tools=({"name": "f"},))


def test_new_fields_do_not_change_the_ids_of_samples_without_them() -> None:
    """The id of a sample as it was before there were tools, weights and labels."""
    old = Sample.make(
        domain="counting",
        task="counting.icons",
        messages=conversation((text("How many?"),), "3"),
        truth=BoxTruth(boxes=((1, 2, 3, 4),)),
        source=SOURCE,
    )
    assert old.id == "80054445cae5e45fe3226709ae90b8be"
    assert set(old.to_row()["messages"][0]) == {"role", "content"}
    assert set(old.to_row()["truth"]) == {"kind", "boxes"}


def test_tools_calls_and_weights_are_content_and_round_trip_in_their_order() -> None:
    asked, answered = Message(role="user", content=(text("?"),)), Message(role="assistant", content=(text("x"),))
    plain = sample(messages=(asked, answered), images=())
    weighted = sample(messages=(asked, answered.model_copy(update={"loss_weight": 0.5})), images=())
    called = sample(messages=(asked, answered.model_copy(update={"tool_calls": (CALL,)})), images=())
    tooled = sample(messages=(asked, answered), images=(), tools=({"z": 1, "a": 2},))
    assert len({plain.id, weighted.id, called.id, tooled.id}) == 4
    for one in (weighted, called, tooled):
        stored = json.loads(json.dumps(one.to_row(), sort_keys=True))
        assert Sample.from_row(stored) == one
    stored = json.loads(json.dumps(called.to_row(), sort_keys=True))
    assert list(Sample.from_row(stored).messages[1].tool_calls[0].arguments) == ["z", "a"]


def test_a_trajectory_shows_each_screen_before_its_action() -> None:
    screens = tuple(Image.from_bytes(encoded((20, 10 + number))) for number in range(3))
    steps = [GuiStep(number, f"thought {number}", Action(action="wait")) for number in range(3)]
    made = sample(messages=trajectory("Open it.", steps, system="Act."), images=screens)
    assert [message.role for message in made.messages] == ["system", "user", *["assistant", "tool"] * 2, "assistant"]
    assert made.messages[1].content == (image(0), text("Open it."))
    assert made.messages[3].content == (image(1),)
    assert made.answer() == '{"action": "wait"}'


def test_a_row_that_is_no_sample_is_told_by_sample_field_and_mistake() -> None:
    row = sample(images=(sample().images[0].pointed(Pointer(path="x", offset=0, size=9)),)).to_row()
    with pytest.raises(ValueError, match=rf"sample {row['id']}: images.0.width: .*; found 0"):
        Sample.from_row({**row, "images": [{**row["images"][0], "width": 0}]})
    with pytest.raises(ValueError, match=r"scores.clip: .*finite"):
        Sample.from_row({**row, "scores": {"clip": float("nan")}})
    with pytest.raises(ValueError, match=r"domain: .*\(and 1 more\)"):
        Sample.from_row({**row, "colour": "red", "domain": "No"})


def test_the_published_schema_is_the_types() -> None:
    published = Path(__file__).parents[2] / "data" / "sample.schema.json"
    assert published.read_text() == schema_text(), "step3vl corpus schema > data/sample.schema.json"


def test_the_schema_takes_rows_and_refuses_others() -> None:
    validator = jsonschema.Draft202012Validator(sample_schema())
    asked = Message(role="user", content=(image(0), text("?")))
    answered = Message(role="assistant", content=(), reasoning_content="hm", tool_calls=(CALL,), loss_weight=0.5)
    rows = [
        sample().to_row(),
        sample(messages=(asked, answered), tools=({"name": "look"},)).to_row(),
        sample(truth=AnyTruth(truths=(TextTruth(text="a"), MathTruth(expression="x")))).to_row(),
        sample(messages=None, content=(image(0), text("A page."))).to_row(),
    ]
    for row in rows:
        validator.validate(row)
        assert not validator.is_valid({**row, "colour": "red"})
        assert not validator.is_valid({**row, "truth": {"kind": "guess"}})
        assert not validator.is_valid({**row, "id": "ABC"})


def test_size_is_as_seen_after_the_exif_orientation() -> None:
    exif = PILImage.Exif()
    exif[0x0112] = 6
    turned = Image.from_bytes(encoded((20, 10), exif=exif))
    assert (turned.width, turned.height) == (10, 20) == turned.open().size


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no known format of pictures"),
        (b"GIF89a but not", "picture"),
        (encoded((300, 300))[:900], "cannot be decoded"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no known format of pictures"),
        (encoded(format="PPM"), "a PPM picture is not one of jpeg, png"),
        (claiming(8193, 8193), "8193 x 8193 pixels are more than 67108864"),
    ],
)
def test_broken_picture_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Image.from_bytes(data)


@pytest.mark.filterwarnings("ignore")
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]), st.data())
def test_garbled_bytes_are_a_picture_or_a_reason(format: str, data: st.DataObject) -> None:
    garbled = bytearray(encoded((9, 7), format))
    for place in data.draw(st.lists(st.integers(0, len(garbled) - 1), max_size=6)):
        garbled[place] = data.draw(st.integers(0, 255))
    try:
        picture = Image.from_bytes(bytes(garbled))
    except ValueError:
        return
    assert picture.format == format.lower() and picture.open().size == (picture.width, picture.height)


def test_pointer_reads_its_slice_and_notices_a_cut_file(tmp_path: Path) -> None:
    path = tmp_path / "parts.bin"
    data = encoded()
    path.write_bytes(b"head" + data)
    picture = Image.from_bytes(data).pointed(Pointer(path=str(path), offset=4, size=len(data)))
    assert picture.read() == data
    path.write_bytes(b"head" + data[:-1])
    with pytest.raises(ValueError, match="the file was cut"):
        picture.read()


def test_a_phone_s_picture_with_further_ones_behind_it_is_a_jpeg() -> None:
    file = io.BytesIO()
    first, second = (PILImage.new("RGB", (20, 10), colour) for colour in ("red", "blue"))
    first.save(file, "MPO", save_all=True, append_images=[second])
    picture = Image.from_bytes(file.getvalue())
    assert picture.format == "jpeg" and picture.open().getpixel((5, 5))[0] > 200
