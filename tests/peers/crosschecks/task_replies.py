"""Items and replies for the scorers of single benchmarks, beside those of `replies`. All is of our making."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from crosschecks.replies import Reply
from step3vl.evaluation.item import Item

SHORT_FORMS = {
    "alone": "{A}",
    "full stop": "{A}.",
    "bold": "**{A}**",
    "boxed": r"\boxed{{{A}}}",
    "boxed after reasoning": "We look at both sides first.\n\nSo it is \\boxed{{{A}}}.",
    "boxed twice": r"First \boxed{{{W}}}, but in the end \boxed{{{A}}}.",
    "answer tags": "<answer>{A}</answer>",
    "JSON": '{{"solution": "We compare both sides.", "short answer": "{A}"}}',
    "JSON in a code block": '```json\n{{"solution": "We compare.", "short answer": "{A}"}}\n```',
    "the answer is": "The answer is {A}.",
    "the final answer is": "We compare both. The final answer is {A}.",
    "Final answer:": "Final answer: {A}",
    "last line": "We compare both sides.\n{A}",
    "no answer": "There is no way to know.",
    "empty": "",
}


def _filled(forms: Mapping[str, str], item: Item, answers: Iterable[str], wrong: str) -> Iterator[Reply]:
    for form, template in forms.items():
        for answer in answers:
            yield Reply(f"{item.id}, {form}", item, template.format(A=answer, W=wrong))


_DYNAMATH = (  # the kind of answer, the answer, ways to write it and near misses, something else
    ("multiple choice", "B", ("B", "C"), "D"),
    ("float", "3.142", ("3.142", "3.1416", "3.15", "4"), "2.5"),
    ("text", "even", ("even", "Even", "odd", "unevenly"), "neither"),
)


def dynamath_replies() -> Iterator[Reply]:
    """Replies to DynaMath's three kinds of questions."""
    for kind, answer, answers, wrong in _DYNAMATH:
        item = Item(kind, (), answer, fields={"answer_type": kind})
        yield from _filled(SHORT_FORMS, item, answers, wrong)


_MATHVISTA = (  # the type of the answer, its precision, the choices, the answer, answers, something else
    ("text", None, ["red", "green", "dark blue"], "green", ("B", "(B)", "green", "red", "greenish"), "C"),
    ("integer", None, [], "14", ("14", "15", "014"), "99"),
    ("float", 1, [], "0.6", ("0.6", "0.60", "0.58", "0.7"), "2.5"),
    ("list", None, [], "[1, 2]", ("[1, 2]", "[2, 1]", "[1,2]"), "[3]"),
)


def mathvista_replies() -> Iterator[Reply]:
    """Replies to MathVista's kinds of questions."""
    for kind, precision, choices, answer, answers, wrong in _MATHVISTA:
        fields = {"choices": choices, "answer_type": kind, "precision": precision}
        yield from _filled(SHORT_FORMS, Item(kind, (), answer, fields=fields), answers, wrong)


_MATHVISION = (
    ("option", ["12", "15", "18", "21", "24"], "C", ("C", "(C)", "18", "A"), "B"),
    ("number", [], "4.5", ("4.5", r"\frac{9}{2}", "4.501", "5.4"), "7"),
    ("expression", [], r"2\sqrt{3}", (r"2\sqrt{3}", r"2\sqrt3", r"3\sqrt{2}"), "7"),
    ("pair", [], "(1,2)", ("(1,2)", "(1, 2)", "(2,1)"), "7"),
)


def mathvision_replies() -> Iterator[Reply]:
    """Replies to MathVision's problems."""
    for name, options, answer, answers, wrong in _MATHVISION:
        option = options["ABCDE".index(answer)] if options else ""
        item = Item(name, (), answer, fields={"options": options, "option": option})
        yield from _filled(SHORT_FORMS, item, answers, wrong)


def logicvista_replies() -> Iterator[Reply]:
    """Replies to questions with one right letter, and with two."""
    for name, letters, answers, wrong in (
        ("one letter", ["b"], ("B", "C", "B, C"), "D"),
        ("two letters", ["a", "d"], ("A, D", "A and D", "A", "B, D"), "C"),
    ):
        yield from _filled(SHORT_FORMS, Item(name, (), letters, fields={"skills": []}), answers, wrong)


