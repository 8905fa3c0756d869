"""How a text on an image is asked for: all of it, what stands in a box, where it is, and the value of a label."""

import random
from typing import Literal

from step3vl.pipelines.core.phrasings import Language, combine

Task = Literal["transcribe", "region", "locate", "field"]


_PHRASINGS: dict[tuple[Task, Language], tuple[str, ...]] = {
    ("transcribe", "en"): combine(
        " ",
        ("Read", "Transcribe", "Write out", "Copy", "Give", "Type out", "Output"),
        (
            "all the text in this image.",
            "the text in the image, line by line.",
            "every line of text, in reading order.",
            "the whole text as it is written.",
            "the full text of the image with its line breaks.",
            "everything that is written here.",
        ),
        (
            "What does this image say?",
            "What is written in the image?",
            "Which text is shown?",
            "OCR this image.",
            "Turn the image into plain text.",
            "Please transcribe this image exactly.",
            "I need the text of this image, with its line breaks.",
            "Convert the picture to text, keeping the order in which it is read.",
            "Extract the text, from the first line to the last.",
            "Read this to me, word for word.",
        ),
    ),
    ("transcribe", "zh"): combine(
        "",
        ("读出", "请读出", "转写", "请转写", "抄录", "请写出", "提取", "请输出"),
        (
            "图中的全部文字。",
            "图片里的所有文字，按行输出。",
            "这张图上的文字，按阅读顺序。",
            "图像中的完整文本，保留换行。",
            "画面中写的所有内容。",
            "图里的每一行字。",
        ),
        (
            "这张图片上写了什么？",
            "图中有哪些文字？",
            "请对这张图做文字识别。",
            "把图片转换成纯文本。",
            "我需要这张图的文字，请保留换行。",
            "图上的文字是什么？请逐字给出。",
            "请从第一行到最后一行读出文字。",
        ),
    ),
    ("region", "en"): combine(
        " ",
        ("Read", "Transcribe", "Write out", "Give", "Copy", "Extract"),
        (
            "the text in the box {box}.",
            "the text in the region {box}.",
            "what is written at {box}.",
            "only the text inside {box}.",
            "the words within {box}.",
            "the text of the area {box}, with its line breaks.",
            "the part of the text that {box} encloses.",
        ),
        (
            "What does the text at {box} say?",
            "What is written in {box}?",
            "Which text stands in the region {box}?",
            "Look at {box}. What does it say?",
            "{box} marks a text. What is it?",
            "Recognise the text in {box}.",
            "I need the text in {box} and nothing else.",
            "Please read the region {box} of the image.",
            "The box {box} holds some text. Type it out.",
            "What can be read inside {box}?",
        ),
    ),
    ("region", "zh"): combine(
        "",
        ("读出", "请读出", "转写", "请写出", "提取", "识别", "请给出"),
        (
            "框 {box} 中的文字。",
            "区域 {box} 里的文字。",
            "{box} 处写的内容。",
            "{box} 范围内的文字，保留换行。",
            "图中 {box} 这一块的文本。",
            "位于 {box} 的字。",
            "{box} 框住的内容。",
        ),
        (
            "{box} 处写了什么？",
            "区域 {box} 里是什么文字？",
            "框 {box} 里写着什么？",
            "请看 {box}，上面写的是什么？",
            "我只需要 {box} 中的文字。",
        ),
    ),
    ("locate", "en"): combine(
        " ",
        ("Find", "Locate", "Point out", "Mark", "Detect", "Box"),
        (
            "the text “{text}” in the image and give its bounding box.",
            "“{text}” on this image. Answer with a box.",
            "where “{text}” is written; give the bounding box.",
            "the place of “{text}” as a bounding box.",
            "“{text}” and give its coordinates as a box.",
            "the words “{text}” with a bounding box.",
            "the spot that says “{text}”, as a box.",
        ),
        (
            "Where is “{text}” written? Give a bounding box.",
            "Where does the image say “{text}”? Answer with a box.",
            "Which region says “{text}”? Give its box.",
            "What is the bounding box of the text “{text}”?",
            "Give the bounding box of “{text}”.",
            "In which box does “{text}” stand?",
            "I am looking for “{text}”. Where is it? Answer with a box.",
            "Draw a box around the text “{text}”: give its coordinates.",
            "Return the box of the text that reads “{text}”.",
            "Please give the position of “{text}” as a bounding box.",
        ),
    ),
    ("locate", "zh"): combine(
        "",
        ("找出", "请找出", "定位", "请定位", "标出", "请标出", "框出"),
        (
            "图中的文字“{text}”，给出边界框。",
            "“{text}”在图中的位置，用边界框回答。",
            "写有“{text}”的区域，给出坐标框。",
            "文字“{text}”的边界框。",
            "图片里“{text}”所在的框。",
            "“{text}”这几个字，用框表示。",
            "“{text}”，并输出它的框。",
        ),
        (
            "“{text}”写在哪里？请给出边界框。",
            "图中哪里写着“{text}”？用框回答。",
            "文字“{text}”的边界框是什么？",
            "请给出“{text}”的边界框。",
            "“{text}”在什么位置？请用框表示。",
        ),
    ),
    ("field", "en"): combine(
        " ",
        ("Read", "Give", "Find", "Extract", "Write down", "Look up"),
        (
            "the value of “{label}”.",
            "what stands next to “{label}”.",
            "the entry for “{label}”.",
            "what is filled in for “{label}”.",
            "what the image gives for “{label}”.",
            "the text that belongs to “{label}”.",
            "the content of the field “{label}”.",
        ),
        (
            "What is the value of “{label}”?",
            "What does the image give for “{label}”?",
            "What is entered under “{label}”?",
            "Which value has “{label}”?",
            "What stands beside “{label}”?",
            "What is given for “{label}”? Answer with the value alone.",
            "“{label}”: what is the value?",
            "Look for “{label}”. What is its value?",
            "I need the value of “{label}” and nothing else.",
            "Please read the field “{label}”.",
        ),
    ),
    ("field", "zh"): combine(
        "",
        ("读出", "请读出", "给出", "找出", "提取", "请给出", "查找"),
        (
            "“{label}”的值。",
            "“{label}”对应的内容。",
            "“{label}”一栏填写的内容。",
            "图中“{label}”后面的文字。",
            "字段“{label}”的内容。",
            "“{label}”这一项的值。",
            "与“{label}”对应的值，只回答值。",
        ),
        (
            "“{label}”是什么？",
            "“{label}”一栏写的是什么？",
            "图中“{label}”的值是多少？",
            "“{label}”对应的值是什么？",
            "请问“{label}”填的是什么？",
        ),
    ),
}
_CELLS = {"en": " Separate the cells of a table with “|”.", "zh": "表格的单元格用“|”分隔。"}


def phrasings(task: Task, language: Language) -> tuple[str, ...]:
    """Every way in which a task is put, with places for `{box}`, `{text}` and `{label}`."""
    return _PHRASINGS[task, language]


def ask(task: Task, language: Language, rng: random.Random, has_table: bool = False, **values: str) -> str:
    """A question.

    Args:
        task: What is asked for.
        language: Of the question.
        rng: Chooses the phrasing.
        has_table: Whether the answer has a table in it.
        values: For the places of the phrasing.
    """
    return rng.choice(phrasings(task, language)).format(**values) + _CELLS[language] * has_table
