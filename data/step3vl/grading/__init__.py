"""How an answer is graded: one home for filters, rewards, synthesis data and evaluation."""

from step3vl.data.sample.answers import parse_action, parse_boxes, parse_labelled_boxes, parse_points
from step3vl.grading.extraction import SplitReply, marked_answer, split_reply
from step3vl.grading.grader import grade_answer, grade_reply
from step3vl.grading.number import last_number
from step3vl.grading.statistics import Constant, Estimate, best_constant, estimate, paired_difference
from step3vl.grading.text import final_answer, normalise
from step3vl.grading.verdicts import VERDICTS, Grade, Verdict, verdict_shares

__all__ = [
    "VERDICTS",
    "Constant",
    "Estimate",
    "Grade",
    "SplitReply",
    "Verdict",
    "best_constant",
    "estimate",
    "final_answer",
    "grade_answer",
    "grade_reply",
    "last_number",
    "marked_answer",
    "normalise",
    "paired_difference",
    "parse_action",
    "parse_boxes",
    "parse_labelled_boxes",
    "parse_points",
    "split_reply",
    "verdict_shares",
]
