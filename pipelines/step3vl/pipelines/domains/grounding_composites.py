"""Grounding and counting on composites: icons and cut-outs that may cover each other, on photographs and textures.

After the grounding and counting data of the STEP3-VL-10B report, section 2.2. What annotated sets seldom have is made
here: objects that differ in one attribute, crowds of up to two hundred, masks that are exact where something is
covered, and the certainty that nothing is missing.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Literal, Self

from PIL import Image as PILImage
from pydantic import Field, model_validator

from step3vl.data.errors import UserError
from step3vl.data.sample import Sample
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, FractionRange, GeneratedEntry, IntRange
from step3vl.pipelines.core.samples import encode_jpeg
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.domains.grounding_check import CheckObjects
from step3vl.pipelines.domains.grounding_entry import AskAboutObjects, ObjectQuestions
from step3vl.pipelines.grounding.masks import point_in_mask, spots_of_mask
from step3vl.pipelines.grounding.records import GroundedImage, GroundedObject
from step3vl.pipelines.render.scenes.composite import Look, Placed, Request, compose
from step3vl.pipelines.render.style import COLOURS, PhotoBackgrounds, gradient, pastel, plain
from step3vl.pipelines.sources.cutouts import CutoutSet
from step3vl.pipelines.sources.icons import IconSet

_ABSENT = 6  # labels that an image keeps of those that it lacks
_SMALL = 0.55  # of the side of the others, for one that differs in size alone


class CompositesEntry(ObjectQuestions, GeneratedEntry):
    """Questions about composites."""

    domain: Literal["grounding.composites"]
    image_size: IntRange = (384, 640)
    """Of the width and of the height, in pixels."""
    objects: IntRange = (3, 10)
    """Cut-outs in an image."""
    crowded: float = Field(default=0.15, ge=0, le=1)
    """How often an image is crowded."""
    crowd: IntRange = (30, 200)
    """Cut-outs in a crowded image."""
    scale: FractionRange = (0.1, 0.28)
    """The longer side of a cut-out as a fraction of the image's shorter side; those of a crowd are smaller."""
    min_visible: float = Field(default=0.45, gt=0, le=1)
    """Of each cut-out that is partly covered; 1 lets none cover another."""
    colours: tuple[str, ...] = ("red", "orange", "yellow", "green", "blue", "purple", "black", "white")
    """Names of `render.style.COLOURS`, for icons."""
    questions: int = Field(default=2, ge=1)
    """About an image, at most."""
    icon_files: tuple[str, ...] = ("assets:icons/*.svg",)
    """Patterns of SVG files of a single colour, called what their files are."""
    cutout_files: tuple[str, ...] = ()
    """Patterns of images with a transparent ground, in their own colours, called what their files are."""
    noun: str = "icon"
    """What the labels of icons end in: a photograph may show a cat of its own, but no second cat icon."""
    photo_files: tuple[str, ...] = ("assets:photos/*.jpg",)
    """Patterns of photographs and textures."""
    licence: str = "Apache-2.0 AND CC0-1.0"
    """Of the samples."""

    @model_validator(mode="after")
    def _has_cutouts(self) -> Self:
        if not self.icon_files and not self.cutout_files:
            raise ValueError("give icon_files or cutout_files")
        if self.objects[1] > 60 or self.crowd[1] > 200:
            raise ValueError("an image has at most 60 objects, a crowded one 200")
        return self

    def assets(self) -> tuple[str, ...]:
        return (*self.icon_files, *self.cutout_files, *self.photo_files)

    def check(self, context: StepContext) -> None:
        super().check(context)
        unknown = [colour for colour in self.colours if colour not in COLOURS]
        if unknown:
            raise UserError(f"{self.name}: no colour {unknown[0]!r}; choose among {', '.join(COLOURS)}")


