"""LiveBench's rules on answers as models write them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.evaluation.livebench import data_analysis, language, mathematics, reasoning
from step3vl.evaluation.livebench.marks import between, boxed, solutions
from step3vl.evaluation.livebench.tables import read_table, same_table

AMC = r"$\textbf{(A) }1 \qquad \textbf{(B) }\frac{1}{2} \qquad \textbf{(C) }3$"
REFORMAT = "Please convert the Input Table from CSV format to {} format. Please respond only with the table."


@pytest.mark.parametrize(
    ("rule", "truth", "response", "value"),
    [
        (data_analysis.cta, "case number", r"\boxed{\text{case_number}}", 0),  # the underscore is a word character
        (data_analysis.cta, "case number", "The class is: 'Case Number'.", 1),
        (data_analysis.cta, "id", "unclosed \\boxed{id", 0),
        (data_analysis.tablejoin, '{"a": "x", "b": "y"}', '<solution>{"a": "x", "c": "z"}</solution>', 0.5),
        (data_analysis.tablejoin, '{"a": "x", "b": "y"}', "```python\n{'a': 'x', 'b': None}\n```", 0.67),
        (data_analysis.tablejoin, '{"a": "x"}', "no mapping", 0),
        (reasoning.spatial, "4", "so **3** or rather **four**", 1),
        (reasoning.spatial, "triangle", "**equilateral triangle**", 1),
        (reasoning.spatial, "triangle", "**a circle, a square and a triangle**", 0),
        (reasoning.spatial, "4", r"\boxed{\text{4}}", 1),
        (reasoning.web_of_lies_v2, "yes, no, unknown", "**yes**, **no**, **unknown**", 1),
        (reasoning.web_of_lies_v2, "yes, no, yes", "I say yes, no, yes. Or no, no, no", 0),
        (reasoning.web_of_lies_v2, "yes, no, yes", "<solution>yes, no, yes</solution>", 1),
        (reasoning.zebra_puzzle, "cat,red,4", "<solution>cat, blue, 4</solution>", 1 / 3),
        (reasoning.zebra_puzzle, "cat,red,4", "the list:\ncat, red, position 4", 1),
        (reasoning.zebra_puzzle, "cat,red,4", "cat and red", 0),
        (reasoning.zebra_puzzle_2024, "four", "It is ***4***", 1),
        (mathematics.aime, "025", "so the answer is 025", 1),
        (mathematics.aime, "025", "025" + " and that was it" * 5, 0),
        (mathematics.olympiad, "1,2,3", "Answer: 1, 3, 2", 1 / 3),
        (mathematics.olympiad, "1,2,3", r"\boxed{1,2,3}", 1),
        (mathematics.olympiad, "1,2,3", "no numbers", 0),
        (language.connections, "a,b,c,d,e,f,g,h", "<solution>d, c, b, a, e, f, g, x</solution>", 0.5),
        (language.typos, "a corrected text", "<solution>Now a corrected text.</solution>", 1),
        (language.typos, "a corrected text", "a corrected\ntext", 1),
        (
            language.plot_unscrambling,
            "He wakes. He eats. He goes.",
            "<PLOT_SUMMARY>He wakes. He goes. He eats.",
            1 / 3,
        ),
    ],
)
def test_rules(rule, truth, response, value):
    assert rule(truth, response) == pytest.approx(value)


@pytest.mark.parametrize(
    ("response", "value"),
    [
        ("BBBBB", 1),
        (r"\boxed{\text{B}}", 1),
        (r"it is \frac{1}{2}", 1),
        ("(B) it is", 1),
        ("B", 1),
        ("C, not B", 0),
        ("", 0),
    ],
)
def test_contests_accept_a_letter_or_its_value(response, value):
    assert mathematics.contest("B", response, AMC) == value


@pytest.mark.parametrize(
    ("truth", "response", "value"),
    [
        (r"x^2+1", r"\boxed{1+x^2}", 1),
        (r"\frac{1}{2}", r"thus $y = \dfrac{2}{4}$", 1),
        (r"3", r"\boxed{4}", 0),
        (r"x+5", "in the end x+5.", 1),
    ],
)
def test_expressions_are_compared_by_value(truth, response, value):
    assert mathematics.amps_hard(truth, response) == value


@pytest.mark.parametrize(
    ("format", "truth", "response", "value"),
    [
        ("JSON", '{"0": {"a": 1, "b": "x"}}', 'Here is the table: ```json\n{"9": {"b": "x", "a": 1.0}}\n```', 1),
        ("JSONL", '{"a": 1}\n{"a": 2}', 'Sure!\n{"a": 1}\n{"a": 2}\nDone', 1),
        ("CSV", "a,b\n1,x\n", "Table:\na,b\n1,x\nI hope, this, helps", 1),
        ("TSV", "a\tb\n1\tx\n", "a\tb\n2\tx", 0),
        ("HTML", "<table><tr><th>a</th></tr><tr><td>1</td></tr></table>", "<table><tr><th>a<tr><td>1.0</table>", 1),
        (
            "Markdown",
            "| i | a |\n|--|--|\n| 1 | x |",
            "| i | a |\n|--|--|\n| 9 | x |",
            1,
        ),  # the first column is an index
    ],
)
def test_tables_are_compared_by_cells(format, truth, response, value):
    assert data_analysis.tablereformat(truth, response, REFORMAT.format(format)) == value


def test_a_column_with_a_text_holds_texts():
    numbers, mixed = (read_table("jsonl", f'{{"a": "{cell}"}}\n{{"a": "1.0"}}') for cell in ("2", "none so far"))
    assert same_table(numbers, read_table("jsonl", '{"a": 2}\n{"a": 1}'))
    assert not same_table(mixed, read_table("jsonl", '{"a": "none so far"}\n{"a": 1}'))


def test_marks_lie_within_a_line():
    assert between("<a>x</a> <a>y\n</a> <a>z</a>", "<a>", "</a>") == ["x", "z"]
    assert solutions("</solution>1</solution>") == ["1"]
    assert boxed(r"\boxed{a{b}} then \fbox{c}") == "a{b}"
    assert boxed(r"\boxed 5$") == "5"


RULES = [
    (data_analysis.cta, "id"), (data_analysis.tablejoin, '{"a": "b"}'), (reasoning.spatial, "4"),
    (reasoning.web_of_lies_v2, "yes, no, yes"), (reasoning.zebra_puzzle, "a,b"), (reasoning.zebra_puzzle_2024, "four"),
    (mathematics.aime, "025"), (mathematics.olympiad, "1,2,3"), (language.connections, "a,b,c,d"),
    (language.connections_2024, "a,b,c,d"), (language.typos, "text"), (language.plot_unscrambling, "a. b."),
]  # fmt: skip
PIECES = st.sampled_from(
    [
        "<solution>",
        "</solution>",
        "\\boxed{",
        "}",
        "**",
        "\n",
        ",",
        "1",
        "²",
        "answer:",
        "yes",
        "{",
        "'a'",
        "```",
        "$",
        "é",
    ]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join))
def test_no_response_makes_a_rule_raise(response):
    for rule, truth in RULES:
        assert 0 <= rule(truth, response) <= 1
    for format in ("JSON", "JSONL", "CSV", "TSV", "HTML", "Markdown"):
        assert data_analysis.tablereformat('{"0": {"a": 1}}', response, REFORMAT.format(format)) in (0, 1)
    assert mathematics.contest("B", response, AMC) in (0, 1)
