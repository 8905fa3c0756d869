"""Grounding and counting on composites: icons on photographs, where every box is known exactly.

After the grounding and counting data of the STEP3-VL-10B report, section 2.2: boxes and points, and detection
annotations turned into counting questions.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from PIL import Image as PILImage
from pydantic import Field, model_validator

from step3vl.data.errors import UserError
from step3vl.data.sample import Sample, Source, image, text
from step3vl.data.truth import BoxTruth, CountTruth, OptionTruth, PointTruth, format_boxes, format_point
from step3vl.pipelines.compose import DomainEntry, Range, Share, compose, encode_jpeg, running_text
from step3vl.pipelines.render.scene import Placed, Wanted, Window, draw_scene
from step3vl.pipelines.render.style import COLOURS, Photos, pastel, plain
from step3vl.pipelines.sources.files import expand
from step3vl.pipelines.sources.icons import Icons, plural
from step3vl.pipelines.steps import BuildNumbered, Dropped, Record

Task = Literal["counting.icons", "grounding.point", "grounding.box", "grounding.region", "grounding.colour"]

CORNERS = ("top left", "top right", "bottom left", "bottom right")
_TOLD_APART = ("grounding.point", "grounding.box", "grounding.region")
GRID = ("top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right")


class GroundingEntry(DomainEntry):
    """Questions about icons on a background.

    tasks: relative weights of the tasks.
    picture: width and height in pixels.
    icons: names of icon files without their ending, or how many of the files to use, in order of name.
    colours: names of `render.style.COLOURS`.
    scale: longer side of an icon as a fraction of the picture's shorter side.
    objects: how many of the asked-for icon there are (counting); the other tasks ask for one.
    distractors: how many other icons stand around.
    regions: `corners` (four) or `grid` (three by three).
    veil: how far a photograph is faded towards a plain light colour; small models learn little on busy ground.
    questions: how many questions a document asks about one scene; with more than one its task is `grounding.scene`.
        A model's look at a picture costs far more than another line of text.
    """

    domain: Literal["grounding"]
    count: int = Field(gt=0)
    tasks: dict[Task, float] = Field(min_length=1)
    picture: tuple[int, int] = (448, 448)
    icons: int | tuple[str, ...] = 40
    colours: tuple[str, ...] = ("red", "orange", "yellow", "green", "blue", "purple", "black", "white")
    background: Literal["photo", "plain", "mixed"] = "photo"
    scale: Share = (0.1, 0.3)
    objects: Range = (1, 6)
    distractors: Range = (0, 3)
    regions: Literal["corners", "grid"] = "corners"
    veil: Share = (0.0, 0.0)
    questions: int = Field(default=1, ge=1)
    icon_files: tuple[str, ...] = ("data/samples/icons/*.svg",)
    photo_files: tuple[str, ...] = ("data/samples/photos/*.jpg",)
    licence: str = "Apache-2.0 AND CC0-1.0"

    @model_validator(mode="after")
    def _conversations_ask_once(self) -> Self:
        if self.questions > 1 and self.kind == "conversation":
            raise ValueError("a conversation asks one question, whose answer is verified; several need kind: document")
        return self

    def files(self) -> list[Path]:
        """What the entry reads. Raises UserError when a pattern matches nothing or an icon or colour is unknown."""
        unknown = [colour for colour in self.colours if colour not in COLOURS]
        if unknown:
            raise UserError(f"{self.name}: no colour {unknown[0]!r}; choose among {', '.join(COLOURS)}")
        return [*self.chosen_icons(), *expand(self.photo_files, self.name)]

    def chosen_icons(self) -> list[Path]:
        paths = {path.stem: path for path in expand(self.icon_files, self.name)}
        if isinstance(self.icons, int):
            return [paths[name] for name in sorted(paths)[: self.icons]]
        for name in self.icons:
            if name not in paths:
                raise UserError(f"{self.name}: no icon {name!r}; choose among {', '.join(sorted(paths))}")
        return [paths[name] for name in self.icons]


def region_windows(regions: Literal["corners", "grid"], size: tuple[int, int]) -> dict[str, Window]:
    """The window of each region's name, in pixels."""
    names, cells = (CORNERS, 2) if regions == "corners" else (GRID, 3)
    width, height = size
    return {
        name: (
            width * (index % cells) // cells,
            height * (index // cells) // cells,
            width * (index % cells + 1) // cells,
            height * (index // cells + 1) // cells,
        )
        for index, name in enumerate(names)
    }


class DrawScenes:
    """Worker: a number becomes a scene and what is asked about it. The number only names the record."""

    def __init__(self, entry: GroundingEntry) -> None:
        self._entry = entry

    def setup(self) -> None:
        entry = self._entry
        self._icons = Icons(entry.chosen_icons())
        self._photos = Photos(expand(entry.photo_files, entry.name))
        self._windows = region_windows(entry.regions, entry.picture)

    def process(self, record: Record, rng: random.Random) -> Iterator[Sample]:
        entry = self._entry
        task = rng.choices(list(entry.tasks), list(entry.tasks.values()))[0]
        region = rng.choice(list(self._windows))
        # Icons that are counted lie anywhere; about a single one, every other task can be asked as well.
        single = task != "counting.icons"
        others = [other for other in entry.tasks if other != task and single]
        tasks = [task, *rng.sample(others, min(entry.questions - 1, len(others)))]
        wanted = self._wish(task, self._windows[region] if "grounding.region" in tasks else None, rng)
        picture = self._ground(rng)
        placed = draw_scene(picture, wanted, self._icons, rng)
        if placed is None:
            raise Dropped("no_room")
        asked = [ask(one, placed, region, tuple(self._windows), entry.colours, rng) for one in tasks]
        source = Source(uri=record.key, licence=entry.licence, collected_by=f"step3vl/{entry.name}")
        if entry.questions > 1:
            exchanges = [(question, answer) for question, answer, _ in asked]
            yield Sample.make(
                domain="grounding",
                task="grounding.scene",
                content=(image(0), text(running_text(exchanges))),
                images=(encode_jpeg(picture),),
                source=source,
            )
            return
        question, answer, truth = asked[0]
        yield compose(
            kind=entry.kind,
            domain="grounding",
            task=task,
            question=question,
            answer=answer,
            truth=truth,
            images=[encode_jpeg(picture)],
            source=source,
        )

    def _ground(self, rng: random.Random) -> PILImage.Image:
        """What the icons lie on."""
        entry = self._entry
        colour = plain(entry.picture, pastel(rng))
        if entry.background == "plain" or (entry.background == "mixed" and rng.random() < 0.5):
            return colour
        return PILImage.blend(self._photos.crop(entry.picture, rng), colour, rng.uniform(*entry.veil))

    def _wish(self, task: Task, window: Window | None, rng: random.Random) -> list[Wanted]:
        """What to draw: the target first, its copies when they are to be counted, then distractors of other icons."""
        entry = self._entry
        names = self._icons.names
        target = rng.choice(names)
        copies = rng.randint(*entry.objects) if task == "counting.icons" else 1
        # Where the colour can tell them apart, another of the same icon may stand around too.
        others = names if task in _TOLD_APART else [name for name in names if name != target] or names
        drawn = [target] * copies + [rng.choice(others) for _ in range(rng.randint(*entry.distractors))]
        shorter = min(entry.picture)
        low, high = (max(4, round(share * shorter)) for share in entry.scale)
        wanted = []
        for number, name in enumerate(drawn):
            wanted.append(
                Wanted(name, rng.choice(entry.colours), rng.randint(low, high), window if number == 0 else None)
            )
        return wanted


def describe(target: Placed, others: Sequence[Placed], rng: random.Random) -> str:
    """How to name one icon so that nothing else in the scene fits. Raises `Dropped` when two look alike."""
    if all(other.icon != target.icon for other in others):
        return target.icon if rng.random() < 0.5 else f"{target.colour} {target.icon}"
    if any((other.icon, other.colour) == (target.icon, target.colour) for other in others):
        raise Dropped("ambiguous")
    return f"{target.colour} {target.icon}"


def ask(
    task: Task,
    placed: Sequence[Placed],
    region: str,
    regions: tuple[str, ...],
    colours: tuple[str, ...],
    rng: random.Random,
) -> tuple[str, str, Any]:
    """The question about the first icon placed, its answer, and what makes the answer verifiable."""
    target = placed[0]
    if task == "counting.icons":
        number = Counter(one.icon for one in placed)[target.icon]
        question = rng.choice(("How many {} are there?", "Count the {}.")).format(plural(target.icon))
        return question, str(number), CountTruth(count=number)
    if task == "grounding.colour":
        if any(other.icon == target.icon for other in placed[1:]):
            raise Dropped("ambiguous")
        question = f"What colour is the {target.icon}?"
        return question, target.colour, OptionTruth(option=target.colour, options=colours)
    name = describe(target, placed[1:], rng)
    if task == "grounding.region":
        question = f"Which corner is the {name} in?" if len(regions) == 4 else f"Where is the {name}?"
        return question, region, OptionTruth(option=region, options=regions)
    if task == "grounding.point":
        question = f"Point to the {name}."
        return question, format_point(target.box.centre), PointTruth(boxes=(target.box.milli(),))
    question = f"Give the box of the {name}."
    return question, format_boxes([target.box]), BoxTruth(boxes=(target.box.milli(),))


class GroundScenes(BuildNumbered):
    """Grounding and counting samples of one entry."""

    def __init__(self, entry: GroundingEntry, seed: int) -> None:
        super().__init__(entry.name, entry.count, DrawScenes(entry), seed)
