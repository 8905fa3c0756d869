"""How a page or a line is asked for: many phrasings in English and Chinese that say what the answer holds."""

import random
from typing import Literal

from step3vl.pipelines.core.phrasings import combine

LabelForm = Literal["markdown", "markdown_math", "text", "line"]

_OWN_LANGUAGE = 0.75  # of the questions about a page, that are in the page's language


_MARKDOWN_EN = combine(
    " ",
    ("Transcribe", "Write out", "Reproduce", "Render", "Output"),
    (
        "this page as Markdown.",
        "the page in the image as Markdown.",
        "the main text of this page as Markdown.",
        "the body of this page in Markdown.",
    ),
    (
        "Convert this page to Markdown.",
        "Convert the page in the image into Markdown.",
        "Turn this page into Markdown.",
        "Turn the main text of this page into Markdown.",
        "Give me the page as Markdown.",
        "Read this page and answer in Markdown.",
        "What does this page say? Answer in Markdown.",
        "Extract the body of this page as Markdown.",
        "I need this document in Markdown.",
        "Parse the page and return Markdown.",
        "Produce the Markdown source of this page.",
        "Reproduce the page in Markdown, in reading order.",
        "Read the document page in order and write it as Markdown.",
    ),
)
_MARKDOWN_ZH = combine(
    "",
    ("把", "请把", "请将"),
    ("这一页转写为 Markdown。", "图中的页面转换成 Markdown。", "该页正文整理成 Markdown。", "这页文档写成 Markdown。"),
    (
        "请以 Markdown 格式输出这一页的内容。",
        "用 Markdown 写出该页的正文。",
        "按阅读顺序识别这一页，并以 Markdown 作答。",
        "这一页写了什么？请用 Markdown 回答。",
        "提取该页正文，输出 Markdown。",
        "请给出这页文档的 Markdown 源文本。",
    ),
)
_RULES_EN = (
    "Leave out running headers, footers and page numbers; write tables as HTML, and [formula] or [figure] in place of "
    "a displayed formula or a figure.",
    "Omit headers, footers and page numbers. Tables become HTML; displayed formulas and figures become [formula] and "
    "[figure].",
    "Skip page headers and footers, use HTML for tables, and mark displayed formulas as [formula] and figures as "
    "[figure].",
    "No headers, footers or page numbers, please. Use HTML tables, and put [formula] and [figure] where displayed "
    "formulas and figures stand.",
    "Tables as HTML, displayed formulas as [formula], figures as [figure]; do not copy headers, footers and page "
    "numbers.",
)
_RULES_ZH = (
    "省略页眉、页脚和页码；表格用 HTML，独立公式写作 [formula]，插图写作 [figure]。",
    "不要页眉、页脚和页码。表格以 HTML 表示，独立公式和插图分别用 [formula] 和 [figure] 代替。",
    "页眉页脚与页码不必抄写，表格写成 HTML，独立公式处写 [formula]，图片处写 [figure]。",
    "表格输出为 HTML，独立公式标为 [formula]，插图标为 [figure]，页眉、页脚、页码略去。",
)

_MATH_RULES_EN = (
    "Leave out running headers, footers and page numbers; write tables as HTML, formulas as LaTeX in dollar signs, "
    "and [figure] in place of a figure.",
    "Omit headers, footers and page numbers. Tables become HTML, formulas LaTeX in dollar signs, figures [figure].",
    "Skip page headers and footers, use HTML for tables and LaTeX for formulas, and mark figures as [figure].",
    "No headers, footers or page numbers, please. Tables as HTML, formulas as LaTeX, figures as [figure].",
)
_MATH_RULES_ZH = (
    "省略页眉、页脚和页码；表格用 HTML，公式用 LaTeX，插图写作 [figure]。",
    "不要页眉、页脚和页码。表格以 HTML 表示，公式以 LaTeX 表示，插图用 [figure] 代替。",
    "表格输出为 HTML，公式输出为 LaTeX，插图标为 [figure]，页眉、页脚、页码略去。",
)

