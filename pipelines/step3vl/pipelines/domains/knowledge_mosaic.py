"""Mosaics: four images in one, with captions that say which is where.

After the mosaic pairs of the STEP3-VL-10B report, section 2.2: a larger effective resolution, more to say, and regions
to tell apart. The four come from one slice of a file of pairs, so no join over a corpus is needed; such files are
shuffled when they are made. No image is cropped, so each caption still fits, and boxes are exact to the pixel.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Literal

from PIL import Image as PILImage
from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.sample import Box, BoxTruth, Image, PointTruth, Sample, Source, Truth
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import (
    BeamStep,
    Domain,
    DomainEntry,
    Files,
    FileSource,
    IntRange,
    ModelStep,
    Unchecked,
)
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.samples import compose, encode_jpeg
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.domains.knowledge_drafts import (
    BATCH,
    FIELDS,
    check_prompts,
    has_judge,
    has_recaption,
    model_traits,
)
from step3vl.pipelines.domains.knowledge_phrasings import language_of
from step3vl.pipelines.domains.knowledge_sources import OPEN_SECONDS, PAGE_SECONDS
from step3vl.pipelines.domains.mosaic_questions import Task, ask
from step3vl.pipelines.models.endpoint import Usage
from step3vl.pipelines.models.judge import CAPTION_PROMPT, Judge, JudgeConfig, Judgement
from step3vl.pipelines.models.recaption import SENTENCE_PROMPT, Recaption, RecaptionConfig, Recaptioner
from step3vl.pipelines.models.similarity import detail
from step3vl.pipelines.render.scenes.mosaic import (
    LAYOUTS,
    choose_frame,
    compose_mosaic,
    differences,
    edge_contrast,
    place,
    plain_border,
)
from step3vl.pipelines.sources.pairs.image_text import Pair, PairSlice
from step3vl.pipelines.sources.pairs.pair_reader import PairReader, slices_of_file
from step3vl.pipelines.sources.text.words import content_words
from step3vl.pipelines.sources.web.fetch import FetchConfig
from step3vl.pipelines.sources.web.main_element import text_length
from step3vl.pipelines.sources.web.page_pairs import is_boilerplate

_IMAGES = 4
_SAME = 0.5  # of the content words of two captions, from which they may be taken for each other
_MIN_SIDE = 48  # pixels of an image in a mosaic
_MIN_DETAIL = 0.1
_OWN = 10.0  # grey levels by which a box may differ from its image, after JPEG
_EDGE = 2.0  # times as strong as what is around it is an edge that the label check sees
_OTHERS = 15.0  # grey levels by which it must differ from every other


class MosaicEntry(DomainEntry):
    """Four images in one."""

    INPUT_FIELDS = frozenset({"sources"})

    domain: Literal["knowledge.mosaic"]
    sources: tuple[FileSource, ...] = Field(min_length=1)
    """Files of pairs: Parquet tables with the columns of LAION, COYO, Zero or BLIP-CCS, or img2dataset's tars."""
    fetch: FetchConfig | None = None
    """How images that are not in the files are fetched; without it they are missing."""
    licences: tuple[str, ...] = ()
    """Keep only pairs under these licences; under any when empty."""
    tasks: dict[Task, float] = Field(
        default={
            "knowledge.mosaic_captions": 2.0,
            "knowledge.mosaic_region": 1.0,
            "knowledge.mosaic_locate": 1.0,
            "knowledge.mosaic_place": 1.0,
        },
        min_length=1,
    )
    """Relative weights of the tasks."""
    rounds: int = Field(default=1, ge=1)
    """How often each pair is used, each time with others."""
    image_sides: IntRange = (64, 20000)
    """The shortest and the longest side of an image, in pixels."""
    max_aspect: float = Field(default=3.0, ge=1)
    """The longer side of an image, or of a mosaic, over its shorter one."""
    characters: IntRange = (4, 300)
    """Of a caption, a CJK one counting double."""
    longest: IntRange = (448, 1344)
    """Pixels of the longer side of a mosaic; at most what its images have."""
    recaption: RecaptionConfig | None = None
    """A model that writes a new caption of each image, knowing the one that was chosen."""
    judge: JudgeConfig | None = None
    """A model that says how well each caption fits its image; a mosaic with one that does not is dropped."""

    def inputs(self) -> Files:
        return Files(self.sources)

    def check(self, context: StepContext) -> None:
        super().check(context)
        check_prompts(self.recaption, self.judge)


