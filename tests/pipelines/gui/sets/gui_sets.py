"""The sets of `data/samples/gui_sets`, as entries name them."""

from collections import Counter
from pathlib import Path
from typing import Any

from tests.pipelines.through_steps import through_steps

from step3vl.data.sample import Sample
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.domains.gui_annotated import DOMAIN, AnnotatedGuiEntry
from step3vl.pipelines.gui.sets.format import SetFile
from step3vl.pipelines.gui.sets.formats import load_format
from step3vl.pipelines.gui.sets.records import RawEpisode, RawScreen

FOLDER = "data/samples/gui_sets"
OUTSIDE = {"images": "../images/{name}"}
STATED = {"coordinates": {"order": "xyxy", "unit": "pixels"}}
TEST = {"test_sets": True}
SETS: dict[str, dict[str, Any]] = {
    "agentnet": OUTSIDE,
    "aitw": {},
    "amex": OUTSIDE,
    "android_control": {},
    "gui_odyssey": OUTSIDE,
    "mind2web": {},
    "mmbench_gui": {**OUTSIDE, **STATED, **TEST},
    "os_atlas": OUTSIDE,
    "osworld_g": {**OUTSIDE, **TEST},
    "screenspot": {**OUTSIDE, **TEST},
    "screenspot_pro": {**OUTSIDE, **TEST},
    "seeclick": OUTSIDE,
    "uground": {"coordinates": {"order": "xyxy", "unit": "of_999"}},
    "wave_ui": {},
    "weblinx": {},
}
"""The fields of an entry that reads a set, by format."""


def entry_of(name: str, **fields: Any) -> AnnotatedGuiEntry:
    """An entry that reads a set."""
    files = "replay.json" if name == "weblinx" else "*"
    values = {
        "domain": "gui.annotated",
        "name": name,
        "format": name,
        "sources": [{"files": [f"{FOLDER}/{name}/{files}"], "licence": "CC0-1.0"}],
        **SETS[name],
        **fields,
    }
    return AnnotatedGuiEntry.model_validate(values)


def build(entry: AnnotatedGuiEntry, context: StepContext) -> tuple[list[Sample], Counter[str]]:
    """The samples of an entry, and why records are not kept."""
    return through_steps(DOMAIN, entry, context)


def read(name: str, path: Path) -> list[RawScreen | RawEpisode]:
    """What a file says, of a format that says what its numbers mean."""
    format, file = load_format(name), SetFile(path, str(path.absolute()))
    return [format.convert(item, file) for _, item in format.items(file)]
