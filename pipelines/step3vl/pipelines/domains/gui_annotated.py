"""Public sets of user interfaces: AndroidControl, AITW, Mind2Web, WebLINX, OS-Atlas, WaveUI and others, converted.

After the GUI data of the STEP3-VL-10B report, section 2.2. The labels are other people's, so each is checked as far as
that is possible without the interface: a box lies on its screen, an action has what it needs. Every target, every step
and every whole trajectory is a record of its own, so the ledger says what became of each and why. Actions that ours
have no place for are lost or approximated, by name (`step3vl.pipelines.gui.sets.actions`).
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from step3vl.data.config import Config
from step3vl.data.errors import UserError, describe_error
from step3vl.data.sample import Image, Sample, Size, Source
from step3vl.data.storage import ABSENT, store_of
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, DomainEntry, Files, FileSource, Inputs
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.curation.config import ImagesConfig
from step3vl.pipelines.curation.image_hashes import hash_image
from step3vl.pipelines.curation.matching import image_distances
from step3vl.pipelines.domains.grounding_annotated import image_url
from step3vl.pipelines.domains.gui_annotated_samples import (
    instruction_sample,
    step_sample,
    target_sample,
    trajectory_sample,
)
from step3vl.pipelines.domains.gui_check import CheckScreens
from step3vl.pipelines.grounding.conventions import MISREAD, BoxFormat, GeometryError, Order, Unit, require_convention
from step3vl.pipelines.gui.sets.format import SetFile
from step3vl.pipelines.gui.sets.formats import FORMATS, load_format
from step3vl.pipelines.gui.sets.records import RawEpisode, RawScreen, RawStep, RawTarget, ScreenImage
from step3vl.pipelines.sources.annotations.raw import MALFORMED

_READ_SECONDS = 7200.0  # for a file to be read once


def _known(name: str) -> str:
    if name not in FORMATS:
        raise ValueError(f"must be one of {', '.join(FORMATS)}")
    return name


FormatName = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": list(FORMATS)})]


class Coordinates(Config):
    """What the four numbers of a box mean, for a set whose files do not say."""

    order: Order
    unit: Unit


class AnnotatedGuiEntry(DomainEntry):
    """Elements and trajectories of public sets of user interfaces."""

    INPUT_FIELDS = frozenset({"sources"})

    domain: Literal["gui.annotated"]
    format: FormatName
    """Of the files."""
    sources: tuple[FileSource, ...] = Field(min_length=1)
    """Annotation files, or files that hold the images as well."""
    images: str = "{name}"
    """Path or URL of an image, in which `{name}` stands for what the set calls it. A relative one starts beside the
    annotation file."""
    coordinates: Coordinates | None = None
    """What four numbers mean, for formats whose files do not say (`uground`, `mmbench_gui`)."""
    test_sets: bool = False
    """Whether a set to evaluate with may be converted."""
    exclude_images: tuple[str, ...] = ()
    """Patterns of images, such as those of test sets: a screen that looks like one of them is dropped."""
    max_steps: int = Field(default=40, gt=0)
    """Of a whole trajectory."""

    def inputs(self) -> Inputs:
        return Files(self.sources)

    def assets(self) -> tuple[str, ...]:
        return self.exclude_images

    def check(self, context: StepContext) -> None:
        super().check(context)
        format = load_format(self.format)
        if "{name}" not in self.images:
            raise UserError(f"{self.name}: images must contain {{name}}, for what the set calls an image")
        if format.untyped and self.coordinates is None:
            raise UserError(
                f"{self.name}: files of {self.format} do not say what the numbers of a box mean; say it, such as "
                "coordinates: {order: xyxy, unit: pixels}"
            )
        if not format.untyped and self.coordinates is not None:
            raise UserError(f"{self.name}: the format {self.format} says what its numbers mean; remove coordinates")
        if format.test_set and not self.test_sets:
            raise UserError(
                f"{self.name}: {self.format} is a set to evaluate with, and a model that was trained on it cannot be; "
                "set test_sets: true to convert it nonetheless"
            )


class SetRecord(Config):
    """A record of a file, or why nothing can be made of it."""

    screen: RawScreen | None = None
    episode: RawEpisode | None = None
    dropped: str = ""
    """Why it is unwanted."""
    problem: str = ""
    """Why it cannot be read."""
    file: InputFile


class GuiPart(Config):
    """What one sample is made of, or why it is none."""

    target: RawTarget | None = None
    episode: RawEpisode | None = None
    step: int | None = None
    """Number of the step of the episode; None for the whole."""
    by_instruction: bool = False
    """Whether the step is asked for by its own instruction."""
    images: tuple[Image, ...] = ()
    """Of the target's screen, of the step, or of all steps."""
    dropped: str = ""
    platform: str
    licence: str