class OpenPairFiles:
    """Worker: a file becomes slices of pairs."""

    def __init__(self, entry: MosaicEntry, context: StepContext) -> None:
        self._context = context

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[InputFile], rng: random.Random) -> Iterator[Record[PairSlice]]:
        for part in slices_of_file(self._context.local_path(record.value), record.value):
            yield Record(f"{record.key}#{part.start}{'-damaged' if part.damage else ''}", part)


class Captioned(Config):
    """An image and its caption."""

    image: Image
    caption: str
    uri: str
    licence: str


class Group(Config):
    """The images of a mosaic, or why there is none."""

    members: tuple[Captioned, ...] = ()
    reason: str = ""


class MosaicDraft(Config):
    """A mosaic that is to be a sample."""

    image: Image
    layout: str
    boxes: tuple[Box, ...]
    members: tuple[Captioned, ...]
    """With the captions of the sample."""
    task: Task
    question: str
    answer: str
    truth: Truth
    recaptions: tuple[Recaption, ...] = ()
    """Of the members, with the captions that they came with."""
    judgements: tuple[Judgement, ...] = ()
    """Of the members."""

    @property
    def paid(self) -> dict[str, float]:
        """Tokens and price of the last model that saw the images, for `corpus cost`."""
        last = self.judgements or self.recaptions
        usage = sum((each.usage for each in last), Usage())
        return usage.paid(sum(each.price for each in last)) if last else {}


class GroupPairs:
    """Worker: a slice of pairs becomes groups of four that differ in image and caption."""

    def __init__(self, entry: MosaicEntry, context: StepContext) -> None:
        self._entry = entry
        self._context = context

    def setup(self) -> None:
        entry, context = self._entry, self._context
        self._pairs = PairReader(
            entry.image_sides, entry.max_aspect, entry.licences, entry.fetch, context.root, context.store
        )

    def process(self, record: Record[PairSlice], rng: random.Random) -> Iterator[Record[Group]]:
        part, number = record.value, 0
        usable: list[Captioned] = []
        for pair in self._pairs.read(part, self._context.local_path(part.file)):
            captioned, reason = self._captioned(pair, rng)
            if captioned is None:
                yield Record(f"{record.key}/{pair.uri.rpartition('#')[2]}-unused", Group(reason=reason))
            else:
                usable.append(captioned)
        for _ in range(self._entry.rounds):
            rng.shuffle(usable)
            groups, left = _grouped(usable)
            for members in groups:
                yield Record(f"{record.key}/{number}", Group(members=members))
                number += 1
            if left:
                yield Record(f"{record.key}/{number}", Group(reason="fewer_than_four_left"))
                number += 1

    def _captioned(self, pair: Pair, rng: random.Random) -> tuple[Captioned | None, str]:
        """A pair with one of its captions, or why it is left out."""
        if pair.image is None:
            return None, pair.reason
        low, high = self._entry.characters
        captions = [
            each.text for each in pair.texts if low <= text_length(each.text) <= high and not is_boilerplate(each.text)
        ]
        if not captions:
            return None, "no_fitting_text"
        caption = rng.choice(captions)
        return Captioned(image=pair.image, caption=caption, uri=pair.uri, licence=pair.licence), ""


def _grouped(pairs: Sequence[Captioned]) -> tuple[list[tuple[Captioned, ...]], int]:
    """Groups of four that cannot be confused, in one language each, and how many pairs are left."""
    groups: list[tuple[Captioned, ...]] = []
    open_groups: list[list[Captioned]] = []
    for pair in pairs:
        for group in open_groups:
            if all(_differ(pair, other) for other in group):
                group.append(pair)
                break
        else:
            group = [pair]
            open_groups.append(group)
        if len(group) == _IMAGES:
            groups.append(tuple(group))
            open_groups.remove(group)
    return groups, sum(map(len, open_groups))


