"""Truths: what is refused, and what their dump leaves out so that ids of samples stay."""

import pytest
from pydantic import TypeAdapter, ValidationError

from step3vl.data.sample.truth import BoxTruth, NumberTruth, Truth


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "boxes", "boxes": [[0, 0, 1, 1]], "labels": ["a", "b"]}, "1 boxes have 2 labels"),
        ({"kind": "boxes", "boxes": []}, "at least 1"),
        ({"kind": "boxes", "boxes": [[9, 0, 1, 1]]}, "top left first"),
        ({"kind": "point", "boxes": [[0, 0, 1, 1001]]}, "0..1000"),
        ({"kind": "action", "action": {"action": "click", "point_2d": [1, 1]}}, "needs boxes"),
        ({"kind": "action", "action": {"action": "click", "point_2d": [1, 1001]}}, "1000"),
        ({"kind": "number", "value": 1, "relative_tolerance": -0.1}, "greater than or equal to 0"),
        ({"kind": "any", "truths": []}, "at least 1"),
        ({"kind": "guess"}, "guess"),
    ],
)
def test_truth_that_no_answer_could_meet_is_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(Truth).validate_python(fields)


@pytest.mark.parametrize(
    ("truth", "fields"),
    [
        (NumberTruth(value=1), {"kind": "number", "value": 1.0, "tolerance": 1e-6}),
        (
            NumberTruth(value=1, relative_tolerance=0.05),
            {"kind": "number", "value": 1.0, "tolerance": 1e-6, "relative_tolerance": 0.05},
        ),
        (BoxTruth(boxes=((0, 0, 1, 1),)), {"kind": "boxes", "boxes": ((0, 0, 1, 1),)}),
    ],
)
def test_fields_that_were_added_later_are_left_out_at_their_default(truth: Truth, fields: dict) -> None:
    """The id of a sample is a hash of what it holds, its truth included."""
    assert truth.model_dump() == fields
