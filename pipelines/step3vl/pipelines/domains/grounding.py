"""Grounding and counting on composites: icons on photographs, where every box is known exactly.

After the grounding and counting data of the STEP3-VL-10B report, section 2.2: boxes and points, and detection
annotations turned into counting questions.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Self

from PIL import Image as PILImage
from pydantic import Field, model_validator

from step3vl.data.errors import UserError
from step3vl.data.sample import (
    Box,
    BoxTruth,
    CountTruth,
    OptionTruth,
    PointTruth,
    Sample,
    Source,
    Truth,
    image,
    text,
)
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, FractionRange, GeneratedEntry, IntRange, Unchecked
from step3vl.pipelines.core.samples import compose, encode_jpeg, question_of, running_text
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.grounding.names import plural
from step3vl.pipelines.grounding.wording import box_draft, point_draft
from step3vl.pipelines.render.scenes.scene import IconRequest, PixelBox, PlacedIcon, render_scene
from step3vl.pipelines.render.scenes.scene_reading import read_scene
from step3vl.pipelines.render.style import COLOURS, PhotoBackgrounds, pastel, plain
from step3vl.pipelines.sources.icons import IconSet

Task = Literal["counting.icons", "grounding.point", "grounding.box", "grounding.region", "grounding.colour"]

CORNERS = ("top left", "top right", "bottom left", "bottom right")
GRID = ("top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right")
_SAME = 0.6  # intersection over union of a small box that was read, without its soft edge, and the label's
# Tasks whose description may tell the target from another of the same icon by its colour.
_DESCRIBED_BY_COLOUR = ("grounding.point", "grounding.box", "grounding.region")


class GroundingEntry(GeneratedEntry):
    """Questions about icons on a background."""

    domain: Literal["grounding"]
    tasks: dict[Task, float] = Field(min_length=1)
    """Relative weights of the tasks."""
    image_size: tuple[int, int] = (448, 448)
    """Width and height in pixels."""
    icons: int | tuple[str, ...] = 40
    """Names of icon files without their ending, or how many of the files to use, in order of name."""
    colours: tuple[str, ...] = ("red", "orange", "yellow", "green", "blue", "purple", "black", "white")
    """Names of `render.style.COLOURS`."""
    background: Literal["photo", "plain", "mixed"] = "photo"
    """Part of a photograph, a plain light colour, or one or the other."""
    scale: FractionRange = (0.1, 0.3)
    """The longer side of an icon as a fraction of the image's shorter side."""
    objects: IntRange = (1, 6)
    """How many of the target icon there are in `counting.icons`; the other tasks have a single target."""
    distractors: IntRange = (0, 3)
    """How many other icons the scene holds."""
    regions: Literal["corners", "grid"] = "corners"
    """`corners` (four) or `grid` (three by three)."""
    opacity: FractionRange = (0.0, 0.0)
    """Of the plain light colour laid over a photograph; small models learn little on busy backgrounds."""
    questions: int = Field(default=1, ge=1)
    """How many questions a document asks about a scene; with more than one its task is `grounding.scene`. An image
    costs a model far more than another line of text."""
    icon_files: tuple[str, ...] = ("assets:icons/*.svg",)
    """Patterns of SVG files of a single colour; questions call an icon what its file is called."""
    photo_files: tuple[str, ...] = ("assets:photos/*.jpg",)
    """Patterns of photographs."""
    licence: str = "Apache-2.0 AND CC0-1.0"
    """Of the samples."""

    @model_validator(mode="after")
    def _conversations_ask_once(self) -> Self:
        if self.questions > 1 and self.kind == "conversation":
            raise ValueError("a conversation asks one question, whose answer is verified; several need kind: document")
        return self

    def assets(self) -> tuple[str, ...]:
        return self.icon_files if self.background == "plain" else (*self.icon_files, *self.photo_files)

    def check(self, context: StepContext) -> None:
        super().check(context)
        unknown = [colour for colour in self.colours if colour not in COLOURS]
        if unknown:
            raise UserError(f"{self.name}: no colour {unknown[0]!r}; choose among {', '.join(COLOURS)}")
        self.chosen_icons(context)

    def chosen_icons(self, context: StepContext) -> list[Path]:
        """The files of `icons`. Raises UserError for an icon without a file."""
        paths = {path.stem: path for path in context.assets(self.icon_files)}
        if isinstance(self.icons, int):
            return [paths[name] for name in sorted(paths)[: self.icons]]
        for name in self.icons:
            if name not in paths:
                raise UserError(f"{self.name}: no icon {name!r}; choose among {', '.join(sorted(paths))}")
        return [paths[name] for name in self.icons]