def _differ(first: Captioned, second: Captioned) -> bool:
    """Whether two pairs may be in one mosaic."""
    if first.image.sha256 == second.image.sha256 or language_of(first.caption) != language_of(second.caption):
        return False
    words, others = set(content_words(first.caption)), set(content_words(second.caption))
    return bool(words and others) and len(words & others) < _SAME * min(len(words), len(others))


class BuildMosaics:
    """Worker: a group becomes a mosaic and a question about it, as the draft of a sample."""

    def __init__(self, entry: MosaicEntry, context: StepContext) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[Group], rng: random.Random) -> Iterator[Record[MosaicDraft]]:
        entry, group = self._entry, record.value
        if group.reason:
            raise Dropped(group.reason)
        images = [member.image.open() for member in group.members]
        if min(map(detail, images)) < _MIN_DETAIL:
            raise Dropped("blank_image")
        layout, mosaic, boxes = self._laid_out(images, rng)
        encoded = encode_jpeg(mosaic, quality=rng.randint(85, 95))
        _prove(encoded.open(), images, boxes)
        captions = [member.caption for member in group.members]
        language = language_of(captions[0])
        task = rng.choices(list(entry.tasks), list(entry.tasks.values()))[0]
        question = ask(task, layout, boxes, captions, language, rng)
        draft = MosaicDraft(
            image=encoded,
            layout=layout,
            boxes=tuple(boxes),
            members=group.members,
            task=task,
            question=question.text,
            answer=question.answer,
            truth=question.truth,
        )
        yield Record(record.key, draft)

    def _laid_out(self, images: Sequence[PILImage.Image], rng: random.Random) -> tuple[str, PILImage.Image, list[Box]]:
        """A layout that suits the images, the mosaic, and the boxes of the images."""
        low, high = self._entry.longest
        longest = rng.randint(low, high)
        frame = choose_frame(longest, rng, [colour for image in images if (colour := plain_border(image))])
        aspects = [image.width / image.height for image in images]
        names = list(LAYOUTS)
        rng.shuffle(names)
        for name in names:
            try:
                size, boxes = place(LAYOUTS[name], aspects, frame, longest)
            except ValueError:
                continue
            enlarged = max((box.x2 - box.x1) / image.width for image, box in zip(images, boxes, strict=True))
            if enlarged > 1 and longest / enlarged >= low:
                size, boxes = place(LAYOUTS[name], aspects, frame, int(longest / enlarged))
            smallest = min(min(box.x2 - box.x1, box.y2 - box.y1) for box in boxes)
            if max(size) <= self._entry.max_aspect * min(size) and smallest >= _MIN_SIDE:
                return name, compose_mosaic(images, size, boxes, frame), boxes
        raise Dropped("no_layout")


def _prove(mosaic: PILImage.Image, images: Sequence[PILImage.Image], boxes: Sequence[Box]) -> None:
    """Look into each box of the finished mosaic. Raises ValueError unless it shows its image, and no other."""
    for number, box in enumerate(boxes):
        levels = differences(mosaic, images, box)
        difference = levels.pop(number)
        if difference > _OWN:
            raise ValueError(f"box {number} differs from its image by {difference:.1f} grey levels")
        if min(levels) < _OTHERS:
            raise Dropped("images_alike")


class RecaptionMembers:
    """Annotator: drafts with new captions of their images by a model."""

    def __init__(self, entry: MosaicEntry) -> None:
        assert entry.recaption is not None
        self._recaptioner = Recaptioner(entry.recaption, SENTENCE_PROMPT)

    def __call__(self, drafts: Sequence[MosaicDraft]) -> list[MosaicDraft]:
        written = iter(self._recaptioner([(each.image, each.caption) for draft in drafts for each in draft.members]))
        return [_recaptioned(draft, tuple(next(written) for _ in draft.members)) for draft in drafts]


