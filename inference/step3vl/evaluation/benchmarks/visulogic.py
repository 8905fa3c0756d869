"""VisuLogic: puzzles of visual logic, with the options in the image."""

from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice


class VisuLogic(MultipleChoice):
    """The question names four options, which the image shows."""

    about = About(
        name="visulogic",
        title="VisuLogic",
        paper="https://github.com/VisuLogic-Benchmark/VisuLogic-Eval",
        licence="Apache-2.0",
        items=1000,
        repeats=4,
        family="boxed-letter",
        metric="right of 1000",
        files=(
            DataFile("data.jsonl", "https://huggingface.co/datasets/VisuLogic/VisuLogic", "600 kB"),
            DataFile("images/*", "images.zip of the same", "120 MB", optional=True),
        ),
    )
    columns = Columns(id="", options="", answer="label", images=("image_path",), category="tag")


BENCHMARK = VisuLogic()
