"""Items and replies that scorers are compared on. Everything here is of our making.

A form is how an answer is written. Each is filled with the right answer and with a wrong one; a form that holds no
answer gives the same reply twice.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from step3vl.evaluation.item import Item

LETTERS = "ABCDEFGHIJ"


class Reply(NamedTuple):
    """A reply to an item.

    Args:
        form: How the answer is written.
        item: What is asked.
        text: The reply.
    """

    form: str
    item: Item
    text: str


class AsksJudge(BaseException):
    """Raised in the place of a judge that a peer would ask; no exception that the peer would catch."""


def graded(value: float) -> str:
    """The code of a verdict that is right in part; "1" and "0" are whole."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


OPTION_FORMS = {
    "letter": "{L}",
    "letter, full stop": "{L}.",
    "letter in brackets": "({L})",
    "small letter": "{l}",
    "letter and text": "{L}. {T}",
    "letter in brackets and text": "({L}) {T}",
    "letter, colon and text": "{L}: {T}",
    "bold": "**{L}**",
    "boxed": r"\boxed{{{L}}}",
    "boxed after reasoning": "Two of them are far away, so they cannot be meant.\n\n\\boxed{{{L}}}",
    "boxed as text": r"\boxed{{\text{{{L}}}}}",
    "Final answer:": "Final answer: {L}",
    "Answer:": "Answer: {L}",
    "Answer: with brackets": "Nothing else fits.\nAnswer: ({L})",
    "the answer is": "The answer is {L}.",
    "the answer is, brackets": "The answer is ({L}).",
    "the answer is, bold": "The answer is **{L}**.",
    "the correct option is": "The correct option is {L}.",
    "option is correct": "Option {L} is correct.",
    "answer tags": "<answer>{L}</answer>",
    "JSON": '{{"answer": "{L}"}}',
    "backticks": "``{L}``",
    "text": "{T}",
    "text in a sentence": "It must be {T}, since it is near.",
    "answer at the end of reasoning": "First we look at the left side. Then we compare both. So the answer is {L}.",
    "letter before reasons": "{L}. Nothing else that can be seen here fits the question, since it is too far from it.",
    "another one excluded": "It cannot be {M}, so it is {L}.",
    "options repeated": "A. {A}\nB. {B}\nC. {C}\nD. {D}\nThe answer is {L}.",
    "changed its mind": "The answer is {M}. No, wait: the answer is {L}.",
    "two letters": "{M} or {L}",
    "begins with an article": "A closer look at it shows that the answer is {L}.",
    "in Chinese": "答案是{L}。",
    "no answer": "There is no way to know.",
    "refusal": "I cannot determine this from the image.",
    "letter of no option": "Z",
    "empty": "",
}
_OPTION_ITEMS = (
    ("words", ("the dog", "two cats", "some horse", "no bird"), "B", "C"),
    ("numbers", ("12", "15", "18", "21"), "C", "A"),
    ("first", ("red", "green", "blue", "white"), "A", "D"),
)


def option_replies(count: int = 4) -> Iterator[Reply]:
    """Replies to questions of choice.

    Args:
        count: Of options; beyond four they are short texts.
    """
    more = ("grey", "pink", "brown", "gold", "teal", "navy")[: count - 4]
    for form, template in OPTION_FORMS.items():
        for name, options, answer, wrong in _OPTION_ITEMS:
            texts = dict(zip(LETTERS, (*options, *more), strict=False))
            item = Item(name, (), answer, fields={"options": [*options, *more], "yes_no": False})
            for letter, other in ((answer, wrong), (wrong, answer)):
                filled = {"L": letter, "l": letter.lower(), "T": texts[letter], "M": other, **texts}
                yield Reply(form, item, template.format(**filled))


YES_NO_FORMS = {
    "word": "{W}",
    "word, full stop": "{W}.",
    "small letters": "{w}",
    "word and reason": "{W}, the line on the left is as long as the other.",
    "bold": "**{W}**",
    "boxed": r"\boxed{{{W}}}",
    "answer at the end": "Both look alike to me. So the answer is {w}.",
    "both": "{V} or {w}?",
    "changed its mind": "{V}. Wait: {W}.",
    "in another word": "I have no notion of yesterday.",
    "double negation": "No doubt about it: {w}.",
    "empty": "",
}


