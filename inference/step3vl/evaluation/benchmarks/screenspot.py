"""ScreenSpot: 1,272 instructions on mobile, desktop and web screens; boxes are x, y, width, height in pixels."""

from collections.abc import Iterator
from pathlib import Path

from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.grounding import FAMILY, ScreenSpotFiles
from step3vl.evaluation.item import Item

PARTS = ("mobile", "desktop", "web")


class ScreenSpot(ScreenSpotFiles):
    """The first release; its corrected labels are ScreenSpot-V2."""

    about = About(
        name="screenspot",
        title="ScreenSpot",
        paper="https://github.com/njucckevin/SeeClick",
        licence="Apache-2.0",
        items=1272,
        repeats=4,
        family=FAMILY,
        metric="accuracy: the point lies in the box, borders included",
        files=(
            DataFile("screenspot_*.json", "https://github.com/njucckevin/SeeClick, ScreenSpot", "0.5 MB"),
            DataFile("screenspot_imgs/*.png", "https://github.com/njucckevin/SeeClick, ScreenSpot", "1.1 GB"),
        ),
        notes=("The images are needed for scoring as well: the files do not say how large the screens are.",),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        return self.read_parts(data, PARTS, "screenspot_{part}.json", "screenspot_imgs", images)


BENCHMARK = ScreenSpot()
