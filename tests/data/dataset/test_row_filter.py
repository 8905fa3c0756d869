"""Expressions over index rows: they have Python's meaning, and everything else is refused by name."""

import ast
import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.data.dataset.index import SCHEMA
from step3vl.data.dataset.row_filter import FILTER_COLUMNS, RowFilter
from step3vl.data.errors import UserError

TEXTS = ["", "a", "ocr.page", "ocr", "gui.click", "é", "it's", "zh"]
NUMBERS = ("text_tokens", "image_tokens", "tokens", "images", "longest_side", "shortest_side", "size")
COLUMNS = ("task", "source", "kind", "domain")


@st.composite
def index_rows(draw: st.DrawFn) -> pa.Table:
    rows = []
    for number in range(draw(st.integers(0, 8))):
        sides = draw(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=3))
        rows.append(
            {
                **{name: draw(st.sampled_from(TEXTS)) for name in ("domain", "task", "kind", "source", "licence")},
                "id": f"{number:032x}",
                "offset": 0,
                "xxh3": 0,
                "json_size": 1,
                "size": draw(st.integers(0, 2**40)),
                "text_tokens": draw(st.integers(0, 9)),
                "image_tokens": draw(st.integers(0, 9)),
                **{name: [0] * len(sides) for name in ("image_offsets", "image_sizes")},
                "image_widths": [width for width, _ in sides],
                "image_heights": [height for _, height in sides],
            }
        )
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def numbers() -> st.SearchStrategy[str]:
    leaves = st.one_of(st.sampled_from(NUMBERS), st.integers(-9, 12).map(str), st.sampled_from(["0.5", "1e3", "2.25"]))
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda part: f"({' '.join(part)})"),
            inner.map(lambda part: f"(-{part})"),
        ),
        max_leaves=4,
    )


def comparisons() -> st.SearchStrategy[str]:
    operators = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
    literals = st.sampled_from(TEXTS).map(repr)
    columns = st.sampled_from(COLUMNS)
    texts = st.one_of(columns, literals)
    members = st.sampled_from(["in", "not in"])

    def joined(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.tuples(*parts).map(" ".join)

    def listed(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.lists(values, max_size=3).map(lambda items: f"[{', '.join(items)}]")

    return st.one_of(
        joined(numbers(), operators, numbers()),
        joined(numbers(), operators, numbers(), operators, numbers()),
        joined(texts, operators, texts),
        joined(columns, members, listed(literals)),
        joined(st.sampled_from(NUMBERS), members, listed(st.integers(0, 9).map(str))),
        joined(literals, members, columns),
        st.tuples(columns, st.sampled_from(["startswith", "endswith"]), literals).map(
            lambda part: f"{part[0]}.{part[1]}({part[2]})"
        ),
    )


def conditions() -> st.SearchStrategy[str]:
    return st.recursive(
        comparisons(),
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda part: f"({' '.join(part)})"),
            inner.map(lambda part: f"(not {part})"),
        ),
        max_leaves=4,
    )


class FloatLiterals(ast.NodeTransformer):
    """Makes literals floats of numpy, so that they divide by zero, too."""

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if isinstance(node.value, str):
            return node
        return ast.Call(func=ast.Name("float64", ast.Load()), args=[node], keywords=[])


def in_python(expression: str, row: dict[str, Any]) -> bool:
    """Python's own answer; numbers are floats that divide by zero as Arrow's and numpy's do."""
    sides = [*zip(row["image_widths"], row["image_heights"], strict=True)]
    values = {
        "text_tokens": row["text_tokens"],
        "image_tokens": row["image_tokens"],
        "tokens": row["text_tokens"] + row["image_tokens"],
        "images": len(sides),
        "longest_side": max((max(pair) for pair in sides), default=0),
        "shortest_side": min((min(pair) for pair in sides), default=0),
        "size": row["size"],
    }
    names = {name: np.float64(value) for name, value in values.items()}
    tree = ast.fix_missing_locations(FloatLiterals().visit(ast.parse(expression, mode="eval")))
    code = compile(tree, "expression", "eval")
    with np.errstate(all="ignore"):
        return bool(eval(code, {"float64": np.float64}, {**row, **names}))


@given(index_rows(), conditions())
@settings(max_examples=150)
def test_expression_selects_what_python_would(rows: pa.Table, expression: str) -> None:
    selected = RowFilter(expression)
    expected = [in_python(expression, row) for row in rows.to_pylist()]
    needed = rows.select(selected.columns) if selected.columns else rows
    assert selected.keep(needed).tolist() == expected
    for batch in needed.to_batches():
        assert selected.keep(batch).tolist() == expected, "batches of an index give the same as tables"


REFUSED = {
    "language == 'zh'": rf"no column 'language'; the columns are {', '.join(FILTER_COLUMNS)}",
    "tokens < '4096'": "`tokens` is a number and `'4096'` a text",
    "task < 3": "`task` is a text and `3` a number",
    "tokens": "`tokens` is a number, and a condition is needed",
    "tokens and images": "`tokens` is a number, and a condition is needed",
    "not task": "`task` is a text, and a condition is needed",
    "task + 'a' == 'b'": "`task` is a text, and a number is needed",
    "'ocr' in tokens": "`tokens` is a number, and a text is needed",
    "task in (1, 2)": "`1` is a number, and a text is needed",
    "'a' in 'abc'": "a column of texts is needed",
    "3 in (3, 4)": "a column is needed before",
    "task in (source, 'a')": "must be literals",
    "source in task": "a literal text is needed before",
    "task.startswith(source)": "a literal text is needed in the parentheses",
    "task.upper() == 'A'": "is not part of these expressions",
    "__import__('os').system('true')": "is not part of these expressions",
    "task.__class__ == 'a'": "is not part of these expressions",
    "(lambda: True)()": "is not part of these expressions",
    "[tokens for tokens in (1,)] == 1": "is not part of these expressions",
    "tokens ** 9999999 > 1": "is not part of these expressions",
    "tokens is 3": "use == and !=",
    "tokens == True": "`True` is not part",
    "(tokens > 1) == (images > 1)": "two numbers or two texts",
    "tokens <": "invalid syntax at character",
    "tokens < 1; images > 2": "invalid syntax",
    "tokens < 1e999": "too large",
    f"tokens < 1{'0' * 400}": "too large",
    "": "empty",
    "  \n ": "empty",
    f"tokens < {'(' * 300}1{')' * 300}": "nested|parsed",
    f"{'-' * 9000}1 < tokens": "parsed",
    f"task == '{'a' * 20_000}'": "longer than 10,000",
}


@pytest.mark.parametrize("expression", REFUSED)
def test_anything_else_is_refused_by_name(expression: str) -> None:
    with pytest.raises(UserError, match=r"^the expression ") as refusal:
        RowFilter(expression)
    assert refusal.match(f"(?s){REFUSED[expression]}" if "no column" not in REFUSED[expression] else "no column")
    assert len(str(refusal.value)) < 600


def test_expression_may_have_lines_and_passes_between_processes() -> None:
    selected = pickle.loads(pickle.dumps(RowFilter("tokens > 1\n  and task == 'é'\n")))
    assert selected.columns == ["text_tokens", "image_tokens", "task"]
    rows = pa.table({"text_tokens": [1, 1], "image_tokens": [1, 0], "task": ["é", "é"]})
    assert selected.keep(rows).tolist() == [True, False]