class ReadSet:
    """Worker: a file becomes its records."""

    def __init__(self, entry: AnnotatedGuiEntry, context: StepContext) -> None:
        self._entry, self._context = entry, context

    def setup(self) -> None:
        self._format = load_format(self._entry.format)

    def process(self, record: Record[InputFile], rng: random.Random) -> Iterator[Record[SetRecord]]:
        input_file, stated = record.value, self._entry.coordinates
        coordinates = None if stated is None else BoxFormat(stated.order, stated.unit)
        file = SetFile(self._context.local_path(input_file), input_file.url, coordinates)
        for number, (name, item) in enumerate(self._format.items(file)):
            yield Record(f"{record.key}#{number}/{name}", self._convert(item, file, input_file))

    def _convert(self, item: Any, file: SetFile, input_file: InputFile) -> SetRecord:
        try:
            if isinstance(item, ValueError):
                raise item
            raw = self._format.convert(item, file)
        except Dropped as drop:
            return SetRecord(dropped=drop.reason, file=input_file)
        except MALFORMED as error:
            return SetRecord(problem=describe_error(error), file=input_file)
        if isinstance(raw, RawScreen):
            return SetRecord(screen=raw, file=input_file)
        return SetRecord(episode=raw, file=input_file)


class OpenScreens:
    """Worker: a record's images are read, and it becomes its targets, or its steps and the whole trajectory."""

    def __init__(self, entry: AnnotatedGuiEntry, context: StepContext) -> None:
        self._entry, self._context = entry, context

    def setup(self) -> None:
        paths = self._context.assets(self._entry.exclude_images) if self._entry.exclude_images else []
        self._excluded = [hash_image(path.read_bytes()) for path in paths]
        self._bounds = ImagesConfig()

    def process(self, record: Record[SetRecord], rng: random.Random) -> Iterator[Record[GuiPart]]:
        raw = record.value
        if raw.dropped:
            raise Dropped(raw.dropped)
        if raw.screen is not None:
            parts = self._targets(raw.screen, raw.file)
        elif raw.episode is not None:
            parts = self._steps(raw.episode, raw.file)
        else:
            raise ValueError(raw.problem)
        for number, part in enumerate(parts):
            yield Record(f"{record.key}/{number}", part)

    def _targets(self, raw: RawScreen, file: InputFile) -> Iterator[GuiPart]:
        image = self._image(raw.screen, file)
        if image is None:
            raise Dropped("missing_image")
        if self._is_excluded(image):
            raise Dropped("in_test_set")
        if not raw.targets:
            raise Dropped("no_targets")
        _require_convention(raw.targets, (image.width, image.height))
        counts = Counter((target.phrase, target.text) for target in raw.targets)
        for target in raw.targets:
            ambiguous = "ambiguous" if counts[target.phrase, target.text] > 1 else ""
            yield GuiPart(
                target=target, images=(image,), dropped=ambiguous, platform=raw.platform, licence=file.licence
            )

    def _steps(self, raw: RawEpisode, file: InputFile) -> Iterator[GuiPart]:
        images = [self._image(step.screen, file) for step in raw.steps]
        if any(image is not None and self._is_excluded(image) for image in images):
            raise Dropped("in_test_set")

        def part(number: int | None, screens: Sequence[Image | None], dropped: str, **fields: Any) -> GuiPart:
            present = tuple(image for image in screens if image is not None and not dropped)
            return GuiPart(
                episode=raw, step=number, images=present, dropped=dropped, platform=raw.platform,
                licence=file.licence, **fields,
            )  # fmt: skip

        yield part(None, images, self._whole_problem(raw, images))
        for number, (step, image) in enumerate(zip(raw.steps, images, strict=True)):
            problem = _step_problem(step, image)
            yield part(number, [image], problem)
            if step.instruction and not problem:
                yield part(number, [image], "", by_instruction=True)

    def _whole_problem(self, raw: RawEpisode, images: Sequence[Image | None]) -> str:
        if raw.problem:
            return f"trajectory_{raw.problem}"
        if len(raw.steps) > self._entry.max_steps:
            return "trajectory_too_long"
        problem = next(filter(None, map(_step_problem, raw.steps, images)), "")
        return f"trajectory_with_{problem}" if problem else ""

    def _image(self, screen: ScreenImage, file: InputFile) -> Image | None:
        if screen.image is not None or not screen.name:
            return screen.image
        store, path = store_of(image_url(self._entry.images, screen.name, file.url))
        try:
            return Image.from_bytes(store.read_all(path))
        except ABSENT:
            return None

    def _is_excluded(self, image: Image) -> bool:
        if not self._excluded:
            return False
        hashes = hash_image(image.read())
        return any(image_distances(hashes, other, self._bounds) is not None for other in self._excluded)