class Question(NamedTuple):
    """A question about a scene, its answer, and what makes the answer verifiable."""

    question: str
    answer: str
    truth: Truth


class IconScene(NamedTuple):
    """A rendered scene.

    Attributes:
        tasks: That are asked about it.
        region: Where its target is, as far as that is asked.
        background: Without its icons.
        image: With them.
        placed: The icons, the target first.
    """

    tasks: tuple[Task, ...]
    region: str
    background: PILImage.Image
    image: PILImage.Image
    placed: Sequence[PlacedIcon]


def region_boxes(regions: Literal["corners", "grid"], size: tuple[int, int]) -> dict[str, PixelBox]:
    """The box of each region's name, in pixels of an image of `size`. The boxes tile the image."""
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


class RenderScenes:
    """Worker: a number becomes a scene and questions about it. The number only names the record."""

    def __init__(self, entry: GroundingEntry, context: StepContext) -> None:
        self._entry = entry
        self._context = context

    def setup(self) -> None:
        entry = self._entry
        self._icons = IconSet(entry.chosen_icons(self._context))
        self._photos = PhotoBackgrounds(self._context.assets(entry.photo_files) if entry.background != "plain" else ())
        self._regions = region_boxes(entry.regions, entry.image_size)

    def process(self, record: Record[int], rng: random.Random) -> Iterator[Sample]:
        entry, rendered = self._entry, self.render(rng)
        questions = [
            ask(task, rendered.placed, rendered.region, tuple(self._regions), entry.colours, rng)
            for task in rendered.tasks
        ]
        scene = rendered.image
        source = Source(uri=record.key, licence=entry.licence, collected_by=f"step3vl/{entry.name}")
        if entry.questions > 1:
            exchanges = [(question.question, question.answer) for question in questions]
            yield Sample.make(
                domain="grounding",
                task="grounding.scene",
                content=(image(0), text(running_text(exchanges))),
                images=(encode_jpeg(scene),),
                source=source,
            )
            return
        yield compose(
            kind=entry.kind,
            domain="grounding",
            task=rendered.tasks[0],
            question=questions[0].question,
            answer=questions[0].answer,
            truth=questions[0].truth,
            images=[encode_jpeg(scene)],
            source=source,
        )

    def render(self, rng: random.Random) -> IconScene:
        """A scene, and what is to be asked about it. Raises Dropped for one that has no room for its icons."""
        entry = self._entry
        task = rng.choices(list(entry.tasks), list(entry.tasks.values()))[0]
        region = rng.choice(list(self._regions))
        # Icons that are counted lie anywhere; about a single icon, every other task can be asked as well.
        single = task != "counting.icons"
        others = [other for other in entry.tasks if other != task and single]
        tasks = (task, *rng.sample(others, min(entry.questions - 1, len(others))))
        requests = self._choose_icons(task, self._regions[region] if "grounding.region" in tasks else None, rng)
        background = self._background(rng)
        image = background.copy()
        placed = render_scene(image, requests, self._icons, rng)
        if placed is None:
            raise Dropped("no_room")
        return IconScene(tasks, region, background, image, placed)

    def _background(self, rng: random.Random) -> PILImage.Image:
        entry = self._entry
        colour = plain(entry.image_size, pastel(rng))
        if entry.background == "plain" or (entry.background == "mixed" and rng.random() < 0.5):
            return colour
        return PILImage.blend(self._photos.crop(entry.image_size, rng), colour, rng.uniform(*entry.opacity))

    def _choose_icons(self, task: Task, area: PixelBox | None, rng: random.Random) -> list[IconRequest]:
        """The target first, in `area` if given, its copies when they are counted, then distractors."""
        entry = self._entry
        names = self._icons.names
        target = rng.choice(names)
        copies = rng.randint(*entry.objects) if task == "counting.icons" else 1
        # Where the colour can tell them apart, a distractor may be of the target's icon too.
        others = names if task in _DESCRIBED_BY_COLOUR else [name for name in names if name != target] or names
        chosen = [target] * copies + [rng.choice(others) for _ in range(rng.randint(*entry.distractors))]
        shorter = min(entry.image_size)
        low, high = (max(4, round(share * shorter)) for share in entry.scale)
        return [
            IconRequest(name, rng.choice(entry.colours), rng.randint(low, high), area if number == 0 else None)
            for number, name in enumerate(chosen)
        ]


def describe(target: PlacedIcon, others: Sequence[PlacedIcon], rng: random.Random) -> str:
    """A description of an icon that fits nothing else in the scene. Raises `Dropped` when two look alike."""
    if all(other.icon != target.icon for other in others):
        return target.icon if rng.random() < 0.5 else f"{target.colour} {target.icon}"
    if any((other.icon, other.colour) == (target.icon, target.colour) for other in others):
        raise Dropped("ambiguous")
    return f"{target.colour} {target.icon}"