class ComposeImages:
    """Worker: a number becomes a composite. The number only names the record."""

    def __init__(self, entry: CompositesEntry, context: StepContext) -> None:
        self._entry, self._context = entry, context

    def setup(self) -> None:
        entry, assets = self._entry, self._context.assets
        self._icons = IconSet(assets(entry.icon_files) if entry.icon_files else ())
        self._cutouts = CutoutSet(assets(entry.cutout_files) if entry.cutout_files else ())
        self._photos = PhotoBackgrounds(assets(entry.photo_files))

    def process(self, record: Record[int], rng: random.Random) -> Iterator[Record[GroundedImage]]:
        entry = self._entry
        size = rng.randint(*entry.image_size), rng.randint(*entry.image_size)
        crowded = rng.random() < entry.crowded
        kinds = self._kinds(rng)
        requests = self._requests(kinds, min(size), crowded, rng)
        look = _choose_look(entry.min_visible if not crowded else 1.0, rng)
        composed = compose(self._background(size, rng), requests, look, rng)
        if composed is None:
            raise Dropped("no_room")
        image, placed = composed
        traits = {
            "objects": _bucket(len(placed)),
            "covered": "yes" if any(item.visible < 1 for item in placed) else "no",
            "shadow": "yes" if look.shadow else "no",
        }
        grounded = self._grounded(image, placed, kinds, record.key, rng)
        yield Record(record.key, grounded.model_copy(update={"traits": traits}))

    def _kinds(self, rng: random.Random) -> list[str]:
        """What an image may hold: names of icons, or of cut-outs."""
        names = self._icons.names
        if self._cutouts.names and (not names or rng.random() < 0.5):
            names = self._cutouts.names
        return rng.sample(names, min(rng.randint(2, 5), len(names)))

    def _requests(self, kinds: Sequence[str], shorter: int, crowded: bool, rng: random.Random) -> list[Request]:
        """A target, what differs from it in one attribute, and others; shuffled, so that any may cover any."""
        entry = self._entry
        number = rng.randint(*(entry.crowd if crowded else entry.objects))
        low, high = (max(16, round(share * shorter)) for share in entry.scale)
        if crowded:
            # Their boxes take about a quarter of the image.
            high = max(12, min(high, round(0.5 * shorter / number**0.5)))
            low = max(10, round(0.7 * high))
        colours = rng.sample(entry.colours, min(rng.randint(2, 5), len(entry.colours)))
        side = rng.randint(low, max(low, high))
        target = (kinds[0], colours[0], side)
        other_colour, other_kind = colours[-1], kinds[-1]
        near = [
            target,
            (kinds[0], other_colour, side),
            (other_kind, colours[0], side),
            (*target[:2], round(_SMALL * side)),
        ]
        chosen = near[: 2 + rng.randint(0, 2)] if not crowded else [target]
        while len(chosen) < number:
            chosen.append((rng.choice(kinds), rng.choice(colours), rng.randint(low, max(low, high))))
        chosen = chosen[:number]
        rng.shuffle(chosen)
        return [self._request(*each) for each in chosen]

    def _request(self, name: str, colour: str, side: int) -> Request:
        if name in self._cutouts.names:
            return Request(name, "", self._cutouts.cutout(name, side))
        stencil = self._icons.stencil(name, side)
        painted = PILImage.new("RGBA", stencil.size, COLOURS[colour])
        painted.putalpha(stencil)
        return Request(self._label(name), colour, painted)

    def _label(self, name: str) -> str:
        return name if name in self._cutouts.names else f"{name} {self._entry.noun}".strip()

    def _background(self, size: tuple[int, int], rng: random.Random) -> PILImage.Image:
        kind = rng.random()
        if kind < 0.7:
            return PILImage.blend(self._photos.crop(size, rng), plain(size, pastel(rng)), rng.uniform(0, 0.5))
        if kind < 0.85:
            return gradient(size, pastel(rng), pastel(rng), rng.random() < 0.5)
        return plain(size, pastel(rng))

    def _grounded(
        self, image: PILImage.Image, placed: Sequence[Placed], kinds: Sequence[str], key: str, rng: random.Random
    ) -> GroundedImage:
        objects = []
        for item in placed:
            origin = int(item.box.x1), int(item.box.y1)
            point = point_in_mask(item.mask, image.size, origin)
            objects.append(
                GroundedObject(
                    label=item.label,
                    box=(item.box.x1, item.box.y1, item.box.x2, item.box.y2),
                    point=(point.x, point.y),
                    spots=spots_of_mask(item.mask, image.size, origin),
                    attributes={"colour": item.colour} if item.colour else {},
                )
            )
        present = {item.label for item in placed}
        of_kind = self._cutouts.names if kinds[0] in self._cutouts.names else self._icons.names
        missing = [label for label in map(self._label, of_kind) if label not in present]
        return GroundedImage(
            image=encode_jpeg(image),
            subject="scene",
            objects=tuple(objects),
            complete=tuple(sorted(present)),
            absent=tuple(rng.sample(missing, min(_ABSENT, len(missing)))),
            licence=self._entry.licence,
            origin=key,
        )


def _choose_look(min_visible: float, rng: random.Random) -> Look:
    """How cut-outs are laid and lit, from plain to like in a photograph."""
    return Look(
        min_visible=min_visible,
        turn=rng.choice((0.0, 8.0, 20.0)),
        shadow=rng.choice((0.0, 0.0, rng.uniform(0.15, 0.45))),
        shadow_offset=(rng.randint(-5, 5), rng.randint(1, 6)),
        shadow_blur=rng.uniform(1, 5),
        harmony=rng.choice((0.0, rng.uniform(0.2, 0.8))),
        blur=rng.choice((0.0, 0.0, rng.uniform(0.3, 0.8))),
    )


def _bucket(number: int) -> str:
    return next(name for most, name in ((5, "1-5"), (12, "6-12"), (60, "13-60"), (200, "61-200")) if number <= most)


DOMAIN = Domain(
    CompositesEntry,
    steps=(
        BeamStep("compose", version=1, worker=ComposeImages, output=GroundedImage),
        BeamStep("ask", version=1, worker=AskAboutObjects, output=Sample),
    ),
    example={"count": 20, "image_size": [192, 256]},
    label_check=CheckObjects,
)
