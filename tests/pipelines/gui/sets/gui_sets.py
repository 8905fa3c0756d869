"""The sets of `data/samples/gui_sets`, as entries name them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from step3vl.data.sample import Sample
from step3vl.data.storage import DEFAULT_STORE
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.inputs import list_pattern
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains.gui_annotated import AnnotatedGuiEntry, MakeSamples, OpenScreens, ReadSet
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
    entry.check(context)
    (source,) = entry.sources
    files = list_pattern(source.files[0], source.licence, entry="t", base=context.base, store=DEFAULT_STORE)
    records: Sequence[Any] = sorted((Record(file.key, file) for file in files), key=lambda record: record.key)
    lost: Counter[str] = Counter()
    for make in (ReadSet, OpenScreens, MakeSamples):
        worker: Any = make(entry, context)
        worker.setup()
        outputs: list[Any] = []
        for record in records:
            try:
                outputs += worker.process(record, rng_for(make.__name__, record.key))
            except Dropped as drop:
                lost[drop.reason] += 1
            except ValueError as error:
                lost[str(error)] += 1
        records = outputs
    return list(records), lost


def read(name: str, path: Path) -> list[RawScreen | RawEpisode]:
    """What a file says, of a format that says what its numbers mean."""
    format, file = load_format(name), SetFile(path, str(path.absolute()))
    return [format.convert(item, file) for _, item in format.items(file)]
