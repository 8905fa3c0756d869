"""How a problem, all problems of a page, and the description of a figure are asked for: English and Chinese."""

import random
from typing import Literal

from step3vl.pipelines.core.phrasings import Language, combine

Asked = Literal["problem", "numbered", "all", "caption", "in_words"]

_PHRASINGS: dict[tuple[Asked, Language], tuple[str, ...]] = {
    ("problem", "en"): combine(
        " ",
        ("Solve", "Please solve", "Work out", "Work on", "Find the answer to", "Give the answer to", "Answer"),
        (
            "the problem in the image.", "the problem that is shown.", "the question in the image.",
            "the printed question.", "this exercise.", "the exercise in the picture.",
            "the task that is shown here.",
        ),
        (
            "What is the answer to this problem?", "What is the answer to the question in the image?",
            "Read the image and answer.", "How is this problem solved?",
            "What does this exercise ask for? Solve it.",
        ),
    ),
    ("problem", "zh"): combine(
        "",
        ("请解答", "解答", "请做", "回答", "请回答", "请完成", "求解"),
        (
            "图中的题目。", "图中的问题。", "图片里的这道题。", "这道题。", "图中的练习。", "图上给出的题。",
            "画面中的习题。",
        ),
        ("图中这道题的答案是什么？", "阅读图片并作答。", "这道题怎么做？", "请写出这道题的答案。", "看图作答。"),
    ),
    ("numbered", "en"): combine(
        " ",
        ("Solve", "Answer", "Work on", "Do", "Please solve", "Find the answer to", "Look at the page and solve"),
        (
            "problem {n}.", "question {n} on the page.", "exercise {n} of the worksheet.", "number {n}.",
            "problem {n} in the image.", "item {n} of the sheet.", "only problem {n}.",
        ),
        ("What is the answer to problem {n}?", "How is number {n} solved?", "Which answer does question {n} have?"),
    ),
    ("numbered", "zh"): combine(
        "",
        ("请解答", "请做", "回答", "只做", "请求解", "完成", "请写出答案："),
        (
            "第{n}题。", "图中第{n}题。", "页面上的第{n}题。", "第{n}小题。", "练习中的第{n}题。",
            "这张卷子的第{n}题。", "编号为{n}的题。",
        ),
        ("第{n}题的答案是什么？", "第{n}题怎么解？", "请看第{n}题，它的答案是多少？"),
    ),
    ("all", "en"): combine(
        " ",
        ("Solve", "Answer", "Work through", "Complete", "Please solve", "Give the answers to"),
        (
            "all problems on the page.", "every question of the worksheet.", "the whole page, one by one.",
            "all exercises in the image.", "each problem in order.", "everything that the sheet asks.",
            "all the tasks shown here.", "the problems of this page from first to last.",
        ),
        (
            "What are the answers, one by one?", "Write an answer key for this page.",
            "What is the answer to each problem?", "List the answers in the order of the problems.",
        ),
    ),
    ("all", "zh"): combine(
        "",
        ("请解答", "请完成", "逐一回答", "请按顺序解答", "请做完", "请给出答案："),
        (
            "页面上的所有题目。", "图中的全部习题。", "这张练习的每一道题。", "整页的题目。", "各题。",
            "图中所有的问题。", "这一页的题，从第一题到最后一题。", "卷面上的全部小题。",
        ),
        ("逐题作答。", "写出这页练习的参考答案。", "全部题目的答案是什么？", "每道题的答案分别是什么？"),
    ),
    ("caption", "en"): combine(
        " ",
        (
            "Describe", "Please describe", "Put into words", "Write a description of", "Give a full account of",
            "Describe in detail",
        ),
        (
            "the figure.", "this diagram.", "what the figure shows.", "everything that is marked in the figure.",
            "what is shown and labelled here.", "the illustration, with all that it marks.",
            "the figure for someone who cannot see it.",
        ),
        (
            "What does the figure show?", "What can be read from this figure?", "What is shown and labelled here?",
            "What facts does the figure give?", "Write a caption for the figure.",
            "State the facts that the figure gives.",
            "List what is shown and marked in the figure.", "Turn the figure into a description.",
        ),
    ),
    ("caption", "zh"): combine(
        "",
        ("请描述", "用文字描述", "请说明", "请详细描述", "用语言叙述", "请写一段话，说明"),
        (
            "这幅图。", "图中的内容。", "该图形。", "图中画出和标明的内容。", "图示内容和所有标注。",
            "图中给出的条件。", "这张示意图。",
        ),
        (
            "图中画了什么？", "图中标出了哪些条件？", "从图中可以读出什么？", "请为此图写一段说明。",
            "请说出图中所有标注。",
            "把图的内容用文字表达出来。", "给出这幅图的文字说明。", "列出图中画出和标明的内容。",
        ),
    ),
    ("in_words", "en"): combine(
        " ",
        (
            "Solve", "Please solve", "Work out", "Work on", "Find the answer to", "Give the answer to",
            "Think through",
        ),
        (
            "the following problem.", "this problem.", "this task.", "the problem below.", "the following exercise.",
            "the question that follows.", "what is asked here.",
        ),
        ("",),  # the problem speaks for itself
    ),
    ("in_words", "zh"): combine(
        "",
        ("请解答", "解答", "请做", "请回答", "请完成", "求解", "请思考"),
        ("下面的题目。", "以下问题。", "这道英文题。", "下面这道题。", "以下练习。", "下列题目。", "接下来的问题。"),
        ("看题作答。",),
    ),
}  # fmt: skip


def phrasings(asked: Asked, language: Language) -> tuple[str, ...]:
    """Every way in which something is asked for; `numbered` has a place for `{n}`."""
    return _PHRASINGS[asked, language]


def ask(asked: Asked, language: Language, rng: random.Random, number: int = 1) -> str:
    """A request.

    Args:
        asked: The `problem` of an image, the `numbered` one, `all` of them, a `caption` of the figure; or, `in_words`,
            what stands before a problem in words.
        language: Of the request.
        rng: Chooses the phrasing.
        number: Of the problem.
    """
    return rng.choice(phrasings(asked, language)).format(n=number)
