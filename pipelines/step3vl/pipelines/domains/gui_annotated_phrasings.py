"""How a target on a screen is asked for by an instruction, a name or what it is for, in English and Chinese."""

import random

from step3vl.pipelines.core.phrasings import Language, combine, paragraph
from step3vl.pipelines.gui.sets.records import Phrase

_TOLD: dict[Phrase, dict[Language, tuple[str, ...]]] = {
    "instruction": {
        "en": (
            "Instruction: {text}",
            "The user says: {text}",
            "Task on this screen: {text}",
            "What is to be done: {text}",
            "Command: {text}",
            "Goal: {text}",
            "{text}",
        ),
        "zh": (
            "指令：{text}",
            "用户说：{text}",
            "屏幕上的任务：{text}",
            "要做的事：{text}",
            "命令：{text}",
            "目标：{text}",
            "{text}",
        ),
    },
    "name": {
        "en": (
            "The element “{text}”.",
            "Element: {text}",
            "Find “{text}”.",
            "Name of the element: {text}",
            "Look for “{text}”.",
            "The target is named “{text}”.",
            "Target: {text}",
        ),
        "zh": (
            "元素“{text}”。",
            "元素：{text}",
            "找到“{text}”。",
            "元素名称：{text}",
            "寻找“{text}”。",
            "目标名为“{text}”。",
            "目标：{text}",
        ),
    },
    "function": {
        "en": (
            "What the element is for: {text}",
            "Function: {text}",
            "The element with this purpose: {text}",
            "Purpose of the target: {text}",
            "The target does this: {text}",
            "Which element is it? {text}",
            "Described by its function: {text}",
        ),
        "zh": (
            "元素的用途：{text}",
            "功能：{text}",
            "具有此用途的元素：{text}",
            "目标的作用：{text}",
            "目标元素的功能：{text}",
            "这是哪个元素？{text}",
            "按功能描述：{text}",
        ),
    },
}
_ASKED: dict[str, dict[Language, tuple[str, ...]]] = {
    "point": {
        "en": combine(
            " ",
            ("Answer with", "Give", "Output", "Reply with"),
            (
                'a point on the target as JSON, {{"point_2d": [x, y]}}, from 0 to 1000.',
                'the point to click as {{"point_2d": [x, y]}} with integers from 0 to 1000.',
            ),
            ("Where do you click? One point in JSON, coordinates from 0 to 1000.",),
        ),
        "zh": combine(
            "",
            ("请用", "以", "用"),
            (
                'JSON {{"point_2d": [x, y]}} 给出目标上的一个点，坐标 0 到 1000。',
                '{{"point_2d": [x, y]}} 输出应点击的位置，取 0 到 1000 的整数。',
            ),
            ("应点击哪里？用 JSON 给出一个点，坐标范围 0 到 1000。",),
        ),
    },
    "box": {
        "en": combine(
            " ",
            ("Answer with", "Give", "Output", "Reply with"),
            (
                'the box of the target as JSON, {{"bbox_2d": [x1, y1, x2, y2]}}, from 0 to 1000.',
                'its bounding box as {{"bbox_2d": [x1, y1, x2, y2]}} with integers from 0 to 1000.',
            ),
            ("Which box encloses the target? JSON, coordinates from 0 to 1000.",),
        ),
        "zh": combine(
            "",
            ("请用", "以", "用"),
            (
                'JSON {{"bbox_2d": [x1, y1, x2, y2]}} 给出目标的边界框，坐标 0 到 1000。',
                '{{"bbox_2d": [x1, y1, x2, y2]}} 输出目标的框，取 0 到 1000 的整数。',
            ),
            ("目标的边界框是什么？用 JSON 回答，坐标范围 0 到 1000。",),
        ),
    },
    "exists": {
        "en": combine(
            " ",
            ("Is what is meant", "Is the target", "Is there an element for it", "Is the element meant here"),
            ("on this screen? Answer yes or no.", "on the screen? Yes or no.", "in the screenshot? Say yes or no."),
        ),
        "zh": combine(
            "",
            ("所指的目标", "目标元素", "对应的元素", "所说的元素"),
            ("在屏幕上吗？回答是或否。", "在截图中吗？请回答是或否。", "在这个界面上吗？是或否。"),
        ),
    },
}


def language_of(text: str) -> Language:
    """The language to ask in: that of the text."""
    return "zh" if any("\u4e00" <= character <= "\u9fff" for character in text) else "en"


def ask_for(asked: str, phrase: Phrase, text: str, rng: random.Random) -> str:
    """The question for a target.

    Args:
        asked: `point`, `box` or `exists`.
        phrase: How the target is told.
        text: What tells it.
        rng: Random numbers.
    """
    language = language_of(text)
    description = rng.choice(_TOLD[phrase][language]).format(text=text)
    end = "" if description[-1] in ".!?:。！？：”" else ("." if language == "en" else "。")
    return paragraph(language, description + end, rng.choice(_ASKED[asked][language]).format())