def ask(
    task: Task,
    placed: Sequence[PlacedIcon],
    region: str,
    regions: tuple[str, ...],
    colours: tuple[str, ...],
    rng: random.Random,
) -> Question:
    """A question about the first icon placed.

    Args:
        task: What is asked.
        placed: The icons of the scene, the target first.
        region: The target's region, for `grounding.region`.
        regions: The options of that task.
        colours: The options of `grounding.colour`.
        rng: Chooses the wording.

    Raises:
        Dropped: Another icon fits the question as well.
    """
    target = placed[0]
    if task == "counting.icons":
        number = Counter(icon.icon for icon in placed)[target.icon]
        question = rng.choice(("How many {} are there?", "Count the {}.")).format(plural(target.icon))
        return Question(question, str(number), CountTruth(count=number))
    if task == "grounding.colour":
        if any(other.icon == target.icon for other in placed[1:]):
            raise Dropped("ambiguous")
        question = f"What colour is the {target.icon}?"
        return Question(question, target.colour, OptionTruth(option=target.colour, options=colours))
    name = describe(target, placed[1:], rng)
    if task == "grounding.region":
        question = f"Which corner is the {name} in?" if len(regions) == 4 else f"Where is the {name}?"
        return Question(question, region, OptionTruth(option=region, options=regions))
    if task == "grounding.point":
        draft, question = point_draft(name, target.box.centre, (target.box.milli(),)), f"Point to the {name}."
    else:
        draft, question = box_draft(name, target.box), f"Give the box of the {name}."
    return Question(question, draft.answers["json"], draft.truth)


class CheckIcons:
    """The label check: icons are read back from the pixels, and the question is answered from what is read.

    Args:
        entry: Whose samples are checked.
        context: Of the build.
    """

    def __init__(self, entry: GroundingEntry, context: StepContext) -> None:
        self._entry, self._context = entry, context
        self._scenes = RenderScenes(entry, context)
        self._scenes.setup()
        self._icons = IconSet(entry.chosen_icons(context))

    def __call__(self, sample: Sample) -> str | None:
        """None for a right label, or what is wrong with it. Raises Unchecked for a scene that cannot be read."""
        if sample.messages is None or sample.truth is None:
            raise Unchecked("document")
        key = sample.source.uri
        scene = self._scenes.render(self._context.rng(f"{self._entry.name}.build", key))
        if encode_jpeg(scene.image).sha256 != sample.images[0].sha256:
            raise Unchecked("another_image")
        if grade_answer(sample.truth, sample.answer()).verdict != "correct":
            return "answer_fails_its_truth"
        read = read_scene(scene.image, scene.background, [icon.box for icon in scene.placed], self._icons)
        if read is None:
            raise Unchecked("not_read")
        question = question_of(sample)
        return _differs(question.rstrip("?."), sample.truth, read, self._entry)


def _differs(question: str, truth: Truth, read: Sequence[PlacedIcon], entry: GroundingEntry) -> str | None:
    """What is wrong with a truth beside the icons that were read."""
    if isinstance(truth, CountTruth):
        name = question.removeprefix("How many ").removesuffix(" are there").removeprefix("Count the ")
        return None if truth.count == sum(plural(icon.icon) == name for icon in read) else "another_number"
    named = [icon for icon in read if question.endswith(f" the {icon.icon}") or f" the {icon.icon} " in question]
    named += [icon for icon in read if f" the {icon.colour} {icon.icon}" in question]
    if len(named) != 1:
        raise Unchecked("not_named")
    box = named[0].box
    match truth:
        case BoxTruth():
            return None if Box(*truth.boxes[0], "milli", box.size).iou(box) >= _SAME else "another_box"
        case PointTruth():
            x1, y1, x2, y2 = truth.boxes[0]
            return None if x1 <= box.centre.milli()[0] <= x2 and y1 <= box.centre.milli()[1] <= y2 else "another_point"
        case OptionTruth() if truth.option in entry.colours:
            return None if truth.option == named[0].colour else "another_colour"
        case OptionTruth():
            x1, y1, x2, y2 = region_boxes(entry.regions, entry.image_size)[truth.option]
            return None if x1 <= box.centre.x <= x2 and y1 <= box.centre.y <= y2 else "another_region"
    raise Unchecked(type(truth).__name__)


DOMAIN = Domain(
    GroundingEntry,
    steps=(BeamStep("build", version=1, worker=RenderScenes, output=Sample),),
    example={"count": 20, "tasks": {"grounding.point": 2, "grounding.box": 1, "counting.icons": 1}},
    label_check=CheckIcons,
)
