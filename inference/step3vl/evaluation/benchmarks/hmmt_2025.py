"""The Harvard-MIT Mathematics Tournament of February 2025: 30 problems."""

from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.math_problems import MathProblems


class HMMT2025(MathProblems):
    """Answers are numbers and expressions."""

    about = About(
        name="hmmt-2025",
        title="HMMT 2025",
        paper="https://huggingface.co/datasets/MathArena/hmmt_feb_2025",
        licence="CC BY-NC-SA 4.0",
        items=30,
        repeats=64,
        family="boxed",
        metric="mean accuracy over 64 responses to each problem",
        files=(DataFile("**/*.parquet", "https://huggingface.co/datasets/MathArena/hmmt_feb_2025", "0.1 MB"),),
        modality="text",
    )


BENCHMARK = HMMT2025()
