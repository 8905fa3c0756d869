"""AI2D, test set: diagrams of grade-school science, with letters over their labels."""

from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice


class AI2D(MultipleChoice):
    """The answer is the option's number from 0."""

    about = About(
        name="ai2d",
        title="AI2D",
        paper="https://allenai.org/data/diagrams",
        licence="CC BY-SA 4.0",
        items=3088,
        repeats=4,
        family="letter-directly",
        metric="right of 3088",
        files=(DataFile("data/test-*.parquet", "https://huggingface.co/datasets/lmms-lab/ai2d", "500 MB"),),
        notes=("Images whose labels are covered by letters (this set) and those without score several points apart.",),
    )
    columns = Columns(id="", options="options", indexed=True)


BENCHMARK = AI2D()
