"""Visual questions made from what other domains' samples prove: their tables, graphs, texts and captions.

After the VQA data of the STEP3-VL-10B report, section 2.2: question-answer pairs generated from the other OCR tasks.
The inputs are committed datasets. Their truth is parsed, questions are asked of it, and every answer is computed in
two ways; what a sample does not prove is not asked. A judge on a server may look at the questions besides.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from pydantic import Field

from step3vl.data.dataset import Dataset, Split
from step3vl.data.sample import Sample, TextPart, TextTruth, TranscriptTruth
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, DomainEntry, Inputs, IntRange
from step3vl.pipelines.core.inputs import InputFile, absolute_pattern
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.domains.knowledge_phrasings import language_of
from step3vl.pipelines.domains.vqa_questions.captions import CaptionQuestions, caption_of
from step3vl.pipelines.domains.vqa_questions.conversations import Asker, converse
from step3vl.pipelines.domains.vqa_questions.graphs import GraphQuestions
from step3vl.pipelines.domains.vqa_questions.judging import JUDGE_STEP, WriteConversations, check_judge
from step3vl.pipelines.domains.vqa_questions.label_check import CheckByReading
from step3vl.pipelines.domains.vqa_questions.mosaics import MosaicQuestions
from step3vl.pipelines.domains.vqa_questions.tables import TableQuestions
from step3vl.pipelines.domains.vqa_questions.text import TextQuestions
from step3vl.pipelines.domains.vqa_questions.turns import Asked, Language, Subject
from step3vl.pipelines.models.judge import JudgeConfig
from step3vl.pipelines.sources.dataset_samples import SampleRef, ShardReader, read_sample, shard_files
from step3vl.pipelines.sources.tables.data_tables import graph_of, tables_of
from step3vl.pipelines.sources.tables.topics import TOPICS
from step3vl.pipelines.sources.tables.topics_zh import ZH_TOPICS

_SECONDS = 30.0  # for a sample; patterns run over other people's text
_STEP = re.compile(r"multiples of ([\d.]*\d)|均为 ([\d.]*\d) 的倍数")
_WHOLE_TEXTS = ("ocr.image_to_text", "ocr.document_to_text")  # tasks whose label is all that the image says
_CAPTIONS = "knowledge.pairs"  # the task whose texts are captions
_MOSAICS = "knowledge.mosaic_captions"
_SLICE = 16  # captioned images whose captions are the wrong ones for each other
# Layouts of a single column.
_WITH_LINES = ("", "form", "letter", "list", "note", "receipt", "sign", "terminal")  # words: a layout
_OUTSIDE_LABELS = tuple(
    dict.fromkeys(label for topic in (*TOPICS, *ZH_TOPICS) for _, labels in topic.labels for label in labels)
)


class VqaEntry(DomainEntry):
    """Questions about the images of committed datasets."""

    INPUT_FIELDS = frozenset({"datasets"})

    domain: Literal["vqa"]
    datasets: tuple[str, ...] = Field(min_length=1)
    """Folders or URLs of committed datasets."""
    tasks: tuple[str, ...] = ("ocr.*",)
    """Shell patterns of the tasks whose samples are asked about, such as `knowledge.*` for captions and mosaics."""
    split: Split | None = "train"
    """Only samples of this split, so that no held-out image is trained on; null for all."""
    languages: tuple[Language, ...] = ("en", "zh")
    """Of the questions."""
    conversations: int = Field(default=1, gt=0)
    """For each sample, with questions of their own as far as there are enough."""
    turns: IntRange = (1, 3)
    """Questions in a conversation."""
    choices: float = Field(default=0.3, ge=0, le=1)
    """The fraction of questions that offer options."""
    unanswerable: float = Field(default=0.08, ge=0, le=1)
    """The fraction of questions that ask for what the image does not show."""
    text_files: tuple[str, ...] = ("assets:text/*.txt",)
    """Patterns of texts, from which words are taken that an image does not show."""
    judge: JudgeConfig | None = None
    """A model that looks at each conversation; answers that it finds wrong are dropped."""

    def inputs(self) -> Inputs:
        return shard_files(self.datasets)

    def assets(self) -> tuple[str, ...]:
        return self.text_files

    def check(self, context: StepContext) -> None:
        super().check(context)
        check_judge(self.judge)
        for dataset in self.datasets:
            Dataset.open(absolute_pattern(dataset, context.base), context.store)


class _Captioned(NamedTuple):
    ref: SampleRef
    caption: str
    image: str
    """Its hash: one image may be there with several captions."""


class FindSamples:
    """Worker: a shard becomes the samples in it that the entry asks for, captioned ones with captions of others."""

    def __init__(self, entry: VqaEntry, context: StepContext) -> None:
        self._reader = ShardReader(entry.tasks, entry.split, context.store)

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[InputFile], rng: random.Random) -> Iterator[Record[SampleRef]]:
        slices: defaultdict[tuple[str, Language], list[_Captioned]] = defaultdict(list)
        for ref in self._reader.samples(record.value):
            sample = read_sample(ref) if ref.task == _CAPTIONS else None
            caption = caption_of(sample) if sample else None
            if sample is None or caption is None:
                yield Record(f"{record.key}#{ref.id}", ref)
                continue
            part = slices[sample.source.licence, language_of(caption)]
            part.append(_Captioned(ref, caption, sample.images[0].sha256))
            if len(part) == _SLICE:
                yield from _with_captions(record.key, part)
                part.clear()
        for part in slices.values():
            yield from _with_captions(record.key, part)


def _with_captions(shard: str, part: Sequence[_Captioned]) -> Iterator[Record[SampleRef]]:
    """Captioned images under one licence and in one language, each with the captions of other images among them."""
    for ref, _, image in part:
        others = tuple(other.caption for other in part if other.image != image)
        yield Record(f"{shard}#{ref.id}", ref.model_copy(update={"captions": others}))


class AskAboutSamples:
    """Worker: a sample becomes conversations about its image."""

    def __init__(self, entry: VqaEntry, context: StepContext) -> None:
        self._entry, self._context = entry, context

    def setup(self) -> None:
        paths = self._context.assets(self._entry.text_files)
        self._outside = [line for path in paths for line in path.read_text("utf-8").splitlines() if line.strip()]

    def process(self, record: Record[SampleRef], rng: random.Random) -> Iterator[Record[Asked]]:
        entry, sample = self._entry, read_sample(record.value)
        if len(sample.images) != 1:
            raise Dropped("not_one_image")
        language = rng.choice(entry.languages)
        kind, subject, asker = self._asker(sample, record.value.captions, language, rng)
        asked: set[str] = set()
        for number in range(entry.conversations):
            length = rng.randint(*entry.turns)
            if kind in ("caption", "mosaic"):  # a question says what the next one would ask for
                length = 1
            turns = converse(asker, subject, language, length, entry.choices, entry.unanswerable, asked, rng)
            if not turns:
                break
            yield Record(
                f"{record.key}/{number + 1}",
                Asked(
                    image=sample.images[0],
                    turns=turns,
                    task=f"vqa.{kind}",
                    language=language,
                    licence=sample.source.licence,
                    origin=sample.source.uri,
                    parents=(sample.id,),
                    traits={"parent": sample.task},
                ),
            )
        if not asked:
            raise Dropped("nothing_to_ask")

    def _asker(
        self, sample: Sample, captions: tuple[str, ...], language: Language, rng: random.Random
    ) -> tuple[str, Subject, Asker]:
        """The task but for `vqa.`, what the image is, and who asks about it.

        Raises:
            Dropped: The sample proves nothing to ask about.
        """
        task, truth = sample.task, sample.truth
        if task == _CAPTIONS:
            caption = caption_of(sample)
            if caption is None:
                raise Dropped("no_caption")
            return "caption", "image", CaptionQuestions(caption, captions, language, rng)
        if not isinstance(truth, TranscriptTruth | TextTruth):
            raise Dropped("no_facts")
        if task == _MOSAICS:
            traits = sample.source.traits
            written: Language = "zh" if traits["language"] == "zh" else "en"
            return "mosaic", "mosaic", MosaicQuestions(truth.text, traits["layout"], written, language, rng)
        if task.startswith("knowledge."):
            raise Dropped("no_facts")
        if task in _WHOLE_TEXTS:
            has_lines = task == "ocr.image_to_text" and sample.source.traits.get("layout", "") in _WITH_LINES
            asker = TextQuestions(truth.text, has_lines, language, self._outside, rng)
            return ("text", "image", asker) if task == "ocr.image_to_text" else ("document", "page", asker)
        if (graph := graph_of(truth.text)) is not None:
            return "diagram", "diagram", GraphQuestions(graph, language, rng)
        tables = tables_of(truth.text)
        if not tables:
            raise Dropped("no_facts")
        if len(tables) > 1:
            raise Dropped("several_tables")
        subject: Subject = "chart" if task.endswith("chart_data") else "table"
        return subject, subject, TableQuestions(tables[0], language, _step_of(sample), _OUTSIDE_LABELS, rng)


def _step_of(sample: Sample) -> str:
    """What the sample's question says that values are multiples of; empty where they stand in the image."""
    question = "".join(part.text for part in sample.parts() if isinstance(part, TextPart))
    match = _STEP.search(question)
    return (match[1] or match[2]) if match else ""


DOMAIN = Domain(
    VqaEntry,
    steps=(
        BeamStep("find", version=2, worker=FindSamples, output=SampleRef),
        BeamStep("ask", version=1, worker=AskAboutSamples, output=Asked, spread=True, time_limit=_SECONDS),
        JUDGE_STEP,
        BeamStep("build", version=1, worker=WriteConversations, output=Sample),
    ),
    example={"datasets": ["data/samples/labelled"]},
    label_check=CheckByReading,
)
