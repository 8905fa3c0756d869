"""Questions about the images of a mosaic, in English and Chinese: all captions, one by its place or its content."""

import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

from step3vl.data.sample import (
    Box,
    BoxTruth,
    OptionTruth,
    PointTruth,
    TextTruth,
    TranscriptTruth,
    Truth,
    format_boxes,
    format_point,
)
from step3vl.pipelines.core.phrasings import Language, joined

Task = Literal[
    "knowledge.mosaic_captions", "knowledge.mosaic_region", "knowledge.mosaic_locate", "knowledge.mosaic_place"
]
"""All captions by their places; the caption of a box; the box of a caption; the place of a caption."""

_POINTS = 0.3  # of the questions for an image that ask for a point

PLACES: dict[str, dict[Language, tuple[str, ...]]] = {
    "row": {
        "en": ("leftmost", "second from the left", "third from the left", "rightmost"),
        "zh": ("最左边", "左起第二", "左起第三", "最右边"),
    },
    "column": {
        "en": ("top", "second from the top", "third from the top", "bottom"),
        "zh": ("最上面", "从上往下第二", "从上往下第三", "最下面"),
    },
    "grid": {
        "en": ("top left", "top right", "bottom left", "bottom right"),
        "zh": ("左上", "右上", "左下", "右下"),
    },
    "large_left": {
        "en": ("left", "top right", "middle right", "bottom right"),
        "zh": ("左边", "右上", "右边中间", "右下"),
    },
    "large_right": {
        "en": ("top left", "middle left", "bottom left", "right"),
        "zh": ("左上", "左边中间", "左下", "右边"),
    },
    "large_top": {
        "en": ("top", "bottom left", "bottom centre", "bottom right"),
        "zh": ("上面", "左下", "下面中间", "右下"),
    },
    "large_bottom": {
        "en": ("top left", "top centre", "top right", "bottom"),
        "zh": ("左上", "上面中间", "右上", "下面"),
    },
}
"""What the images of a layout are called, in their order."""

_ALL: dict[Language, tuple[str, ...]] = {
    "en": joined(
        (
            "Describe each of the four images", "Describe the four images one by one",
            "Caption each of the four images", "Write a caption for each of the four images",
            "Say what each of the four images shows", "Tell me what each part of the picture shows",
            "Describe each part of this picture", "Describe the four parts of this picture",
            "Give a caption for every image in the picture", "Caption all four images",
            "List what the four images show", "Go through the four images and describe them",
            "This picture is made of four images; describe each",
        ),
        (".", ", with positions.", ", saying where each one is.", ", naming the position of each."),
    ),
    "zh": joined(
        (
            "请逐一描述这四张图", "请分别描述图中的四幅图像", "请为四张图各写一句说明", "请说明每张图的内容",
            "说说这四张图各是什么", "这张图由四张图片拼成，请逐一描述", "请描述拼图中的每一张图片",
            "请给拼图里的每张图配上说明", "请依次介绍这四张图片", "请列出四张图的内容",
            "请分别说出四张小图画的是什么", "请依次描述四张小图", "请概括每张图的内容",
        ),
        ("。", "，并说明位置。", "，并指出各自的位置。", "，注明每张图在哪里。"),
    ),
}  # fmt: skip
_REGION: dict[Language, tuple[str, ...]] = {
    "en": (
        *joined(
            ("Describe", "Caption", "Write a caption for", "Give a caption for", "Say what is shown by", "Summarise"),
            (" the image in {box}.", " the part of the picture in {box}.", " the image that fills {box}."),
        ),
        *joined(
            ("Look at", "Consider", "Focus on", "Zoom in on", "Take the image in"),
            (" {box}. ",),
            (
                "What does it show?", "Describe it.", "Write a caption for it.", "What is it about?",
                "Say what is there.",
            ),
        ),
        *joined(
            (
                "What is shown in", "What can be seen in", "What do you see in", "What is pictured in",
                "What is depicted in", "What does the picture show in", "Which scene is in", "What is there in",
                "Which image is in", "What fills",
            ),
            (" {box}?",),
        ),
    ),
    "zh": (
        *joined(
            ("请描述", "请概括", "请说明", "请介绍", "说说"),
            (
                "{box}处的图像。", "{box}范围内的画面。", "{box}里的图片内容。", "{box}这个区域里的图片。",
                "{box}位置的小图。",
            ),
        ),
        *joined(
            ("图中", "拼图中", "这张图中", "整张图里", "请看，"),
            ("{box}处的图像是什么？", "{box}这个区域里的图片是什么内容？", "{box}里画的是什么？", "{box}展示了什么？",
             "{box}里有什么？"),
        ),
    ),
}  # fmt: skip
_FIND: dict[Language, tuple[str, ...]] = {
    "en": (
        "Find the image with the caption “{caption}”.", "Locate the image that this text describes: “{caption}”.",
        "Which image fits the caption “{caption}”?", "Which image does the text “{caption}” describe?",
        "Which part of the picture belongs to the caption “{caption}”?", "Which image shows this: “{caption}”?",
        "Find the part of the picture that matches the text “{caption}”.", "Look for this image: “{caption}”.",
        "Pick the image that this sentence is about: “{caption}”.",
        "One of the four images fits this caption: “{caption}”.",
    ),
    "zh": (
        "请找出与这句说明相符的图片：“{caption}”。", "哪张图符合“{caption}”这段描述？",
        "请定位这句话描述的图像：“{caption}”。", "四张图中有一张符合下面的说明：“{caption}”。",
        "请找到这段文字对应的图片：“{caption}”。", "“{caption}”说的是哪张图？", "请根据描述找出图片：“{caption}”。",
        "请指出说明文字对应的小图：“{caption}”。", "“{caption}”描述的是拼图的哪一部分？",
        "请检测与描述一致的图片：“{caption}”。",
    ),
}  # fmt: skip
_BOX: dict[Language, tuple[str, ...]] = {
    "en": (" Give its box.", " Return its box.", " Answer with its bounding box.", " Give the bounding box as JSON.",
           " Mark it by a box."),
    "zh": ("给出它的边界框。", "请输出它的框。", "用边界框回答。", "请以JSON给出它的框。", "用框标出。"),
}  # fmt: skip
_POINT: dict[Language, tuple[str, ...]] = {
    "en": (
        " Point to it.", " Answer with a point.", " Give a point inside it.", " Click on it.",
        " Return a point on it.",
    ),
    "zh": ("请指出它。", "用一个点回答。", "给出其中的一个点。", "请点击它。", "请输出它上面的一个点。"),
}  # fmt: skip
_PLACE: dict[Language, tuple[str, ...]] = {
    "en": joined(
        (
            "Where is the image with this caption?", "Which position has the image that fits this text?",
            "Where in the picture is this shown?", "Which of the four images fits this caption?",
            "Which image does this sentence describe?", "At which place is the image that shows this?",
            "Which part of the picture matches this text?", "Where do you see this?",
            "What is the position of the image described here?", "Which of the images is meant?",
        ),
        (" “{caption}”. ",),
        ("Choose from: ", "Answer with one of: ", "Options: ", "It is one of: ", "Pick one: "),
        ("{options}.",),
    ),
    "zh": joined(
        (
            "符合这段描述的图在哪里？", "哪个位置的图与这句话相符？", "这句话说的是哪张图？",
            "图中哪一部分展示了这个内容？", "下面的说明对应哪张图？", "这段文字描述的图片在什么位置？",
            "请问这句说明对应的图在哪儿？", "与这段文字相配的是哪张图？", "哪张图符合说明？", "所描述的图片位于何处？",
        ),
        ("“{caption}”。",),
        ("请从以下选项中选择：", "选项：", "回答其中之一：", "请选一个：", "只回答以下之一："),
        ("{options}。",),
    ),
}  # fmt: skip


