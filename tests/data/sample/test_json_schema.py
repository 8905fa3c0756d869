"""The published JSON Schema of a sample."""

from collections.abc import Callable
from pathlib import Path

import jsonschema

from step3vl.data.sample.json_schema import sample_schema, schema_text
from step3vl.data.sample.parts import image, text
from step3vl.data.sample.sample import Message, Sample, ToolCall
from step3vl.data.sample.truth import AnyTruth, MathTruth, TextTruth

CALL = ToolCall(name="look", arguments={"z": 1, "a": [None, "é"]})


def test_published_schema_is_up_to_date() -> None:
    published = Path(__file__).parents[3] / "data" / "sample.schema.json"
    assert published.read_text() == schema_text(), "step3vl corpus schema > data/sample.schema.json"


def test_schema_accepts_rows_and_refuses_others(sample: Callable[..., Sample]) -> None:
    validator = jsonschema.Draft202012Validator(sample_schema())
    question = Message(role="user", content=(image(0), text("?")))
    answer = Message(role="assistant", content=(), reasoning_content="hm", tool_calls=(CALL,), loss_weight=0.5)
    rows = [
        sample().to_row(),
        sample(messages=(question, answer), tools=({"name": "look"},)).to_row(),
        sample(truth=AnyTruth(truths=(TextTruth(text="a"), MathTruth(expression="x")))).to_row(),
        sample(messages=None, content=(image(0), text("A page."))).to_row(),
    ]
    for row in rows:
        validator.validate(row)
        assert not validator.is_valid({**row, "colour": "red"})
        assert not validator.is_valid({**row, "truth": {"kind": "guess"}})
        assert not validator.is_valid({**row, "id": "ABC"})
