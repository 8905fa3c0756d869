"""The canonical JSON that is written from the fields is that of the model's dump, for samples of every kind."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from step3vl.data.sample import (
    ActionTruth,
    AnyTruth,
    BoxTruth,
    ChecksTruth,
    MathTruth,
    Message,
    NumberTruth,
    OptionTruth,
    Pointer,
    PresentCheck,
    Sample,
    Source,
    TextTruth,
    TokenCount,
    ToolCall,
    image,
    text,
)
from step3vl.data.sample.action import Action
from step3vl.data.sample.canonical import content_json, row_json

Make = Callable[..., Sample]

AWKWARD = '"quoted" \\ \x01\x1f\x7f\t\r\n\u2028 é 好 \U0001f600 </think> {}'
QUESTION = Message(role="user", content=(text(AWKWARD),))
ANSWER = Message(role="assistant", content=(text("x"), text(AWKWARD)), reasoning_content="")
CALL = ToolCall(name="look", arguments={"z": [1.5, None], "a": AWKWARD})
KINDS: dict[str, dict[str, Any]] = {
    "conversation": {},
    "document": {"messages": None, "content": (text(AWKWARD), image(0), text("")), "truth": None},
    "preference": {"rejected": Message(role="assistant", content=(text("no"),), reasoning_content=AWKWARD)},
    "turns": {
        "messages": (
            Message(role="system", content=(text("s"),), name="observation"),
            QUESTION,
            ANSWER.model_copy(update={"loss_weight": 1e-7, "tool_calls": (CALL, CALL)}),
            Message(role="tool", content=(image(0),)),
            Message(role="assistant", content=(), loss_weight=1e22),
        ),
        "tools": ({"z": 1, "a": AWKWARD}, {}),
    },
    "scores": {"scores": {"z": 1e-9, "a": -0.0, AWKWARD: 3}},
    "source": {
        "source": Source(
            uri=AWKWARD, licence="x", collected_by="y", parents=("b", "a"), traits={"z": AWKWARD, "a": "1"}
        )
    },
    **{
        truth.kind: {"truth": truth}
        for truth in (
            TextTruth(text=AWKWARD),
            NumberTruth(value=0.1, relative_tolerance=0.05),
            OptionTruth(option="A", options=("A", "B")),
            BoxTruth(boxes=((1, 2, 3, 4),), labels=(AWKWARD,)),
            ActionTruth(action=Action(action="type", text=AWKWARD)),
            ChecksTruth(checks=(PresentCheck(text=AWKWARD),)),
            AnyTruth(truths=(MathTruth(expression=AWKWARD), TextTruth(text="a"))),
        )
    },
}


def dumped(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def content_of(sample: Sample) -> dict[str, Any]:
    fields = {"domain", "task", "content", "messages", "rejected", "tools", "truth"}
    return {**sample.model_dump(mode="json", include=fields), "images": [image.sha256 for image in sample.images]}


def row_of(sample: Sample) -> dict[str, Any]:
    row = sample.to_row()
    return {**row, "images": [{name: image[name] for name in image if name != "at"} for image in row["images"]]}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_json_of_the_dump(sample: Make, kind: str) -> None:
    made = sample(**KINDS[kind])
    stored = made.images[0].stored_at(Pointer(path="x", offset=0, size=9))
    counted = made.model_copy(update={"images": (stored,), "tokens": TokenCount(text=4, image=3)})
    for variant in (made, counted):
        assert content_json(variant) == dumped(content_of(variant))
        assert row_json(variant, variant.tokens) == dumped(row_of(variant))


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=2, max_size=6))
@example(["\x00", "\ud7ff\ue000"])
def test_every_text_is_escaped_as_json_does(texts: list[str]) -> None:
    messages = (
        Message(role="user", content=tuple(map(text, texts[1:]))),
        Message(role="assistant", content=(text(texts[0]),), reasoning_content=texts[-1]),
    )
    source = Source(uri=texts[0], licence="x", collected_by=texts[-1], traits={texts[1]: texts[0]})
    made = Sample.make(domain="d", task="t", source=source, messages=messages, truth=TextTruth(text=texts[-1]))
    assert content_json(made) == dumped(content_of(made))
    assert row_json(made, None) == dumped(row_of(made))


def test_every_field_of_a_message_and_of_a_sample_is_in_the_trials() -> None:
    """A new field is written only when it is added to `canonical.py`, and to a trial above."""
    names = {name for changes in KINDS.values() for name in changes}
    assert set(Sample.model_fields) - {"version", "id", "domain", "task", "images", "tokens"} <= names
    fields = {name for message in KINDS["turns"]["messages"] for name in message.model_fields_set}
    assert fields == set(Message.model_fields)
