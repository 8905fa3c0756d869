"""How the code of a document, of a part of it, or the place of a text is asked for: English and Chinese."""

import random
from collections.abc import Sequence
from typing import Literal

from step3vl.pipelines.core.phrasings import Language, combine

Code = Literal["html", "markdown", "latex"]
Subject = Literal["page", "table", "formula"]
Asked = Literal["code", "region", "place"]

_CODES: dict[Code, tuple[str, str]] = {
    "html": ("HTML", "HTML"),
    "markdown": ("Markdown", "Markdown"),
    "latex": ("LaTeX", "LaTeX"),
}
_SUBJECTS: dict[Subject, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "page": (("page", "document", "text"), ("页面", "文档", "文字内容")),
    "table": (("table",), ("表格",)),
    "formula": (("formula", "expression"), ("公式", "数学式")),
}


_CODE_EN = combine(
    " ",
    ("Write", "Give", "Produce", "Return", "Provide", "Output", "Write out"),
    (
        "the {code} of this {subject}.",
        "the {code} for the {subject} in the image.",
        "{code} that renders to this {subject}.",
        "the {subject} as {code}.",
        "the {subject} shown here in {code}.",
        "{code} for this image.",
    ),
    (
        "Convert this {subject} to {code}.",
        "Convert the image to {code}.",
        "Transcribe the {subject} as {code}.",
        "Turn the {subject} in the image into {code}.",
        "What is the {code} of this {subject}?",
        "How is this {subject} written in {code}?",
        "Reproduce the {subject} in {code}.",
        "Rewrite this {subject} in {code}.",
        "Read the {subject} and write it in {code}.",
        "Digitise this {subject}: answer in {code}.",
        "I need this {subject} in {code}.",
        "Please type up the {subject} in {code}.",
        "Which {code} gives this {subject}?",
        "Represent the {subject} in {code}, keeping its structure.",
        "{code} of the {subject}, please.",
        "Extract the {subject} as {code}.",
    ),
)
_CODE_ZH = combine(
    "",
    ("写出", "请写出", "给出", "请给出", "输出", "请输出", "提供", "生成"),
    (
        "这张图中{subject}的 {code} 代码。",
        "图中{subject}对应的 {code}。",
        "该{subject}的 {code} 源码。",
        "能渲染出此{subject}的 {code}。",
        "图像内容的 {code} 表示。",
    ),
    (
        "将图中的{subject}转换为 {code}。",
        "把这张图转写成 {code}。",
        "请将{subject}转录为 {code}。",
        "这个{subject}用 {code} 怎么写？",
        "图中的{subject}对应什么 {code} 代码？",
        "用 {code} 重现图中的{subject}。",
        "请用 {code} 还原{subject}的结构和内容。",
        "识别图中的{subject}，以 {code} 格式回答。",
        "读取{subject}并写成 {code}。",
        "我需要这个{subject}的 {code} 版本。",
        "请以 {code} 格式提取图中的{subject}。",
        "根据图像编写 {code}。",
    ),
)
_REGION_EN = combine(
    " ",
    ("Write", "Give", "Return", "Produce", "Provide", "Output"),
    (
        "the {code} of the part in the box {box}.",
        "the {code} of the region {box}.",
        "the content of {box} as {code}.",
        "{code} for what the box {box} encloses.",
        "the area {box} in {code}.",
        "the {code} of what is inside {box}.",
        "in {code} what stands in the box {box}.",
    ),
    (
        "Convert the region {box} to {code}.",
        "Transcribe the part of the image within {box} as {code}.",
        "What is the {code} of the area {box}?",
        "Look only at {box} and write its {code}.",
        "How is the block at {box} written in {code}?",
        "Turn the part of the page in {box} into {code}.",
        "Extract the block in {box} as {code}.",
        "Only the region {box} is wanted: write it in {code}.",
        "Read what the box {box} holds and answer in {code}.",
        "I need the part of the page at {box} in {code}.",
    ),
)
_REGION_ZH = combine(
    "",
    ("写出", "请写出", "给出", "请给出", "输出", "请输出", "提供"),
    (
        "边界框 {box} 内内容的 {code}。",
        "区域 {box} 的 {code} 代码。",
        "{box} 处内容对应的 {code}。",
        "框 {box} 所围部分的 {code} 源码。",
        "图中 {box} 范围的 {code} 表示。",
        "位于 {box} 的那一块的 {code}。",
    ),
    (
        "将区域 {box} 转换为 {code}。",
        "把边界框 {box} 中的内容转写成 {code}。",
        "只看 {box}，写出其 {code}。",
        "区域 {box} 用 {code} 怎么写？",
        "请将 {box} 内的部分转录为 {code}。",
        "提取 {box} 处的内容，格式为 {code}。",
        "边界框 {box} 中的内容对应什么 {code}？",
        "读取 {box} 内的内容并以 {code} 回答。",
    ),
)
_PLACE_EN = combine(
    " ",
    ("Give", "Return", "Find", "Mark", "Output", "Provide"),
    (
        'the bounding box of "{text}".',
        'the box around "{text}".',
        'the region where "{text}" stands.',
        'the place of the text "{text}" in the image.',
        'the part of the image that says "{text}".',
        'the area in which "{text}" is written.',
    ),
    (
        'Where is "{text}"?',
        'Where in the image is "{text}"?',
        'Locate "{text}".',
        'Locate the text "{text}" with a bounding box.',
        'In which box is "{text}" written?',
        'Which region says "{text}"?',
        'Draw a box around "{text}".',
        'Detect the text "{text}".',
        'Where does it say "{text}"?',
        'Where can "{text}" be read?',
        'Frame the text "{text}".',
        'Point out "{text}" with a box.',
        'Show with a box where "{text}" is.',
        'Which part of the image reads "{text}"?',
    ),
)
_PLACE_ZH = combine(
    "",
    ("给出", "请给出", "标出", "请标出", "找出", "请找出", "框出", "请框出"),
    (
        "“{text}”的边界框。",
        "文字“{text}”所在的位置。",
        "图中“{text}”的位置。",
        "写有“{text}”的区域。",
        "“{text}”在图像中的框。",
    ),
    (
        "“{text}”在哪里？",
        "图中哪里写着“{text}”？",
        "定位文字“{text}”。",
        "用边界框标出“{text}”。",
        "“{text}”位于图中的哪个区域？",
        "哪个框里是“{text}”？",
        "检测文字“{text}”的位置。",
        "图像的哪一部分写着“{text}”？",
        "“{text}”的坐标是多少？",
        "请指出“{text}”所在的区域。",
    ),
)
_TEMPLATES: dict[Asked, dict[Language, tuple[str, ...]]] = {
    "code": {"en": _CODE_EN, "zh": _CODE_ZH},
    "region": {"en": _REGION_EN, "zh": _REGION_ZH},
    "place": {"en": _PLACE_EN, "zh": _PLACE_ZH},
}


def phrasings(asked: Asked, language: Language) -> tuple[str, ...]:
    """The templates of a kind of question."""
    return _TEMPLATES[asked][language]


def ask(
    asked: Asked,
    language: Language,
    rng: random.Random,
    *,
    subject: Subject = "page",
    code: Code = "html",
    box: Sequence[int] = (),
    text: str = "",
) -> str:
    """A question.

    Args:
        asked: The code of the image, the code of a region, or the place of a text.
        language: Of the question.
        rng: Random numbers.
        subject: What the image shows.
        code: What is asked for.
        box: The region, in 0..1000.
        text: What is to be found.
    """
    place = ("en", "zh").index(language)
    return rng.choice(phrasings(asked, language)).format(
        subject=rng.choice(_SUBJECTS[subject][place]),
        code=_CODES[code][place],
        box=f"[{', '.join(map(str, box))}]",
        text=text,
    )
