"""The American Invitational Mathematics Examination of 2025: 30 problems."""

from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.math_problems import MathProblems


class AIME2025(MathProblems):
    """Both papers of the year; answers are integers from 0 to 999."""

    about = About(
        name="aime-2025",
        title="AIME 2025",
        paper="https://huggingface.co/datasets/math-ai/aime25",
        licence="the problems belong to the MAA",
        items=30,
        repeats=64,
        family="boxed",
        metric="mean accuracy over 64 responses to each problem",
        files=(DataFile("test*.jsonl", "https://huggingface.co/datasets/math-ai/aime25", "0.1 MB"),),
        modality="text",
    )


BENCHMARK = AIME2025()
