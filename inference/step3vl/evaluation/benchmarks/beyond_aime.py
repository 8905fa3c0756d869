"""BeyondAIME: 100 problems harder than AIME's."""

from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.math_problems import MathProblems


class BeyondAIME(MathProblems):
    """Answers are integers."""

    about = About(
        name="beyond-aime",
        title="BeyondAIME",
        paper="https://huggingface.co/datasets/ByteDance-Seed/BeyondAIME",
        licence="CC0-1.0",
        items=100,
        repeats=64,
        family="boxed",
        metric="mean accuracy over 64 responses to each problem",
        files=(DataFile("**/*.parquet", "https://huggingface.co/datasets/ByteDance-Seed/BeyondAIME", "0.1 MB"),),
        modality="text",
    )


BENCHMARK = BeyondAIME()
