"""Exam questions from web pages: ordered lists of questions, with lists of options and images.

A question is an item of an outermost `<ol>`, or an element of the class `question` or with `data-question`. In it:

- options: the items of the first list inside (`<ol type="A">`, `<ul class="options">`), or `<label>`s of radio buttons
- the answer: `data-answer` of the question, an option of the class `correct` (or `checked`, `data-correct`), or an
  element of the class `answer`
- the solution: an element of the class `solution`, `explanation` or `analysis`, such as a `<details>`
- images: in their places; `src` is a path beside the page or a data URL
- formulas: the TeX that MathML carries in an `annotation`, and raised and lowered texts as `x^2` and `a_{12}`
"""

import re
from collections.abc import Iterator
from pathlib import Path

import lxml.html

from step3vl.data.sample import Image
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.sources.education.exams import ExamError, ExamQuestion, correct_options, load_image, problem_of
from step3vl.pipelines.sources.web.html import decode_html

_MAX_PAGE = 16 << 20  # bytes
_QUESTIONS = "//*[@data-question or contains(concat(' ', normalize-space(@class), ' '), ' question ')]"
_ITEMS = "//ol[not(ancestor::ol) and not(ancestor::ul)]/li"
_CORRECT = re.compile(r"(?:^|\s)(?:correct|right|is-answer)(?:\s|$)")
_LABEL = re.compile(r"^\s*(?:answer|solution|explanation|答案|解析|解答)\s*[:：]\s*", re.IGNORECASE)
_BLOCKS = frozenset({"p", "pre", "div", "br", "li", "tr", "ol", "ul", "table", "section"})
_UNREAD = frozenset({"script", "style"})
_SHIFTED = {"sup": "^", "sub": "_"}


def read_exam_page(path: Path, file: InputFile) -> Iterator[ExamQuestion]:
    """The questions of a page in order; one that cannot be read has a `problem`.

    Args:
        path: The page on this machine.
        file: What it was listed as; images lie beside it.
    """
    data = path.read_bytes()[:_MAX_PAGE]
    text = decode_html(data, None)
    if not text.strip():
        return
    tree = lxml.html.document_fromstring(text)
    for element in tree.xpath(_QUESTIONS) or tree.xpath(_ITEMS):
        try:
            yield _question(element, file)
        except (ValueError, FileNotFoundError) as error:
            yield ExamQuestion(text="", licence=file.licence, problem=problem_of(error))


def _question(element: lxml.html.HtmlElement, file: InputFile) -> ExamQuestion:
    images: list[Image] = []
    answer = (element.get("data-answer") or "").strip()
    solution = _taken(element, ("solution", "explanation", "analysis"), images, file)
    answer = answer or _taken(element, ("answer",), images, file)
    items = _option_elements(element)
    right = [i for i, item in enumerate(items) if _is_correct(item)]
    option_images: list[Image] = []
    options = [_read(item, option_images, file) for item in items]
    for item in items:
        parent = item.getparent()
        if parent is not None:
            parent.remove(item)
    # The stem's images are counted first, as a reader meets them.
    stem_images: list[Image] = []
    text = _read(element, stem_images, file)
    shift = len(stem_images)
    options = [re.sub(r"<image (\d+)>", lambda m: f"<image {int(m[1]) + shift}>", option) for option in options]
    if not text:
        raise ExamError("no_question")
    if options:
        correct = tuple(right) or correct_options(answer, tuple(options))
        answer = ""
    else:
        correct = ()
        if not answer:
            raise ExamError("no_answer")
    return ExamQuestion(
        text=text, options=tuple(options), correct=correct, answer=answer, solution=solution,
        images=(*stem_images, *option_images), level=element.get("data-level", ""),
        subject=element.get("data-subject", ""),
        licence=file.licence,
    )  # fmt: skip


def _taken(element: lxml.html.HtmlElement, names: tuple[str, ...], images: list[Image], file: InputFile) -> str:
    """The text of the first element of one of the classes, which is taken out of the question."""
    for name in names:
        matches = element.xpath(f".//*[contains(concat(' ', normalize-space(@class), ' '), ' {name} ')]")
        if matches:
            for summary in matches[0].xpath(".//summary"):
                summary.drop_tree()
            text = _LABEL.sub("", _read(matches[0], images, file))
            matches[0].drop_tree()
            return text
    return ""


def _option_elements(element: lxml.html.HtmlElement) -> list[lxml.html.HtmlElement]:
    lists = element.xpath(".//ol|.//ul")
    if lists:
        return list(lists[0].xpath("./li"))
    return [label for label in element.xpath(".//label") if label.xpath(".//input[@type='radio' or @type='checkbox']")]


def _is_correct(item: lxml.html.HtmlElement) -> bool:
    checked = item.xpath(".//input[@checked or @data-correct]")
    return bool(_CORRECT.search(item.get("class", "")) or item.get("data-correct") is not None or checked)


def _read(element: lxml.html.HtmlElement, images: list[Image], file: InputFile) -> str:
    """The text of an element with marks where its images stand."""
    lines = (" ".join(line.split()) for line in "".join(_pieces(element, images, file)).split("\n"))
    return "\n".join(line for line in lines if line)


def _pieces(
    element: lxml.html.HtmlElement, images: list[Image], file: InputFile, lines: bool = False
) -> Iterator[str]:
    """The texts inside of an element as a reader meets them.

    Args:
        element: Whose texts.
        images: To which those inside are added.
        file: Of the page.
        lines: Whether line breaks of texts count, as in `pre`.
    """
    lines = lines or element.tag == "pre"
    yield _spaced(element.text, lines)
    for node in element:
        tag = node.tag if isinstance(node.tag, str) else ""  # a comment has none
        if tag == "img":
            images.append(load_image(node.get("src", ""), file))
            yield f"<image {len(images)}>"
        elif tag == "math":
            yield _formula(node)
        elif tag in _SHIFTED:
            yield _shifted("".join(_pieces(node, images, file)).strip(), _SHIFTED[tag])
        elif tag and tag not in _UNREAD and node.get("aria-hidden") != "true":  # KaTeX hides what repeats its MathML
            around = "\n" if tag in _BLOCKS else " " if tag in ("td", "th") else ""
            yield around
            yield from _pieces(node, images, file, lines)
            yield around
        yield _spaced(node.tail, lines)


def _spaced(text: str | None, lines: bool) -> str:
    return text or "" if lines else (text or "").replace("\n", " ")


def _formula(math: lxml.html.HtmlElement) -> str:
    """The TeX of a formula in MathML. Raises ExamError without one: the symbols alone say something else."""
    source = next((node for node in math.iter("annotation") if "tex" in node.get("encoding", "").lower()), None)
    if source is None or not (source.text or "").strip():
        raise ExamError("formula_without_tex")
    return f"${source.text.strip()}$"


def _shifted(text: str, mark: str) -> str:
    """A raised or lowered text; ordinals such as `1st` stay as they are."""
    if not text or (mark == "^" and len(text) > 1 and text.isalpha()):
        return text
    return f"{mark}{text}" if len(text) == 1 else f"{mark}{{{text}}}"
