"""ScreenSpot-V2: ScreenSpot with its wrong labels corrected, 1,272 instructions."""

from collections.abc import Iterator
from pathlib import Path

from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.benchmarks.screenspot import PARTS
from step3vl.evaluation.grounding import FAMILY, ScreenSpotFiles
from step3vl.evaluation.item import Item


class ScreenSpotV2(ScreenSpotFiles):
    """Reads the official files, and those of GUI-Actor, which hold sizes and corners."""

    about = About(
        name="screenspot-v2",
        title="ScreenSpot-V2",
        paper="https://huggingface.co/datasets/OS-Copilot/ScreenSpot-v2",
        licence="Apache-2.0; the files of GUI-Actor: MIT",
        items=1272,
        repeats=4,
        family=FAMILY,
        metric="accuracy: the point lies in the box, borders included",
        files=(
            DataFile("screenspot_*_v2.json", "https://huggingface.co/datasets/OS-Copilot/ScreenSpot-v2", "0.5 MB"),
            DataFile(
                "screenspotv2_image/*.png", "https://huggingface.co/datasets/OS-Copilot/ScreenSpot-v2", "1.1 GB", True
            ),
        ),
        notes=(
            "The official files write boxes as x, y, width, height and need the images for their sizes; "
            "those with `img_size` and `ui_type` (github.com/microsoft/GUI-Actor) write corners.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        return self.read_parts(data, PARTS, "screenspot_{part}_v2.json", "screenspotv2_image", images)


BENCHMARK = ScreenSpotV2()