def _recaptioned(draft: MosaicDraft, recaptions: tuple[Recaption, ...]) -> MosaicDraft:
    """The draft with new captions. Raises Dropped unless they can be told apart, as the old ones could."""
    members = tuple(
        member.model_copy(update={"caption": " ".join(recaption.result.split())})  # a line of the answer each
        for member, recaption in zip(draft.members, recaptions, strict=True)
    )
    if not all(_differ(member, other) for member, other in combinations(members, 2)):
        raise Dropped("captions_alike")
    return draft.model_copy(update={"members": members, "recaptions": recaptions})


class JudgeMembers:
    """Annotator: drafts with the judgements of their captions, each beside its own image."""

    def __init__(self, entry: MosaicEntry) -> None:
        assert entry.judge is not None
        self._judge = Judge(entry.judge, CAPTION_PROMPT, FIELDS)

    def __call__(self, drafts: Sequence[MosaicDraft]) -> list[MosaicDraft]:
        items = [((each.image,), {"text": each.caption}) for draft in drafts for each in draft.members]
        judgements = iter(self._judge(items))
        return [
            draft.model_copy(update={"judgements": tuple(next(judgements) for _ in draft.members)}) for draft in drafts
        ]


class WriteMosaics:
    """Worker: a draft becomes a sample, unless the judge finds that one of its captions does not fit."""

    def __init__(self, entry: MosaicEntry, context: StepContext) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[MosaicDraft], rng: random.Random) -> Iterator[Sample]:
        entry, draft = self._entry, record.value
        captions = [member.caption for member in draft.members]
        language = language_of(captions[0])
        question, answer, truth = draft.question, draft.answer, draft.truth
        if draft.recaptions:
            question, answer, truth = ask(draft.task, draft.layout, draft.boxes, captions, language, rng)
        scores: dict[str, float] = {}
        if entry.judge is not None:
            worst = min(draft.judgements, key=lambda judgement: judgement.score)
            worst.require(entry.judge)
            scores["judge"] = worst.score
        models = model_traits(next(iter(draft.recaptions), None), next(iter(draft.judgements), None))
        yield compose(
            kind=entry.kind,
            domain="knowledge",
            task=draft.task,
            question=question,
            answer=answer,
            truth=truth,
            images=[draft.image],
            source=Source(
                uri=" ".join(member.uri for member in draft.members),
                licence=" AND ".join(sorted({member.licence for member in draft.members})),
                collected_by=f"step3vl/{entry.name}",
                traits={"layout": draft.layout, "language": language, **models},
            ),
            scores=scores,
        )


class CheckBoxes:
    """Label check: an image ends where its box does, which the pixels along the edges show."""

    def __init__(self, entry: MosaicEntry, context: StepContext) -> None:
        """Nothing to load."""

    def __call__(self, sample: Sample) -> str | None:
        if not isinstance(sample.truth, BoxTruth | PointTruth):
            raise Unchecked("no_box")
        image = sample.images[0].open()
        edges = edge_contrast(image, sample.truth.boxes[0])
        if not edges:
            raise Unchecked("no_edge_to_see")
        weak = [contrast for contrast in edges if contrast < _EDGE]
        return "no_edge" if len(weak) * 2 > len(edges) else None


DOMAIN = Domain(
    MosaicEntry,
    steps=(
        BeamStep("open", version=1, worker=OpenPairFiles, output=PairSlice, time_limit=OPEN_SECONDS),
        BeamStep("group", version=1, worker=GroupPairs, output=Group, spread=True, time_limit=PAGE_SECONDS),
        BeamStep("build", version=2, worker=BuildMosaics, output=MosaicDraft),
        ModelStep(
            "recaption", version=1, annotator=RecaptionMembers, output=MosaicDraft, batch=BATCH, when=has_recaption
        ),
        ModelStep("judge", version=1, annotator=JudgeMembers, output=MosaicDraft, batch=BATCH, when=has_judge),
        BeamStep("write", version=1, worker=WriteMosaics, output=Sample),
    ),
    example={
        "sources": [{"files": ["data/samples/pairs/*.tar"], "licence": "CC0-1.0"}],
        "longest": [224, 336],
    },
    label_check=CheckBoxes,
)