class Question(NamedTuple):
    """A question, its answer, and what makes it verifiable."""

    text: str
    answer: str
    truth: Truth


def places_of(layout: str, language: Language) -> tuple[str, ...]:
    """What the images of a layout are called, in their order."""
    return PLACES["grid" if layout.startswith("grid") else layout][language]


def ask(
    task: Task, layout: str, boxes: Sequence[Box], captions: Sequence[str], language: Language, rng: random.Random
) -> Question:
    """A question about a mosaic.

    Args:
        task: What is asked.
        layout: The name of the layout.
        boxes: Of the images, in pixels.
        captions: Of the images.
        language: Of the captions.
        rng: Picks the image and the wording.
    """
    places = places_of(layout, language)
    if task == "knowledge.mosaic_captions":
        colon = "：" if language == "zh" else ": "
        lines = [
            f"{place[0].upper()}{place[1:]}{colon}{caption}" for place, caption in zip(places, captions, strict=True)
        ]
        answer = "\n".join(lines)
        return Question(rng.choice(_ALL[language]), answer, TranscriptTruth(text=answer))
    chosen = rng.randrange(len(boxes))
    box, caption = boxes[chosen], captions[chosen]
    quoted = caption.rstrip(".。")
    if task == "knowledge.mosaic_region":
        question = rng.choice(_REGION[language]).format(box=list(box.milli()))
        return Question(question, caption, TextTruth(text=caption))
    if task == "knowledge.mosaic_place":
        options = list(places)
        rng.shuffle(options)
        listed = ("、" if language == "zh" else ", ").join(options)
        question = rng.choice(_PLACE[language]).format(caption=quoted, options=listed)
        return Question(question, places[chosen], OptionTruth(option=places[chosen], options=tuple(options)))
    found = rng.choice(_FIND[language]).format(caption=quoted)
    if rng.random() < _POINTS:
        return Question(
            found + rng.choice(_POINT[language]), format_point(box.centre), PointTruth(boxes=(box.milli(),))
        )
    return Question(found + rng.choice(_BOX[language]), format_boxes([box]), BoxTruth(boxes=(box.milli(),)))
