"""OmniSpatial, test set: dynamics, logic, interaction and perspective in space."""

from pathlib import Path

from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.files import image_bytes
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice, Record


class OmniSpatial(MultipleChoice):
    """The answer is the option's number from 0; an image is named by the kind of task and the first part of the id."""

    about = About(
        name="omnispatial",
        title="OmniSpatial",
        paper="https://github.com/qizekun/OmniSpatial",
        licence="Apache-2.0",
        items=1533,
        repeats=4,
        family="final-option",
        metric="right of 1533",
        files=(
            DataFile("OmniSpatial-test/data.json", "https://huggingface.co/datasets/qizekun/OmniSpatial", "900 kB"),
            DataFile("OmniSpatial-test/*/*.png", "OmniSpatial-test.zip of the same", "1.7 GB", optional=True),
        ),
        notes=("lmms-eval's port takes A where it reads no letter; here such a response is unparsable.",),
    )
    columns = Columns(id="", options="options", indexed=True, images=(), category="task_type")

    def image_values(self, record: Record, data: Path) -> list[bytes | Path]:
        name = f"{record['task_type']}/{str(record['id']).split('_')[0]}.png"
        return [image_bytes(name, data / "OmniSpatial-test")]


BENCHMARK = OmniSpatial()
