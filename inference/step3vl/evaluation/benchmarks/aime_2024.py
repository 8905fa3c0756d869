"""The American Invitational Mathematics Examination of 2024: 30 problems."""

from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.math_problems import MathProblems


class AIME2024(MathProblems):
    """Both papers of the year; answers are integers from 0 to 999."""

    about = About(
        name="aime-2024",
        title="AIME 2024",
        paper="https://huggingface.co/datasets/HuggingFaceH4/aime_2024",
        licence="the problems belong to the MAA",
        items=30,
        repeats=64,
        family="boxed",
        metric="mean accuracy over 64 responses to each problem",
        files=(DataFile("**/*.parquet", "https://huggingface.co/datasets/HuggingFaceH4/aime_2024", "0.1 MB"),),
        modality="text",
    )


BENCHMARK = AIME2024()
