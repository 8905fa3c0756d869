"""Answer a file of questions into a file of answers, resumable after any interruption. Needs no torch."""

from step3vl.inference.batch.answer_file import AnswerFile, AnswerRow
from step3vl.inference.batch.questions import Question, count_questions, read_questions
from step3vl.inference.batch.runner import BatchConfig, BatchSummary, answer_all

__all__ = [
    "AnswerFile",
    "AnswerRow",
    "BatchConfig",
    "BatchSummary",
    "Question",
    "answer_all",
    "count_questions",
    "read_questions",
]
