"""Answer a file of questions into a file of answers, resumable after any interruption. Needs no torch."""

from step3vl.inference.batch.answer_file import AnswerFile, AnswerRow, Reply
from step3vl.inference.batch.questions import Question, count_questions, read_questions
from step3vl.inference.batch.runner import BatchConfig, BatchSummary, answer_all, question_seed, reply_to

__all__ = [
    "AnswerFile",
    "AnswerRow",
    "BatchConfig",
    "BatchSummary",
    "Question",
    "Reply",
    "answer_all",
    "count_questions",
    "question_seed",
    "read_questions",
    "reply_to",
]
