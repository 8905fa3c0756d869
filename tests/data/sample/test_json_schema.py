"""The published JSON Schema of a sample."""

import io
from pathlib import Path

import jsonschema
from PIL import Image as PILImage

from step3vl.data.sample.conversations import conversation
from step3vl.data.sample.json_schema import sample_schema, schema_text
from step3vl.data.sample.parts import Image, image, text
from step3vl.data.sample.sample import Message, Sample, Source, ToolCall
from step3vl.data.sample.truth import AnyTruth, CountTruth, MathTruth, TextTruth

SOURCE = Source(uri="test:1", licence="CC0-1.0", collected_by="tests")


def encoded(size: tuple[int, int] = (20, 10), format: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", size, (200, 30, 30)).save(buffer, format, **options)
    return buffer.getvalue()


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


CALL = ToolCall(name="look", arguments={"z": 1, "a": [None, "é"]})


def test_published_schema_is_up_to_date() -> None:
    published = Path(__file__).parents[3] / "data" / "sample.schema.json"
    assert published.read_text() == schema_text(), "step3vl corpus schema > data/sample.schema.json"


def test_schema_accepts_rows_and_refuses_others() -> None:
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