class MakeSamples:
    """Worker: a target, a step or a trajectory becomes a sample."""

    def __init__(self, entry: AnnotatedGuiEntry, context: StepContext) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[GuiPart], rng: random.Random) -> Iterator[Sample]:
        part = record.value
        if part.dropped:
            raise Dropped(part.dropped)
        try:
            yield self._sample(record.key, part, rng)
        except GeometryError as error:
            raise Dropped(error.reason) from None

    def _sample(self, key: str, part: GuiPart, rng: random.Random) -> Sample:
        kind, traits = self._entry.kind, {"set": self._entry.format, "platform": part.platform}
        source = Source(
            uri=key,
            licence=part.licence,
            collected_by=f"step3vl/{self._entry.name}",
            traits={name: value for name, value in traits.items() if value},
        )
        if part.target is not None:
            return target_sample(part.target, part.images[0], kind, source, rng)
        if part.episode is None:
            raise ValueError("a part with neither target nor episode")
        if part.step is None:
            return trajectory_sample(part.episode, part.images, kind, source, rng)
        if part.by_instruction:
            return instruction_sample(part.episode.steps[part.step], part.images[0], kind, source, rng)
        return step_sample(part.episode, part.step, part.images[0], kind, source, rng)


def _step_problem(step: RawStep, image: Image | None) -> str:
    if step.action is None:
        return step.loss
    return "" if image is not None else "missing_image"


def _require_convention(targets: Sequence[RawTarget], size: Size) -> None:
    """Raises ValueError where most boxes of a screen are none, as they are when another convention is meant."""
    places = [target.place for target in targets if target.place is not None]
    refused = 0
    for place in places:
        try:
            place.box(size)
        except GeometryError as error:
            refused += error.reason in MISREAD
    if places:
        require_convention(refused, len(places), "screen", size, places[0].order, places[0].unit)


DOMAIN = Domain(
    AnnotatedGuiEntry,
    steps=(
        BeamStep("read", version=1, worker=ReadSet, output=SetRecord, time_limit=_READ_SECONDS),
        BeamStep("open", version=1, worker=OpenScreens, output=GuiPart, spread=True),
        BeamStep("build", version=1, worker=MakeSamples, output=Sample),
    ),
    example={
        "format": "agentnet",
        "sources": [{"files": ["data/samples/gui_sets/agentnet/*.json"], "licence": "CC0-1.0"}],
        "images": "../images/{name}",
    },
    label_check=CheckScreens,
)
