"""Marks are where the coordinates of truths, answers and questions are, in pixels of the right image."""

import pytest

from step3vl.data.sample import (
    AnyTruth,
    Message,
    PointTruth,
    Sample,
    Source,
    TextTruth,
    conversation,
    image,
    text,
)
from step3vl.pipelines.view.viewer.marks import Mark, marks_of

SOURCE = Source(uri="t", licence="CC0-1.0", collected_by="tests")


def test_boxes_of_truth_and_answer_have_their_labels(samples):
    assert marks_of(samples["boxes"]) == [
        Mark(0, "answer", "cat", box=(40.0, 40.0, 200.0, 120.0)),  # of 400 x 200 pixels
        Mark(0, "answer", "sky", box=(0.0, 0.0, 400.0, 20.0)),
        Mark(0, "truth", "cat", box=(40.0, 40.0, 192.0, 120.0)),
        Mark(0, "truth", "sky", box=(0.0, 0.0, 400.0, 20.0)),
    ]


def test_each_action_of_a_trajectory_is_on_its_screen(samples):
    assert marks_of(samples["trajectory"]) == [
        Mark(0, "answer", "1 click", points=((25.0, 100.0),)),
        Mark(1, "answer", "2 slide", points=((50.0, 180.0), (50.0, 20.0))),
        Mark(2, "answer", "3 complete done"),
    ]


@pytest.fixture(scope="module")
def images(samples):
    return samples["trajectory"].images  # three of 100 x 200 pixels


def test_points_are_on_the_first_image_of_the_latest_message_with_images(images):
    sample = Sample.make(
        domain="t", task="t", source=SOURCE, images=images, truth=PointTruth(boxes=((0, 0, 100, 100),)),
        messages=(
            Message(role="user", content=(image(0), text('What is at {"point_2d": [500, 500]}?'))),
            Message(role="assistant", content=(text("A cat."),)),
            Message(role="user", content=(image(1), image(2), text("And where is it here?"))),
            Message(role="assistant", content=(text('{"point_2d": [50, 50]}'),)),
        ),
    )  # fmt: skip
    assert marks_of(sample) == [
        Mark(0, "question", "", points=((50.0, 100.0),)),
        Mark(1, "answer", "", points=((5.0, 10.0),)),
        Mark(1, "truth", "", box=(0.0, 0.0, 10.0, 20.0)),
    ]


def test_every_acceptable_truth_is_marked(images):
    truth = AnyTruth(truths=(TextTruth(text="cat"), PointTruth(boxes=((0, 0, 1000, 1000),))))
    messages = conversation((image(0), text("Where?")), "cat")
    sample = Sample.make(domain="t", task="t", source=SOURCE, images=images[:1], messages=messages, truth=truth)
    assert marks_of(sample) == [Mark(0, "truth", "", box=(0.0, 0.0, 100.0, 200.0))]


def test_texts_of_a_document_mark_the_image_before_them(images):
    content = (text('{"point_2d": [1, 1]}'), image(0), image(1), text('{"bbox_2d": [500, 0, 0, 500], "label": "a"}'))
    sample = Sample.make(domain="t", task="t", source=SOURCE, images=images[:2], content=content)
    assert marks_of(sample) == [Mark(1, "answer", "a", box=(0.0, 0.0, 50.0, 100.0))]


def test_samples_without_images_have_no_marks(samples):
    assert marks_of(samples["document"]) == []
    messages = conversation((text("Where?"),), '{"point_2d": [50, 50]}')
    assert marks_of(Sample.make(domain="t", task="t", source=SOURCE, messages=messages)) == []
