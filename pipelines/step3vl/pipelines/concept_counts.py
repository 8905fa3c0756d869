"""Counting concepts in the captions of files of pairs: the first pass of concept balance, as a Beam pipeline.

Workers add up what they meet in a bundle, so that a number for each concept passes through the engine and never a
text. The driver holds the table, which has a line for each concept of the list, whatever the size of the files.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from step3vl.data.errors import UserError
from step3vl.data.storage import DEFAULT_STORE, StoreConfig, store_of
from step3vl.pipelines.core.beam import WriteList, read_list, run_pipeline
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.inputs import InputFile, list_pattern
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.models.concepts import ConceptList, table_lines
from step3vl.pipelines.sources.pairs.image_text import PairSlice
from step3vl.pipelines.sources.pairs.pair_reader import PairReader, slices_of_file

_COUNTS = "counts.json"
_TEXTS = "\t"  # counts texts, beside the concepts; no concept has a tab


def count_concepts_of(
    patterns: Sequence[str],
    concepts: str,
    out: str,
    *,
    beam_options: Sequence[str] = (),
    base: str | None = None,
    store: StoreConfig = DEFAULT_STORE,
) -> tuple[int, int]:
    """Count in how many captions each concept occurs, and write the table that `balance` of an entry names.

    Args:
        patterns: Of files of pairs: Parquet tables and img2dataset's tars, as paths or URLs.
        concepts: A text file with one concept a line: path, URL or `assets:...`.
        out: The table: path or URL. Beside it a folder `OUT.work` is used, and removed.
        beam_options: Beam's own.
        base: The absolute folder that relative patterns start from; by default the working directory.
        store: How remote stores are used.

    Returns:
        The number of captions, and of concepts that occur.

    Raises:
        UserError: A pattern matches nothing, or the list is empty.
        InfrastructureError: The machine caused an error.
    """
    base = base or str(Path.cwd())
    context = StepContext(0, base, store)
    _load_list(context, concepts)
    staging = Staging(f"{out}.work", base, store)

    def wire(pipeline: beam.Pipeline, staging: Staging) -> None:
        counts = (
            pipeline
            | beam.Create(list(patterns))
            | "list" >> beam.FlatMap(_list, context)
            | "deal files" >> beam.Reshuffle()
            | "slice" >> beam.FlatMap(_slices, context)
            | "deal slices" >> beam.Reshuffle()
            | "count" >> beam.ParDo(_Count(context, concepts)).with_output_types(tuple[str, int])
            | "add up" >> beam.CombinePerKey(sum)
            | "write down" >> beam.MapTuple(lambda name, count: json.dumps([name, count])).with_output_types(str)
        )
        _ = counts | WriteList(staging, _COUNTS)

    run_pipeline("counting concepts", beam_options, staging, wire)
    counts = dict(json.loads(text) for text in read_list(staging, _COUNTS))
    texts = counts.pop(_TEXTS, 0)
    target, path = store_of(out, store)
    target.put(path, "".join(table_lines(counts)).encode())
    staging.open().remove_folder("")
    return texts, len(counts)


def _load_list(context: StepContext, concepts: str) -> ConceptList:
    names = [line for path in context.assets([concepts]) for line in path.read_text("utf-8").splitlines()]
    loaded = ConceptList(names)
    if not loaded:
        raise UserError(f"{concepts} has no concept; give one a line")
    return loaded


def _list(pattern: str, context: StepContext) -> Iterator[str]:
    for file in list_pattern(pattern, "", entry="concepts", base=context.base, store=context.store):
        yield file.model_dump_json()


def _slices(text: str, context: StepContext) -> Iterator[str]:
    file = InputFile.model_validate_json(text)
    try:
        for part in slices_of_file(context.local_path(file), file):
            if not part.damage:
                yield part.model_dump_json()
    except Dropped as drop:
        raise UserError(f"{file.key} has no image-text pairs ({drop.reason}); narrow the pattern") from None


class _Count(beam.DoFn):
    """Counts the concepts in the captions of slices, and emits the sums of a bundle."""

    def __init__(self, context: StepContext, concepts: str) -> None:
        self._context = context
        self._concepts = concepts

    def setup(self) -> None:
        self._list = _load_list(self._context, self._concepts)
        self._reader = PairReader((1, 1), 1.0, (), None, "", self._context.store)

    def start_bundle(self) -> None:
        self._counts: Counter[str] = Counter()

    def process(self, text: str) -> None:
        part = PairSlice.model_validate_json(text)
        for raw in self._reader.captions(part, self._context.local_path(part.file)):
            for each in raw.texts:
                self._counts[_TEXTS] += 1
                self._counts.update(self._list.find(each.text))

    def finish_bundle(self) -> Iterator[Any]:
        for name, count in self._counts.items():
            yield WindowedValue((name, count), GlobalWindow().max_timestamp(), [GlobalWindow()])
