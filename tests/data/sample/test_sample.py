"""Samples: validation names the field, and ids follow from the content."""

import json
from collections.abc import Callable

import pytest
from pydantic import ValidationError

from step3vl.data.sample.conversations import conversation
from step3vl.data.sample.parts import Image, Pointer, image, text
from step3vl.data.sample.sample import Message, Sample, Source, ToolCall
from step3vl.data.sample.truth import BoxTruth

Make = Callable[..., Sample]

SOURCE = Source(uri="test:1", licence="CC0-1.0", collected_by="tests")


def test_id_depends_on_content_but_not_on_source_or_scores(sample: Make, encoded: Callable[..., bytes]) -> None:
    other = Source(uri="test:2", licence="MIT", collected_by="tests")
    assert sample().id == sample(source=other, scores={"a": 1.0}).id
    assert sample().id != sample(answer="4").id
    assert sample().id != sample(images=(Image.from_bytes(encoded((21, 10))),)).id


def test_row_round_trip_keeps_pointers_and_drops_bytes(sample: Make) -> None:
    staged = sample().images[0].stored_at(Pointer(path="x", offset=0, size=9))
    row = sample(images=(staged,)).to_row()
    assert "data" not in row["images"][0]
    assert Sample.from_row(row) == sample(images=(staged,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"messages": None}, "either content"),
        ({"content": (image(0),)}, "either content"),
        ({"images": ()}, "image parts must name"),
        ({"task": "No Dots"}, "task"),
        ({"messages": (Message(role="user", content=(image(0),)),)}, "must end with an assistant"),
    ],
)
def test_invalid_sample_names_the_field(sample: Make, changes: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        sample(**changes)


CALL = ToolCall(name="look", arguments={"z": 1, "a": [None, "é"]})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"role": "user", "reasoning_content": "hm"}, "only an assistant"),
        ({"role": "tool", "tool_calls": (CALL,)}, "a tool message has tool_calls; only an assistant"),
        ({"role": "user", "loss_weight": 1.0}, "only an assistant"),
        ({"role": "user", "name": "observation"}, "only a system message"),
        ({"role": "assistant", "loss_weight": -1.0}, "loss_weight"),
        ({"role": "robot"}, "role"),
    ],
)
def test_message_fields_depend_on_the_role(fields: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Message(content=(text("hi"),), **fields)


@pytest.mark.parametrize("name", ["", 'a"b', "a b"])
def test_tool_call_needs_a_name_and_json_arguments(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        ToolCall(name=name, arguments={})
    with pytest.raises(ValidationError, match="not a JSON object"):
        ToolCall(name="f", arguments={"x": float("nan")})


def turns(*roles: str) -> tuple[Message, ...]:
    return tuple(Message(role=role, content=(text("x"),)) for role in roles)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        (turns("tool", "user", "assistant"), "cannot begin with a tool"),
        (turns("user", "tool", "assistant"), "must follow an assistant or tool turn, not a user turn"),
        (turns("system", "assistant"), "at least one user"),
        (turns("user", "assistant", "tool"), "must end with an assistant"),
    ],
)
def test_invalid_order_of_turns_is_refused(sample: Make, messages: tuple[Message, ...], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        sample(messages=messages, images=())


def test_document_with_tools_is_refused(sample: Make) -> None:
    with pytest.raises(ValidationError, match="a document has none"):
        sample(messages=None, content=(image(0),), tools=({"name": "f"},))


def test_optional_fields_do_not_change_the_ids_of_earlier_samples() -> None:
    """The id is that of a version without tools, weights and labels."""
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


def test_tools_calls_and_weights_change_the_id_and_keep_the_order_of_keys(sample: Make) -> None:
    question, answer = Message(role="user", content=(text("?"),)), Message(role="assistant", content=(text("x"),))
    plain = sample(messages=(question, answer), images=())
    weighted = sample(messages=(question, answer.model_copy(update={"loss_weight": 0.5})), images=())
    called = sample(messages=(question, answer.model_copy(update={"tool_calls": (CALL,)})), images=())
    tooled = sample(messages=(question, answer), images=(), tools=({"z": 1, "a": 2},))
    assert len({plain.id, weighted.id, called.id, tooled.id}) == 4
    for variant in (weighted, called, tooled):
        stored = json.loads(json.dumps(variant.to_row(), sort_keys=True))
        assert Sample.from_row(stored) == variant
    stored = json.loads(json.dumps(called.to_row(), sort_keys=True))
    assert list(Sample.from_row(stored).messages[1].tool_calls[0].arguments) == ["z", "a"]


def test_invalid_row_error_has_id_field_and_value(sample: Make) -> None:
    row = sample(images=(sample().images[0].stored_at(Pointer(path="x", offset=0, size=9)),)).to_row()
    with pytest.raises(ValueError, match=rf"sample {row['id']}: images.0.width: .*; found 0"):
        Sample.from_row({**row, "images": [{**row["images"][0], "width": 0}]})
    with pytest.raises(ValueError, match=r"scores.clip: .*finite"):
        Sample.from_row({**row, "scores": {"clip": float("nan")}})
    with pytest.raises(ValueError, match=r"domain: .*\(and 1 more\)"):
        Sample.from_row({**row, "colour": "red", "domain": "No"})


def test_a_rejected_answer_makes_a_preference_and_changes_no_other_id() -> None:
    messages = conversation((text("?"),), "good")
    fields = {"domain": "d", "task": "t", "source": SOURCE, "messages": messages}
    plain = Sample.make(**fields)
    pair = Sample.make(**fields, rejected=Message(role="assistant", content=(text("bad"),)))
    assert (plain.kind, pair.kind) == ("conversation", "preference") and plain.id != pair.id
    assert "rejected" not in plain.to_row() and "version" not in plain.to_row()
    assert pair.to_row()["version"] == 2 and Sample.from_row(pair.to_row()) == pair
    for rejected, reason in (
        (messages[-1], "the same as the one that was chosen"),
        (messages[0], "an assistant turn of texts"),
    ):
        with pytest.raises(ValueError, match=reason):
            Sample.make(**fields, rejected=rejected)
    with pytest.raises(ValueError, match="has version 2"):
        Sample.from_row({key: value for key, value in pair.to_row().items() if key != "version"})
