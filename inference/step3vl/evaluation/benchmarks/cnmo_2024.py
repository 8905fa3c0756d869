"""The Chinese National Mathematical Olympiad of 2024."""

from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.math_problems import MathProblems


class CNMO2024(MathProblems):
    """Answers are numbers and expressions."""

    about = About(
        name="cnmo-2024",
        title="CNMO 2024",
        paper="https://github.com/open-compass/opencompass (no release of the authors)",
        licence="unknown",
        items=20,
        repeats=64,
        family="boxed",
        metric="mean accuracy over 64 responses to each problem",
        files=(
            DataFile("*.jsonl", "https://github.com/open-compass/opencompass (no release of the authors)", "0.1 MB"),
        ),
        modality="text",
        notes=("The report does not name its problems; its numbers fit 20 or 40, not the 18 of common copies.",),
    )


BENCHMARK = CNMO2024()
