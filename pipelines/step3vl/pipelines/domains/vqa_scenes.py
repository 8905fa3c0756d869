"""Visual questions about rendered scenes, of which everything is known: colours, counts, sizes and places.

After the VQA data of the STEP3-VL-10B report, section 2.2: questions from what is known of an image, here as exactly
as nowhere else. Every scene is read back from its pixels, and every answer computed from both.
"""

import random
from collections.abc import Iterator
from typing import Literal

from PIL import Image as PILImage
from pydantic import Field

from step3vl.data.errors import UserError
from step3vl.data.sample import Sample
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, FractionRange, GeneratedEntry, IntRange
from step3vl.pipelines.core.samples import encode_jpeg
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.domains.vqa_questions.conversations import converse
from step3vl.pipelines.domains.vqa_questions.judging import JUDGE_STEP, WriteConversations, check_judge
from step3vl.pipelines.domains.vqa_questions.scenes import SceneQuestions
from step3vl.pipelines.domains.vqa_questions.turns import Asked, Language
from step3vl.pipelines.models.judge import JudgeConfig
from step3vl.pipelines.render.scenes.scene import IconRequest, render_scene
from step3vl.pipelines.render.scenes.scene_reading import read_scene
from step3vl.pipelines.render.style import COLOURS, PhotoBackgrounds, gradient, pastel, plain
from step3vl.pipelines.sources.icons import IconSet


class ScenesEntry(GeneratedEntry):
    """Questions about icons on a background."""

    domain: Literal["vqa.scenes"]
    image_size: IntRange = (320, 640)
    """Of the width and of the height, in pixels."""
    objects: IntRange = (2, 8)
    """Icons in a scene."""
    scale: FractionRange = (0.08, 0.3)
    """The longer side of an icon as a fraction of the image's shorter side."""
    colours: tuple[str, ...] = ("red", "orange", "yellow", "green", "blue", "purple", "brown", "black", "white")
    """Names of `render.style.COLOURS`."""
    languages: tuple[Language, ...] = ("en", "zh")
    """Of the questions."""
    turns: IntRange = (1, 4)
    """Questions in a conversation."""
    choices: float = Field(default=0.25, ge=0, le=1)
    """The fraction of questions that offer options."""
    unanswerable: float = Field(default=0.08, ge=0, le=1)
    """The fraction of questions that ask for what the image does not show."""
    icon_files: tuple[str, ...] = ("assets:icons/*.svg",)
    """Patterns of SVG files of a single colour; questions call an icon what its file is called."""
    photo_files: tuple[str, ...] = ("assets:photos/*.jpg",)
    """Patterns of photographs for backgrounds."""
    licence: str = "Apache-2.0 AND CC0-1.0"
    """Of the samples."""
    judge: JudgeConfig | None = None
    """A model that looks at each conversation; answers that it finds wrong are dropped."""

    def assets(self) -> tuple[str, ...]:
        return (*self.icon_files, *self.photo_files)

    def check(self, context: StepContext) -> None:
        super().check(context)
        check_judge(self.judge)
        unknown = [colour for colour in self.colours if colour not in COLOURS]
        if unknown:
            raise UserError(f"{self.name}: no colour {unknown[0]!r}; choose among {', '.join(COLOURS)}")


class AskAboutScenes:
    """Worker: a number becomes a scene and a conversation about it."""

    def __init__(self, entry: ScenesEntry, context: StepContext) -> None:
        self._entry, self._context = entry, context

    def setup(self) -> None:
        self._icons = IconSet(self._context.assets(self._entry.icon_files))
        self._photos = PhotoBackgrounds(self._context.assets(self._entry.photo_files))

    def process(self, record: Record[int], rng: random.Random) -> Iterator[Record[Asked]]:
        entry = self._entry
        on_photo = rng.random() < 0.5
        background = self._background((rng.randint(*entry.image_size), rng.randint(*entry.image_size)), on_photo, rng)
        scene = background.copy()
        placed = render_scene(scene, self._requests(min(scene.size), rng), self._icons, rng)
        if placed is None:
            raise Dropped("no_room")
        read = read_scene(scene, background, [item.box for item in placed], self._icons)
        if read is None or [(item.icon, item.colour) for item in read] != [
            (item.icon, item.colour) for item in placed
        ]:
            raise Dropped("not_read_back")
        language = rng.choice(entry.languages)
        asker = SceneQuestions(placed, read, self._icons.names, entry.colours, on_photo, language, rng)
        length = rng.randint(*entry.turns)
        turns = converse(asker, "scene", language, length, entry.choices, entry.unanswerable, set(), rng)
        if not turns:
            raise Dropped("nothing_to_ask")
        yield Record(
            record.key,
            Asked(
                image=encode_jpeg(scene),
                turns=turns,
                task="vqa.scene",
                language=language,
                licence=entry.licence,
                origin=record.key,
                traits={"objects": str(len(placed))},
            ),
        )

    def _background(self, size: tuple[int, int], on_photo: bool, rng: random.Random) -> PILImage.Image:
        if on_photo:
            return PILImage.blend(self._photos.crop(size, rng), plain(size, pastel(rng)), rng.uniform(0, 0.5))
        if rng.random() < 0.5:
            return plain(size, pastel(rng))
        return gradient(size, pastel(rng), pastel(rng), rng.random() < 0.5)

    def _requests(self, shorter: int, rng: random.Random) -> list[IconRequest]:
        """Icons of a few kinds and colours, so that some occur more than once."""
        entry = self._entry
        number = rng.randint(*entry.objects)
        icons = rng.sample(self._icons.names, min(rng.randint(2, max(2, number)), len(self._icons.names)))
        colours = rng.sample(entry.colours, min(rng.randint(2, 6), len(entry.colours)))
        low, high = (max(20, round(share * shorter)) for share in entry.scale)
        return [
            IconRequest(rng.choice(icons), rng.choice(colours), rng.randint(low, max(low, high)))
            for _ in range(number)
        ]


DOMAIN = Domain(
    ScenesEntry,
    steps=(
        BeamStep("ask", version=3, worker=AskAboutScenes, output=Asked),
        JUDGE_STEP,
        BeamStep("build", version=1, worker=WriteConversations, output=Sample),
    ),
    example={"count": 20, "image_size": [224, 320]},
)
