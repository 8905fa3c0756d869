"""Grounding and counting on annotated sets: COCO, LVIS, OpenImages, RefCOCO, PixMo, YOLO folders and others.

After the grounding and counting data of the STEP3-VL-10B report, section 2.2, most of which are such sets, converted.
Their labels are other people's. Each box is proven against its image, each question against every other object of
its image; what a set does not say, such as that there is no further dog, is never assumed.
"""

import hashlib
import posixpath
import random
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.errors import UserError, describe_error
from step3vl.data.sample import Image, Sample
from step3vl.data.storage import ABSENT, is_url, store_of
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, Files, FileSource, Inputs
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.domains.grounding_check import CheckObjects
from step3vl.pipelines.domains.grounding_entry import AskAboutObjects, ObjectQuestions
from step3vl.pipelines.grounding.records import GroundedImage
from step3vl.pipelines.sources.annotations.cleaning import clean
from step3vl.pipelines.sources.annotations.formats import FORMATS, FormatName, check_tables, make_format
from step3vl.pipelines.sources.annotations.grouping import AnnotationPart, images_of, split_file
from step3vl.pipelines.sources.annotations.raw import MALFORMED, AnnotationFormat, RawImage

_SPLIT_SECONDS = 7200.0  # for a file to be read once: a gigabyte of COCO's JSON takes a few minutes
_IMAGE_SECONDS = 60.0
_LONGEST_NAME, _LONGEST_PATH = 255, 1024  # bytes: a disk or store fails on longer ones as if it were broken itself


class AnnotatedEntry(ObjectQuestions):
    """Questions about the objects of annotated images."""

    INPUT_FIELDS = frozenset({"sources"})

    domain: Literal["grounding.annotated"]
    format: FormatName
    """Of the annotation files; Objects365 has that of `coco`, DocLayNet and CDLA have `layout`."""
    sources: tuple[FileSource, ...] = Field(min_length=1)
    """Annotation files."""
    tables: dict[str, str] = Field(default_factory=dict)
    """Other files that the format needs, by role, such as `classes` of OpenImages."""
    images: str = "{name}"
    """Path or URL of an image, in which `{name}` stands for what the annotations call it. A relative one starts beside
    the annotation file. A change of an image beside unchanged annotations is not noticed."""

    def inputs(self) -> Inputs:
        return Files(self.sources)

    def assets(self) -> tuple[str, ...]:
        return tuple(self.tables.values())

    def check(self, context: StepContext) -> None:
        check_tables(self.format, self.tables, self.name)
        super().check(context)
        if "{name}" not in self.images:
            raise UserError(f"{self.name}: images must contain {{name}}, for what the annotations call an image")


class SplitAnnotations:
    """Worker: an annotation file becomes parts that hold all that it says of some images."""

    def __init__(self, entry: AnnotatedEntry, context: StepContext) -> None:
        self._entry, self._context = entry, context

    def setup(self) -> None:
        self._format = _format(self._entry, self._context)

    def process(self, record: Record[InputFile], rng: random.Random) -> Iterator[Record[AnnotationPart]]:
        context, file = self._context, record.value
        parts = split_file(file, context.local_path(file), self._format, context.root, context.store)
        for number, part in enumerate(parts):
            yield Record(f"{record.key}/{number}", part)  # not `#`, which an image of that name has


class AnnotatedRow(Config):
    """What is said of an image, or why nothing can be made of it."""

    raw: RawImage | None = None
    url: str = ""
    """Of the image."""
    dropped: str = ""
    """Why it is unwanted."""
    problem: str = ""
    """Why its annotations cannot be read."""
    licence: str


class ReadAnnotations:
    """Worker: a part becomes the images in it, with what is said of them."""

    def __init__(self, entry: AnnotatedEntry, context: StepContext) -> None:
        self._entry, self._context = entry, context

    def setup(self) -> None:
        self._format = _format(self._entry, self._context)

    def process(self, record: Record[AnnotationPart], rng: random.Random) -> Iterator[Record[AnnotatedRow]]:
        part = record.value
        for name, pieces in images_of(part, self._context.root, self._context.store):
            yield Record(f"{part.file.key}#{name}", self._row(name, pieces, part.file))

    def _row(self, name: str, pieces: Sequence[Any], file: InputFile) -> AnnotatedRow:
        try:
            raw = self._format.assemble(name, pieces)
            return AnnotatedRow(raw=raw, url=image_url(self._entry.images, raw.name, file.url), licence=file.licence)
        except Dropped as drop:
            return AnnotatedRow(dropped=drop.reason, licence=file.licence)
        except MALFORMED as error:
            return AnnotatedRow(problem=describe_error(error), licence=file.licence)


class CleanAnnotations:
    """Worker: an image with annotations becomes the image with proven objects."""

    def __init__(self, entry: AnnotatedEntry, context: StepContext) -> None:
        self._subject = FORMATS[entry.format].SUBJECT

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[AnnotatedRow], rng: random.Random) -> Iterator[Record[GroundedImage]]:
        row = record.value
        if row.dropped:
            raise Dropped(row.dropped)
        if row.problem or row.raw is None:
            raise ValueError(row.problem)
        try:
            store, path = store_of(row.url)
            data = store.read_all(path)
        except ABSENT:
            raise Dropped("missing_image") from None
        if row.raw.sha256 and hashlib.sha256(data).hexdigest() != row.raw.sha256:
            raise Dropped("another_image")  # at its address
        grounded = clean(row.raw, Image.from_bytes(data), self._subject, row.licence, record.key)
        if not grounded.objects and not grounded.absent:
            raise Dropped("no_objects")
        yield Record(record.key, grounded)


def image_url(template: str, name: str, annotations: str) -> str:
    """The absolute path or URL of an image.

    Args:
        template: Of the entry.
        name: What the annotations call the image.
        annotations: The URL of their file, which relative templates start beside.

    Raises:
        ValueError: The name leads out of the folder of images, or no file can have it.
    """
    if name.startswith("/") or "://" in name or ".." in name.split("/"):
        raise ValueError(f"{name[:80]!r} is no path in the folder of images")
    path = template.replace("{name}", name)
    if max(len(part.encode()) for part in path.split("/")) > _LONGEST_NAME or len(path.encode()) > _LONGEST_PATH:
        raise ValueError(f"{name[:80]!r}... is too long for the name of a file")
    if is_url(path) or path.startswith("/"):
        return path
    folder, _, _ = annotations.rpartition("/")
    scheme, separator, rest = folder.rpartition("://")
    return f"{scheme}{separator}{posixpath.normpath(posixpath.join(rest, path))}"


def _format(entry: AnnotatedEntry, context: StepContext) -> AnnotationFormat:
    return make_format(entry.format, {role: context.assets([path])[0] for role, path in entry.tables.items()})


DOMAIN = Domain(
    AnnotatedEntry,
    steps=(
        BeamStep("split", version=2, worker=SplitAnnotations, output=AnnotationPart, time_limit=_SPLIT_SECONDS),
        BeamStep("read", version=1, worker=ReadAnnotations, output=AnnotatedRow, spread=True),
        BeamStep("clean", version=1, worker=CleanAnnotations, output=GroundedImage, time_limit=_IMAGE_SECONDS),
        BeamStep("ask", version=2, worker=AskAboutObjects, output=Sample),
    ),
    example={
        "format": "coco",
        "sources": [{"files": ["data/samples/grounding/coco/*.json"], "licence": "CC0-1.0"}],
        "images": "../images/{name}",
    },
    label_check=CheckObjects,
)
