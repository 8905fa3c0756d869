"""Design2Code-HARD: 80 more difficult screenshots of web pages."""

from dataclasses import replace

from step3vl.evaluation.benchmark import DataFile
from step3vl.evaluation.benchmarks.design2code import CLIP, Design2Code


class Design2CodeHard(Design2Code):
    """The same rule on other pages."""

    about = replace(
        Design2Code.about,
        name="design2code-hard",
        title="Design2Code (hard)",
        items=80,
        files=(
            DataFile("*.html", "https://huggingface.co/datasets/SALT-NLP/Design2Code-HARD", "2 MB"),
            DataFile("*.png", "https://huggingface.co/datasets/SALT-NLP/Design2Code-HARD", "40 MB", optional=True),
            CLIP,
        ),
    )


BENCHMARK = Design2CodeHard()