def yes_no_replies() -> Iterator[Reply]:
    """Replies to questions of yes or no."""
    for form, template in YES_NO_FORMS.items():
        for answer, other in (("Yes", "No"), ("No", "Yes")):
            item = Item(answer, (), answer[0])
            for word, opposite in ((answer, other), (other, answer)):
                yield Reply(form, item, template.format(W=word, w=word.lower(), V=opposite))


COUNT_FORMS = {
    "digits": "{N}",
    "digits, full stop": "{N}.",
    "blanks around": " {N}\n",
    "word": "{word}",
    "word with a capital": "{Word}",
    "sentence": "There are {N} apples.",
    "sentence with a word": "There are {word} apples.",
    "boxed": r"\boxed{{{N}}}",
    "bold": "**{N}**",
    "Final answer:": "I count again to be sure. Final answer: {N}",
    "longer number": "1{N}",
    "number in front": "In 99 rows there are {N} of them. Final answer: {N}",
    "decimal": "{N}.0",
    "range": "{N} to {M}",
    "no number": "There are some.",
    "empty": "",
}


def count_replies() -> Iterator[Reply]:
    """Replies to questions of how many there are."""
    words = {3: "three", 5: "five", 7: "seven", 10: "ten"}
    for form, template in COUNT_FORMS.items():
        for answer, wrong in ((3, 5), (10, 7)):
            item = Item(str(answer), (), answer)
            for number, other in ((answer, wrong), (wrong, answer)):
                word = words[number]
                yield Reply(form, item, template.format(N=number, M=other, word=word, Word=word.capitalize()))


EXACT_FORMS = {
    "alone": "{N}",
    "full stop": "{N}.",
    "small letters": "{n}",
    "quoted": '"{N}"',
    "boxed": r"\boxed{{{N}}}",
    "boxed after reasoning": "We add both.\n\\boxed{{{N}}}",
    "sentence": "The sign says {N} on it.",
    "Final answer:": "Final answer: {N}",
    "more behind it": "{N} or so",
    "empty": "",
}


def exact_replies() -> Iterator[Reply]:
    """Replies to questions whose answer is one short text."""
    for form, template in EXACT_FORMS.items():
        for answer, wrong in (("42", "24"), ("Main Street", "High Street"), ("1,234", "1,243"), ("3.5", "5.3")):
            for text in (answer, wrong):
                yield Reply(form, Item(answer, (), answer), template.format(N=text, n=text.lower()))


NUMBER_FORMS = {
    "alone": "{N}",
    "full stop": "{N}.",
    "####": "She has 3 and buys more.\n#### {N}",
    "The answer is": "3 + 4 = 7, and so on. The answer is {N}.",
    "boxed": "Adding up gives $\\boxed{{{N}}}$.",
    "dollars": "She pays ${N}.",
    "unit": "That is {N} apples.",
    "bold": "The total is **{N}**.",
    "decimals": "The answer is {N}.00.",
    "equation": "12 - 5 = {N}",
    "grouped": "The answer is {G}.",
    "other number behind": "The answer is {N}. She had 99 before.",
    "no number": "Nobody knows.",
    "empty": "",
}


def number_replies(answers: tuple[tuple[int, int], ...] = ((18, 81), (70000, 7000))) -> Iterator[Reply]:
    """Replies to word problems whose answer is an integer."""
    for form, template in NUMBER_FORMS.items():
        for answer, wrong in answers:
            for number in (answer, wrong):
                yield Reply(form, Item(str(answer), (), str(answer)), template.format(N=number, G=f"{number:,}"))


TEXT_FORMS = {
    "alone": "{T}",
    "small letters": "{lower}",
    "capitals": "{upper}",
    "in a sentence": "The sign says {T} in red.",
    "line break for a blank": "{broken}",
    "two blanks": "{wide}",
    "no blanks": "{narrow}",
    "full stop": "{T}.",
    "cut off": "{cut}",
    "other text": "nothing of the kind",
    "empty": "",
}


def ocr_replies() -> Iterator[Reply]:
    """Replies to questions for a text in an image, and for a formula."""
    for form, template in TEXT_FORMS.items():
        for name, dataset, answers in (
            ("text", "IIIT5K", ["Hello World", "Hello"]),
            ("address", "FUNSD", ["12 Elm Road"]),
            ("formula", "HME100k", ["x ^ { 2 } + Y = 1"]),
        ):
            text = answers[0]
            item = Item(name, (), answers, fields={"dataset": dataset})
            filled = {
                "T": text, "lower": text.lower(), "upper": text.upper(), "broken": text.replace(" ", "\n"),
                "wide": text.replace(" ", "  "), "narrow": text.replace(" ", ""), "cut": text[2:],
            }  # fmt: skip
            yield Reply(form, item, template.format(**filled))