def extraction_replies() -> Iterator[Reply]:
    """Letters that a judge has extracted from an answer to LogicVista."""
    for name, letters in (("one letter", ["b"]), ("two letters", ["a", "d"])):
        for text in ("B", "AD", "DA", "BD", "ABCD", "Z"):
            item = Item(name, (), letters, fields={"skills": [], "extracted": list(text.lower().replace("z", ""))})
            yield Reply(f"{name}, {text}", item, text)


JUDGEMENTS = ("1", "0", " 1\n", "0.", "Judgement: 1", "yes", "10", "2", "")
"""What a judge may say where it is asked for 1 or 0."""


def judgement_replies() -> Iterator[Reply]:
    """Judgements; the response that is judged is not the answer itself."""
    for text in JUDGEMENTS:
        yield Reply(f"judgement {text!r}", Item("angle", (), "45", fields={"question": "Which angle?"}), text)


_GRADES = (
    '{"extracted_answer": "45", "score": 1}',
    '{"extracted_answer": "54", "score": 0}',
    '{"score": 1, "extracted_answer": "45"}\n',
    '```json\n{"extracted_answer": "45", "score": 1}\n```',
    'It is the same. {"extracted_answer": "45", "score": 1}',
    '{"extracted_answer": "45", "score": "1"}',
    '{"score": 1}',
    "1",
    "",
)


def grade_replies() -> Iterator[Reply]:
    """What a judge may say where it is asked for JSON with a score."""
    for text in _GRADES:
        yield Reply(f"grade {text!r}", Item("angle", (), "45", fields={"question": "Which angle?", "kind": 1}), text)


_LANGUAGES = (
    ("French", "Le chat ### dort\nsur le lit", ("le CHAT dort sur le lit", "chat lit chat", "", "*** le\tlit.")),
    ("Japanese", "今日は 晴れ", ("今日は晴れ", "今日 は 雨", "晴れ", "sunny")),
    ("Vietnamese", "Xin chào bạn", ("xin chào", "xin chao ban", "bạn bạn chào xin")),
)


def transcript_replies() -> Iterator[Reply]:
    """Transcripts of images in several languages, right in part."""
    for language, answer, texts in _LANGUAGES:
        for number, text in enumerate(texts):
            yield Reply(f"{language} {number}", Item(language, (), answer, category=language), text)


_PROMPT = 'def double(n):\n    """Twice the number."""\n'
_TEST = "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(-3) == -6\n"
_COMPLETIONS = {
    "body": "    return 2 * n\n",
    "wrong body": "    return n * n\n",
    "body with a text behind": "    return 2 * n\n\nThis doubles the number.\n",
    "another function behind": "    return twice(n)\n\ndef twice(n):\n    return n + n\n",
    "whole function": "def double(n):\n    return n + n\n",
    "whole function in a code block": "Here it is:\n```python\ndef double(n):\n    return n + n\n```\n",
    "body in a code block": "```python\n    return 2 * n\n```\n",
    "raises": "    return n.missing\n",
    "leaves before the tests": "    return 0\n\nimport sys\nsys.exit(0)\n",
    "empty": "",
}


def program_replies() -> Iterator[Reply]:
    """Completions of a function."""
    item = Item("double", (), None, fields={"prompt": _PROMPT, "test": _TEST, "entry_point": "double"})
    for form, text in _COMPLETIONS.items():
        yield Reply(form, item, text)


class _Task(NamedTuple):
    name: str
    truth: str
    texts: tuple[str, ...]
    question: str = ""
    subtask: str = ""


