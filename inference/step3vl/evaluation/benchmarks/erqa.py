"""ERQA: embodied reasoning on photographs, mostly of robots at work."""

from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice


class ERQA(MultipleChoice):
    """The question holds its choices."""

    about = About(
        name="erqa",
        title="ERQA",
        paper="https://github.com/embodiedreasoning/ERQA",
        licence="Apache-2.0 (code), CC BY 4.0 (data)",
        items=400,
        repeats=4,
        family="final-option",
        metric="right of 400",
        files=(DataFile("data/test-*.parquet", "https://huggingface.co/datasets/FlagEval/ERQA", "800 MB"),),
        notes=(
            "All images precede the question; the release also has the places of some within it (visual_indices).",
        ),
    )
    columns = Columns(id="question_id", options="", images=("images",), category="question_type")


BENCHMARK = ERQA()