POINT_FORMS = {
    "JSON": '{{"point_2d": [{x}, {y}]}}',
    "JSON in a code block": '```json\n{{"point_2d": [{x}, {y}]}}\n```',
    "list": "[{x}, {y}]",
    "pair": "({x}, {y})",
    "box": '{{"bbox_2d": [{x1}, {y1}, {x2}, {y2}]}}',
    "fractions": "({u}, {v})",
    "in a sentence": "It is at ({x}, {y}), near the border.",
    "after other numbers": 'Of the 3 buttons in row 2, {{"point_2d": [{x}, {y}]}}',
    "numbers without brackets": "{x} {y}",
    "no point": "I see no such button.",
    "empty": "",
}
_BOXES = (  # name, width, height, and a box as x, y, width, height, in pixels
    ("square", 1000, 1000, (300, 400, 100, 50)),
    ("wide", 2000, 500, (900, 200, 300, 100)),
    ("near the corner", 1000, 1000, (20, 30, 200, 90)),
)


def point_replies() -> Iterator[Reply]:
    """Replies to instructions about a screen: points in 0..1000, as the prompt asks for them."""
    for form, template in POINT_FORMS.items():
        for name, width, height, (left, top, wide, high) in _BOXES:
            corners = [left / width, top / height, (left + wide) / width, (top + high) / height]
            fields = {"size": [width, height], "pixels": [left, top, wide, high], "kind": "text"}
            item = Item(name, (), corners, fields=fields)
            for shift in (0, 250):
                x, y = (round(1000 * (corners[n] + corners[n + 2]) / 2) + shift for n in (0, 1))
                edges = {"x1": x - 5, "y1": y - 5, "x2": x + 5, "y2": y + 5}
                yield Reply(form, item, template.format(x=x, y=y, u=x / 1000, v=y / 1000, **edges))


EXPRESSIONS = (  # an expression, and replies that are equal to it or not
    ("fraction", r"\frac{3}{4}", (r"$\frac{3}{4}$", "0.75", r"\dfrac34", r"$\frac{6}{8}$", r"$\frac{4}{3}$", "3:4")),
    ("root", r"2\sqrt{3}", (r"$2\sqrt{3}$", r"$\sqrt{12}$", r"$3\sqrt{2}$", r"$\frac{6}{\sqrt3}$")),
    ("interval", "[1, 2)", (r"$[1, 2)$", r"$[1,2)$", r"$[1, 2]$", r"$(1, 2)$", r"$1 \le x < 2$")),
    ("pair", "(2, -3)", (r"$(2, -3)$", r"$(-3, 2)$", r"$x=2, y=-3$", r"$\left(2,-3\right)$")),
    ("set", r"\{1, 2\}", (r"$\{1, 2\}$", r"$\{2, 1\}$", r"$1, 2$", r"$\{1\}$")),
    ("polynomial", "x^2 - 1", (r"$x^2-1$", r"$(x-1)(x+1)$", r"$-1 + x^2$", r"$x^2+1$")),
    ("equation", "y = 2x + 1", (r"$y=2x+1$", r"$y = 1 + 2x$", r"$2x+1$", r"$y=2x-1$")),
    ("percent", r"50\%", (r"$50\%$", r"$50$", r"$0.5$", r"$5\%$")),
    ("angle", r"45^\circ", (r"$45^\circ$", "$45$", r"$45^{\circ}$", r"$54^\circ$")),
    ("large", "1000000", ("$1000000$", r"$1{,}000{,}000$", "1,000,000", "$10^6$", "$10^5$")),
    ("negative", "-7", ("$-7$", "$7$", r"$-\frac{14}{2}$")),
    ("matrix", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", (
        r"$\begin{pmatrix}1&2\\3&4\end{pmatrix}$", r"$\begin{bmatrix}1&2\\3&4\end{bmatrix}$",
        r"$\begin{pmatrix}1&2\\4&3\end{pmatrix}$",
    )),
    ("trigonometry", r"\sin^2 x + \cos^2 x", (r"$1$", r"$\sin^2 x+\cos^2 x$", r"$\sin x$")),
    ("pi", r"\frac{\pi}{6}", (r"$\pi/6$", r"$\frac{1}{6}\pi$", r"$30^\circ$", r"$\frac{\pi}{3}$")),
    ("text", r"\text{even}", (r"$\text{even}$", "even", r"$\text{odd}$")),
)  # fmt: skip