_TEXT_EN = combine(
    " ",
    ("Read", "Transcribe", "Copy out", "Type out", "Extract"),
    (
        "all the text on this page, line by line.",
        "the whole page as plain text, keeping its lines.",
        "everything written on this page in reading order, line by line.",
        "the text of the page in the image; keep the line breaks.",
    ),
    (
        "What is written on this page? Keep the lines as they are.",
        "Give the full text of this page, one line of the page per line.",
        "Perform OCR on this page and keep its line breaks.",
        "I need all the text of this page, line for line.",
        "Give me a line-by-line transcript of this page.",
        "Read the page from beginning to end, line by line.",
        "Return the page's text with its line breaks.",
    ),
)
_TEXT_ZH = combine(
    "",
    ("", "请", "请你"),
    (
        "逐行读出这一页的全部文字。",
        "逐行转写图中页面的文字。",
        "按阅读顺序逐行抄录这一页。",
        "识别该页全部文字，并保留换行。",
        "提取页面上的所有文字，保持原有的行。",
    ),
    (
        "这一页上写了什么？请逐行写出。",
        "输出该页的纯文本，一行对应一行。",
        "对这一页做文字识别，保留换行。",
        "请给出这页文档的逐行文本。",
    ),
)
_MARKS_EN = (
    "Write [formula] for a displayed formula and [figure] for a figure.",
    "A displayed formula is written [formula], a figure [figure].",
    "Put [formula] and [figure] where displayed formulas and figures stand.",
    "Use [formula] in place of displayed formulas and [figure] in place of figures.",
)
_MARKS_ZH = (
    "独立公式写作 [formula]，插图写作 [figure]。",
    "独立公式和插图分别用 [formula] 和 [figure] 代替。",
    "遇到独立公式写 [formula]，遇到插图写 [figure]。",
)

_LINE_EN = combine(
    " ",
    ("Read", "Transcribe", "Copy", "Type out", "Extract", "Recognise"),
    (
        "the text in the image.",
        "this line of text.",
        "the line shown here.",
        "the words in this image.",
        "what is written here.",
        "the text of this line exactly.",
    ),
    (
        "What does this line say?",
        "What is written in the image?",
        "Which text does the image show?",
        "What does it say here?",
        "Give the text of this line.",
        "Perform OCR on this line.",
        "Please read this line.",
        "Tell me what this line says.",
    ),
)
_LINE_ZH = combine(
    "",
    ("", "请"),
    (
        "读出图中的文字。",
        "转写这一行文字。",
        "识别图片里的文字。",
        "抄录这行文字。",
        "写出图中这一行的内容。",
        "提取图中的文字。",
    ),
    ("这一行写的是什么？", "图中写了什么？", "这行文字是什么？", "图片上的文字是什么？"),
)

QUESTIONS: dict[LabelForm, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "markdown": (_MARKDOWN_EN, _MARKDOWN_ZH),
    "markdown_math": (_MARKDOWN_EN, _MARKDOWN_ZH),
    "text": (_TEXT_EN, _TEXT_ZH),
    "line": (_LINE_EN, _LINE_ZH),
}
"""English and Chinese."""

RULES: dict[LabelForm, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "markdown": (_RULES_EN, _RULES_ZH),
    "markdown_math": (_MATH_RULES_EN, _MATH_RULES_ZH),
    "text": (_MARKS_EN, _MARKS_ZH),
}
"""What the answer leaves out and what its marks mean, to follow the question; English and Chinese."""


def ask(form: LabelForm, chinese: bool, marks: bool, rng: random.Random) -> str:
    """A question for a label.

    Args:
        form: Of the label.
        chinese: The page is in a script of ideographs, so most of its questions are Chinese.
        marks: Say what the answer leaves out and how it marks what is no text.
        rng: Random numbers.
    """
    language = int(chinese if rng.random() < _OWN_LANGUAGE else not chinese)
    question = rng.choice(QUESTIONS[form][language])
    if not marks or form not in RULES:
        return question
    return question + ("" if language else " ") + rng.choice(RULES[form][language])