_AMC = r"What is it? $\textbf{(A) }1 \qquad \textbf{(B) }\frac{1}{2} \qquad \textbf{(C) }3$"
_REFORMAT = "Please convert the Input Table from CSV format to {} format. Please respond only with the table."
_TASKS = (
    _Task("cta", "case number", (r"\boxed{\text{case_number}}", "The class: 'Case Number'.", "id", r"\boxed{id", "")),
    _Task("tablejoin", '{"a": "x", "b": "y"}', (
        '{"a": "x", "b": "y"}', '<solution>{"a": "x", "c": "z"}</solution>', "```python\n{'a': 'x', 'b': None}\n```",
        '```json\n{"a": "y",\n"b": "x"}\n```', r"\boxed{\{\text{'a'}: \text{'x'}\}}", "no mapping", "",
    )),
    _Task("tablereformat", '{"0": {"a": 1, "b": "x"}}', (
        '```json\n{"9": {"b": "x", "a": 1.0}}\n```', '{"0": {"a": 2, "b": "x"}}', '[{"a": 1, "b": "x"}]', "none", "",
    ), _REFORMAT.format("JSON")),
    _Task("tablereformat", "a,b\n1,x\n2,y\n", (
        "Table:\na,b\n1,x\n2,y\nI hope, this, helps", "a,b\n1,x\n2,y", "b,a\nx,1\ny,2", "a,b\n1,x", "a;b", "",
    ), _REFORMAT.format("CSV")),
    _Task("spatial", "4", ("**4**", "so **3** or rather **four**", "**1** **2** **3** **4**", r"\boxed{4}", "4", "5")),
    _Task("spatial", "triangle", ("**equilateral triangle**", "**a circle, a square and a triangle**", "**square**")),
    _Task("web_of_lies_v2", "yes, no, yes", (
        "**yes, no, yes**", "**yes**, **no**, **yes**", "**no, no, yes**", "<solution>yes, no, yes</solution>",
        r"\boxed{\text{yes, no, yes}}", "I say yes, no, yes. Or no, no, no", "yes and no", "",
    )),
    _Task("zebra_puzzle", "cat,red,4", (
        "<solution>cat, red, 4</solution>", "<solution>cat, blue, 4</solution>", r"\boxed{cat, red, 4}",
        "<solution>dog</solution> <solution>cat, red, 5</solution>", "cat, red, 4", "cat and red", "",
    )),
    _Task("connections", "a,b,c,d,e,f,g,h", (
        "<solution>d, c, b, a, e, f, g, h</solution>", "<solution>d, c, b, a, e, f, g, x</solution>",
        r"\boxed{a, b, c, d, e, f, g, h}", "<solution>a, b, c, e, d, f, g, h</solution>", "a, b, c, d", "",
    )),
    _Task("typos", "a corrected text", (
        "<solution>Now a corrected text.</solution>", "a corrected\ntext", "It is --- a corrected text --- now.",
        "a corected text", "",
    )),
    _Task("plot_unscrambling", "He wakes. He eats. He goes.", (
        "<PLOT_SUMMARY>He wakes. He goes. He eats.</PLOT_SUMMARY>", "He wakes. He eats. He goes.",
        "<PLOT_SUMMARY>He goes. He eats.", "nothing",
    )),
    _Task("math_comp", "B", (
        "BBBBB", r"\boxed{\text{B}}", r"\boxed{C}", r"it is \frac{1}{2}", "so\n(B) it is", "**B**", "CCCC", "",
    ), _AMC, "amc_12b"),
    _Task("math_comp", "025", ("so the answer is 025", "025" + " and that was it" * 5, "25", ""), "", "aime_2024"),
    _Task("olympiad", "1,2,3", (
        "Answer: 1, 2, 3", "Answer: 1, 3, 2", r"\boxed{1,2,3}", "**Answer:** 1, 2", "no numbers", "3, 2, 1",
    ), "", "imo_2024"),
)  # fmt: skip


def livebench_replies() -> Iterator[Reply]:
    """Replies to tasks of LiveBench that have an answer."""
    for task in _TASKS:
        fields = {"task": task.name, "subtask": task.subtask, "question": task.question, "released": "2024-11-25"}
        for number, text in enumerate(task.texts):
            form = f"{task.subtask or task.name} {task.truth[:9]!r} {number}"
            yield Reply(form, Item(task.name, (), task.truth, category="task", fields=fields), text)