def expression_replies() -> Iterator[Reply]:
    """Boxed expressions, equal to the answer or not."""
    for name, answer, texts in EXPRESSIONS:
        for number, text in enumerate(texts):
            boxed = "\\boxed{" + text.strip("$") + "}"
            yield Reply(f"{name} {number}", Item(name, (), answer), f"We get ${boxed}$.")


INSTRUCTIONS: tuple[tuple[str, dict[str, Any], tuple[str, ...]], ...] = (
    ("punctuation:no_comma", {}, ("One, two.", "One and two.", "")),
    ("length_constraints:number_words", {"relation": "at least", "num_words": 4}, ("a b c d", "a b c", "it's a b c")),
    ("length_constraints:number_words", {"relation": "less than", "num_words": 4}, ("a b c d", "a b c", "a-b c d")),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, ("a\n***\nb", "a\n\nb", "a***b***", "a *** b\n")),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
     ("a\n\nThen b", "a\n\n'then' b", "a\n\nThe b", "Then\n\nb")),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, ("[a] and [b]", "[a] b", "[[a] b]", "[] []")),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, ("a\nP.S. b", "a p.s. b", "a PS b", "a p. s. b")),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, ("a\nP.P.S b", "a p. p. s b", "a P.S. b")),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2},
     ("* a\n* b", "- a\n- b", "* a\n** b", "* a\n* b\n* c")),
    ("detectable_format:constrained_response", {}, ("My answer is yes.", "my answer is no.", "My answer is maybe.")),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2},
     ("*a* and *b*", "**a** *b*", "*a*", "**a** **b**", "* a * *b")),
    ("detectable_format:multiple_sections", {"section_spliter": "SECTION", "num_sections": 2},
     ("SECTION 1\na\nSECTION 2\nb", "Section 1\na", "SECTION 1 SECTION 2 SECTION 3")),
    ("detectable_format:json_format", {}, ('{"a": 1}', '```json\n{"a": 1}\n```', "```\n[1]\n```", "{a: 1}", "3")),
    ("detectable_format:title", {}, ("<<Sea>>\nblue", "<Sea>", "<<>>", "<< >> blue", "<<a\nb>>")),
    ("keywords:existence", {"keywords": ["sea", "blue"]}, ("The Sea is blue.", "The seaside is blue.", "The sea.")),
    ("keywords:frequency", {"keyword": "sea", "frequency": 2, "relation": "at least"},
     ("sea Sea", "seaside", "sea", "seasea")),
    ("keywords:forbidden_words", {"forbidden_words": ["sea"]}, ("The Sea.", "The seaside.", "blue")),
    ("keywords:letter_frequency", {"letter": "e", "let_frequency": 2, "let_relation": "at least"},
     ("Eel", "sea", "E e e", "none")),
    ("combination:two_responses", {}, ("a\n******\nb", "a******a", "a ****** b ****** c", "******a******b")),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."},
     ("Say it. Done.", "say it.\nDone", "Done. Say it.")),
    ("startend:end_checker", {"end_phrase": "The end."}, ("a The end.", "a the END.\n", '"a The end."', "The end. a")),
    ("startend:quotation", {}, ('"a"', ' "a b" ', '"a', "'a'", '"')),
    ("change_case:english_capital", {}, ("THIS IS LOUD AND CLEAR TO ALL.", "This is loud.", "ABC 1")),
    ("change_case:english_lowercase", {}, ("this is quiet and clear to all.", "This is loud.", "abc 1")),
    ("language:response_language", {"language": "de"}, ("Das Haus steht am Ende der Straße.", "The house is there.")),
)  # fmt: skip


def instruction_replies() -> Iterator[Reply]:
    """Replies to instructions that a program checks."""
    for number, (name, arguments, texts) in enumerate(INSTRUCTIONS):
        item = Item(f"{number}", (), None, fields={"instruction_id_list": [name], "kwargs": [arguments]})
        for index, text in enumerate(texts):
            yield Reply(f"{name.partition(':')[2]} {number}.{index}", item, text)
