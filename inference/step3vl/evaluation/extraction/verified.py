"""The strict rule for answers that a truth verifies: the graders of rewards and filters, with a trace."""

from step3vl.data.sample import Truth
from step3vl.evaluation.item import Score
from step3vl.grading import grade_answer, marked_answer
from step3vl.grading.extraction import phrased_answer

_REPEATED = 200
"""Characters of a response without a marked answer that the trace repeats."""


def score_by_truth(truth: Truth, response: str) -> Score:
    """Grade a response as training does, see `step3vl.grading`. Never raises; comparisons have deadlines."""
    extracted, place = final_part(response)
    grade = grade_answer(truth, response)
    if grade.verdict == "unparsable":
        return Score.unparsable("nothing of the kind asked for")
    trace = (place, f"compared: {grade.verdict}")
    if 0 < grade.value < 1:
        return Score(grade.value, "partial", extracted, trace)
    return Score.of(grade.verdict == "correct", extracted, *trace)


def final_part(response: str) -> tuple[str, str]:
    """What a response marks as its answer, or what follows its last answer phrase, or its end; and which of these."""
    marked = marked_answer(response)
    if marked is not None:
        return marked, "marked as final"
    phrased = phrased_answer(response)
    if phrased:
        return phrased.split("\n", 1)[0].strip(" *[]"), "after an answer phrase"
    return response.strip()[-_REPEATED:], "whole response"
