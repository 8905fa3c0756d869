"""How many shifted and resized boxes of elements the label check of screens finds by their outlines.

    python tests/benchmarks/planted_boxes.py DATASET [BOXES]

DATASET has samples of `gui` or `gui.desktop`. Each line says of a kind of boxes how many have no unclear side, one,
or two and more, from which `corpus verify-labels` calls a label wrong.
"""

import random
import sys
from collections import Counter, defaultdict

from step3vl.data.dataset import Dataset
from step3vl.data.sample import Box, Image
from step3vl.data.sample.truth import MilliBox
from step3vl.pipelines.core.steps import rng_for
from step3vl.pipelines.gui.outlines import unclear_sides

Edges = tuple[float, float, float, float]
_TASKS = ("gui.grounding.point", "gui.grounding.box", "gui.grounding.all", "gui.action.single")


def planted(box: MilliBox, rng: random.Random) -> dict[str, Edges]:
    """Wrong boxes made of a right one, by kind."""
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    x, y = rng.uniform(0, 1000 - width), rng.uniform(0, 1000 - height)
    return {
        "half a width to the right": (x1 + width / 2, y1, x2 + width / 2, y2),
        "half a height down": (x1, y1 + height / 2, x2, y2 + height / 2),
        "a third of both": (x1 + width / 3, y1 + height / 3, x2 + width / 3, y2 + height / 3),
        "a whole height down": (x1, y1 + height, x2, y2 + height),
        "half as wide": (x1 + width / 4, y1, x2 - width / 4, y2),
        "twice as high": (x1, y1 - height / 2, x2, y2 + height / 2),
        "elsewhere": (x, y, x + width, y + height),
    }


def main(url: str, number: int) -> None:
    """Print how many sides are unclear of right boxes and of planted ones."""
    samples = [sample for sample in Dataset.open(url).samples() if sample.task in _TASKS]
    boxes: list[tuple[Image, MilliBox]] = [
        (sample.images[0], box) for sample in samples for box in getattr(sample.truth, "boxes", ())
    ]
    rng = rng_for("planted boxes")
    counts: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for image, box in rng.sample(boxes, min(number, len(boxes))):
        pixels = image.open().convert("RGB")
        kinds: dict[str, Edges] = {"right": box, **planted(box, rng)}
        for kind, edges in kinds.items():
            if min(edges) >= 0 and max(edges) <= 1000:
                counts[kind][min(2, unclear_sides(pixels, Box(*edges, "milli", pixels.size)))] += 1
    for kind, sides in counts.items():
        shares = " ".join(f"{sides[unclear] / sides.total():6.1%}" for unclear in range(3))
        print(f"{kind:28}{sides.total():6} {shares}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 300)
