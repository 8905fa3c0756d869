"""A sample that is written to any format is read back unchanged, or refused."""

import io
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage
from tokenizers import Tokenizer

from step3vl.data.convert import FORMATS, RecordDefaults
from step3vl.data.convert.conversion import LEDGER_FOLDER, to_files
from step3vl.data.convert.record_source import SampleSource, read_records
from step3vl.data.dataset.dead_letters import read_dead_letters
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.errors import UserError
from step3vl.data.sample.action import Action
from step3vl.data.sample.conversations import GuiStep, trajectory
from step3vl.data.sample.crops import ImageSpec
from step3vl.data.sample.json_schema import sample_schema
from step3vl.data.sample.parts import Image, image, text
from step3vl.data.sample.sample import Message, Sample, Source, ToolCall
from step3vl.data.sample.truth import ActionTruth, AnyTruth, CountTruth, TextTruth
from step3vl.data.tokens.encoding import count_sample, encode_sample

SOURCE = Source(uri="test:1", licence="CC0-1.0", collected_by="tests", parents=("0" * 32,))

SCHEMA = jsonschema.Draft202012Validator(sample_schema())

CONVERSATIONAL = ["llava", "sharegpt", "openai", "huggingface", "step"]


def encoded(number: int, format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", (8 + number % 5, 8), (number % 256, 40, 90)).save(buffer, format)
    return buffer.getvalue()


IMAGES = [Image.from_bytes(encoded(number, format)) for number, format in enumerate(["PNG", "JPEG", "WEBP"])]

TEXT = st.text(st.sampled_from('ab 1\né好<>"\\'), min_size=1, max_size=10)

PLAIN = st.text(st.sampled_from("abc 12.?é好"), min_size=1, max_size=12)


@st.composite
def any_sample(draw: st.DrawFn, texts=TEXT) -> Sample:
    """Documents, conversations and preferences with images, reasoning, calls and weights."""
    images: list[Image] = []

    def content(least: int = 1) -> tuple:
        parts = [text(draw(texts)) for _ in range(draw(st.integers(least, 2)))]
        if draw(st.booleans()):
            parts.insert(draw(st.integers(0, len(parts))), image(len(images)))
            images.append(draw(st.sampled_from(IMAGES)))
        return tuple(parts)

    scores = draw(st.dictionaries(st.sampled_from(["clip", "pass"]), st.floats(0, 1), max_size=2))
    truth = draw(st.sampled_from([None, TextTruth(text="a"), CountTruth(count=3)]))
    common = {"domain": "d", "task": "d.t", "source": SOURCE, "scores": scores, "truth": truth}
    if draw(st.booleans()):
        content_ = content()
        return Sample.make(content=content_, images=tuple(images), **common)
    turns = [Message(role="system", content=(text(draw(texts)),))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        turns.append(Message(role="user", content=content()))
        reasoning = draw(st.none() | texts)
        weight = draw(st.sampled_from([None, 0.0, 0.5]))
        if draw(st.booleans()):
            call = ToolCall(name="look", arguments={"at": draw(texts), "n": 1.5})
            turns.append(Message(role="assistant", content=(), reasoning_content=reasoning, tool_calls=(call,)))
            turns.append(Message(role="tool", content=content()))
        turns.append(Message(role="assistant", content=content(), reasoning_content=reasoning, loss_weight=weight))
    tools = ({"type": "function", "function": {"name": "look"}},) if draw(st.booleans()) else ()
    other = Message(role="assistant", content=(text(draw(texts)),), reasoning_content=draw(st.none() | texts))
    rejected = draw(st.sampled_from([None, other]).filter(lambda answer: answer != turns[-1]))
    return Sample.make(messages=tuple(turns), rejected=rejected, tools=tools, images=tuple(images), **common)


@given(any_sample())
def test_tokens_are_counted_as_they_are_encoded(qwen3: Tokenizer, sample: Sample) -> None:
    encoded = encode_sample(sample, qwen3, ImageSpec())
    counted = count_sample(sample, qwen3, ImageSpec())
    assert counted == (len(encoded.input_ids) - encoded.image_tokens, encoded.image_tokens, counted.trained)
    assert counted.trained == np.count_nonzero(encoded.loss_weights)


def write_and_read(
    samples: list[Sample], format_name: str, folder: Path
) -> tuple[dict[str, Sample], list[DeadLetter]]:
    """Write and read samples; returns those that were read by id, and those that could not be written."""
    out = folder / format_name
    try:
        to_files(SampleSource.of(samples), out, format_name)
    except UserError:
        return {}, []
    items = list(read_records(out, format_name, RecordDefaults()))
    assert not [item for item in items if isinstance(item, DeadLetter)], "everything written can be read"
    refused = list(read_dead_letters(out / LEDGER_FOLDER))
    return {item.id: item for item in items if isinstance(item, Sample)}, refused


def without_bytes(sample: Sample) -> Sample:
    """The sample without the bytes of its images and pointers to them."""
    return sample.model_copy(
        update={"images": tuple(image.model_copy(update={"at": None, "data": None}) for image in sample.images)}
    )


@settings(max_examples=60)
@given(st.lists(any_sample(), min_size=1, max_size=4), st.sampled_from(sorted(FORMATS)))
def test_sample_is_read_back_unchanged_or_was_refused(tmp_path_factory, samples, format_name) -> None:
    samples = list({sample.id: sample for sample in samples}.values())
    back, refused = write_and_read(samples, format_name, tmp_path_factory.mktemp("convert"))
    if back:
        assert len(back) + len(refused) == len(samples)
    for sample in samples:
        if sample.id in back:
            assert without_bytes(back[sample.id]) == without_bytes(sample)
            assert [image.read() for image in back[sample.id].images] == [image.read() for image in sample.images]


@settings(max_examples=40)
@given(any_sample())
def test_row_round_trip_and_json_schema(sample: Sample) -> None:
    row = json.loads(json.dumps(sample.to_row(), sort_keys=True))
    SCHEMA.validate(row)
    restored = Sample.from_row(row)
    assert restored == without_bytes(sample) and restored.content_id() == sample.id


@settings(max_examples=25)
@given(st.lists(any_sample(PLAIN), min_size=1, max_size=4), st.sampled_from(["openai", "huggingface"]))
def test_openai_and_huggingface_hold_every_conversation(tmp_path_factory, samples, format_name) -> None:
    samples = list(
        {sample.id: sample for sample in samples if format_name == "huggingface" or sample.messages}.values()
    )
    back, _ = write_and_read(samples, format_name, tmp_path_factory.mktemp("convert"))
    assert set(back) == {sample.id for sample in samples}


@pytest.mark.parametrize("format_name", CONVERSATIONAL)
def test_trajectory_and_truth_round_trip(format_name: str, tmp_path: Path) -> None:
    click = Action(action="click", point_2d=(500, 40))
    steps = [GuiStep(0, "The button is at the top.", click), GuiStep(1, "", Action(action="complete"))]
    truths = (ActionTruth(action=Action(action="complete")), ActionTruth(action=click, boxes=((480, 20, 520, 60),)))
    sample = Sample.make(
        domain="gui",
        task="gui.trajectory",
        source=SOURCE,
        messages=trajectory("Open the menu.", steps, system="You act on screens."),
        images=tuple(IMAGES[:2]),
        truth=AnyTruth(truths=truths),
    )
    back, refused = write_and_read([sample], format_name, tmp_path)
    assert without_bytes(back[sample.id]) == without_bytes(sample) and not refused
