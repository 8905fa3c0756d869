"""Samples selected by an expression over their index rows, such as `tokens < 4096 and task.startswith('ocr.')`.

The grammar is a small part of Python's, with Python's meaning. `ast` parses an expression, its names and types are
checked before a row is read, and Arrow and numpy compute it for all rows at once; nothing is executed.

    expression: `and`, `or`, `not` of comparisons
    comparison: `==`, `!=`, `<`, `<=`, `>`, `>=` of numbers or of texts, also in chains: `1 <= images < 5`
                `COLUMN in (VALUE, ...)`, `'TEXT' in COLUMN`, `COLUMN.startswith('TEXT')`, `COLUMN.endswith('TEXT')`
    number:     a column, a literal, or `+`, `-`, `*`, `/` of numbers, all as 64-bit floats, exact up to 2**53
"""

import ast
import operator
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from step3vl.data.errors import UserError

Rows: TypeAlias = pa.Table | pa.RecordBatch
Kind = Literal["number", "text", "condition"]

_MAX_LENGTH = 10_000  # characters; a list of thousands of names belongs into a dataset of its own
_TEXTS = ("id", "domain", "task", "kind", "source", "licence")
_COMPARISONS: dict[type[ast.cmpop], tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]] = {
    ast.Eq: (operator.eq, pc.equal),
    ast.NotEq: (operator.ne, pc.not_equal),
    ast.Lt: (operator.lt, pc.less),
    ast.LtE: (operator.le, pc.less_equal),
    ast.Gt: (operator.gt, pc.greater),
    ast.GtE: (operator.ge, pc.greater_equal),
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: np.divide,
}
_METHODS = {"startswith": pc.starts_with, "endswith": pc.ends_with}


def _number(rows: Rows, name: str) -> np.ndarray:
    return _floats(rows[name])


def _images(rows: Rows) -> np.ndarray:
    return _floats(pc.list_value_length(rows["image_widths"]))


def _floats(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    values: np.ndarray = column.to_numpy(zero_copy_only=False)
    return values.astype(np.float64)


def _sides(rows: Rows, larger: bool) -> np.ndarray:
    """The longest or shortest side of any image of each row, 0 without images."""
    lists = [rows[name] for name in ("image_widths", "image_heights")]
    lists = [part.combine_chunks() if isinstance(part, pa.ChunkedArray) else part for part in lists]
    counts = pc.list_value_length(lists[0]).to_numpy(zero_copy_only=False)
    widths, heights = (pc.list_flatten(part).to_numpy(zero_copy_only=False) for part in lists)
    result = np.zeros(len(counts), np.float64)
    filled = counts > 0
    if filled.any():
        starts = (np.cumsum(counts) - counts)[filled]
        result[filled] = (
            np.maximum.reduceat(np.maximum(widths, heights), starts)
            if larger
            else np.minimum.reduceat(np.minimum(widths, heights), starts)
        )
    return result


_NUMBERS: dict[str, tuple[tuple[str, ...], Callable[[Rows], np.ndarray]]] = {
    "text_tokens": (("text_tokens",), lambda rows: _number(rows, "text_tokens")),
    "image_tokens": (("image_tokens",), lambda rows: _number(rows, "image_tokens")),
    "tokens": (
        ("text_tokens", "image_tokens"),
        lambda rows: _number(rows, "text_tokens") + _number(rows, "image_tokens"),
    ),
    "images": (("image_widths",), _images),
    "longest_side": (("image_widths", "image_heights"), lambda rows: _sides(rows, larger=True)),
    "shortest_side": (("image_widths", "image_heights"), lambda rows: _sides(rows, larger=False)),
    "size": (("size",), lambda rows: _number(rows, "size")),
}
FILTER_COLUMNS = (*_TEXTS, *_NUMBERS)
"""The names that an expression can use: columns of the index, and `tokens`, `images` and sides computed from them."""


class _Term(NamedTuple):
    """A part of an expression. `constant` is its value where that is a literal, and else None."""

    kind: Kind
    compute: Callable[[Rows], Any]
    constant: float | str | None = None


class RowFilter:
    """Which index rows an expression selects.

    Args:
        expression: See the module.

    Raises:
        UserError: It is no such expression; the message says which part, and names the columns where one is unknown.
    """

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self._needed: dict[str, None] = {}
        self._term = self._parse(" ".join(expression.splitlines()).strip())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.expression,)

    @property
    def columns(self) -> list[str]:
        """The columns of the index that `keep` reads."""
        return list(self._needed)

    def keep(self, rows: Rows) -> np.ndarray:
        """Which rows of an index are selected, bool [rows].

        Args:
            rows: With the columns of `columns`.
        """
        with np.errstate(all="ignore"):  # x / 0 is infinite or no number, which compares as unequal
            return np.array(np.broadcast_to(self._term.compute(rows), len(rows)), bool)

    def _parse(self, text: str) -> _Term:
        if not text or len(text) > _MAX_LENGTH:
            raise self._error("it is empty" if not text else f"it is longer than {_MAX_LENGTH:,} characters")
        try:
            term = self._term_of(ast.parse(text, mode="eval").body)
        except SyntaxError as error:
            raise self._error(f"{error.msg} at character {error.offset}") from None
        except (RecursionError, MemoryError, ValueError) as error:
            raise self._error(f"it cannot be parsed ({type(error).__name__})") from None
        return self._of_kind(term, "condition", text)

    def _error(self, reason: str) -> UserError:
        text = self.expression if len(self.expression) <= 200 else f"{self.expression[:197]}..."
        return UserError(f"the expression {text!r}: {reason}")

    def _of_kind(self, term: _Term, kind: Kind, source: str) -> _Term:
        if term.kind != kind:
            raise self._error(f"`{source}` is a {term.kind}, and a {kind} is needed there")
        return term

    def _typed(self, node: ast.expr, kind: Kind) -> _Term:
        return self._of_kind(self._term_of(node), kind, ast.unparse(node))

    def _term_of(self, node: ast.expr) -> _Term:
        match node:
            case ast.Name(id=name):
                return self._column(name)
            case ast.Constant(value=str() as value):
                return _Term("text", lambda rows: value, value)
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return self._literal(value)
            case ast.BoolOp(op=op, values=values):
                terms = [self._typed(value, "condition") for value in values]
                combine = np.logical_and if isinstance(op, ast.And) else np.logical_or
                return _Term("condition", lambda rows: reduce(combine, [term.compute(rows) for term in terms]))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                condition = self._typed(operand, "condition")
                return _Term("condition", lambda rows: np.logical_not(condition.compute(rows)))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                number = self._typed(operand, "number")
                return _Term("number", lambda rows: -number.compute(rows), _negated(number.constant))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                first, second = self._typed(left, "number"), self._typed(right, "number")
                calculate = _ARITHMETIC[type(op)]
                return _Term("number", lambda rows: calculate(first.compute(rows), second.compute(rows)))
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                sides = [left, *comparators]
                parts = [self._comparison(*part) for part in zip(sides, ops, sides[1:], strict=False)]
                return _Term("condition", lambda rows: reduce(np.logical_and, [part(rows) for part in parts]))
            case ast.Call(func=ast.Attribute(value=value, attr=name), args=[argument], keywords=[]) if (
                name in _METHODS
            ):
                text, pattern = self._column_of(value), self._typed(argument, "text").constant
                if pattern is None:
                    raise self._error(f"`{ast.unparse(node)}`: a literal text is needed in the parentheses")
                method = _METHODS[name]
                return _Term("condition", lambda rows: _bools(method(text.compute(rows), pattern=pattern)))
        raise self._error(f"`{ast.unparse(node)}` is not part of these expressions; see docs/how-to/plan-a-mixture.md")

    def _literal(self, value: float) -> _Term:
        try:
            number = np.float64(value)
        except OverflowError:
            number = np.float64("inf")
        if not np.isfinite(number):
            raise self._error("a number in it is too large")
        return _Term("number", lambda rows: number, float(number))

    def _column(self, name: str) -> _Term:
        if name in _TEXTS:
            self._needed[name] = None
            return _Term("text", lambda rows: rows[name])
        if name in _NUMBERS:
            needed, compute = _NUMBERS[name]
            self._needed.update(dict.fromkeys(needed))
            return _Term("number", compute)
        raise self._error(f"there is no column {name!r}; the columns are {', '.join(FILTER_COLUMNS)}")

    def _column_of(self, node: ast.expr) -> _Term:
        """A column of texts. Raises UserError."""
        term = self._typed(node, "text")
        if term.constant is not None:
            raise self._error(f"`{ast.unparse(node)}`: a column of texts is needed there ({', '.join(_TEXTS)})")
        return term

    def _comparison(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Callable[[Rows], Any]:
        if isinstance(op, ast.In | ast.NotIn):
            inside = self._membership(left, right)
            return inside if isinstance(op, ast.In) else lambda rows: np.logical_not(inside(rows))
        if type(op) not in _COMPARISONS:
            raise self._error("`is` is not part of these expressions: use == and !=")
        first, second = self._term_of(left), self._term_of(right)
        if first.kind != second.kind or first.kind == "condition":
            raise self._error(
                f"`{ast.unparse(left)}` is a {first.kind} and `{ast.unparse(right)}` a {second.kind}: two numbers or "
                "two texts can be compared"
            )
        plain, arrow = _COMPARISONS[type(op)]
        if first.kind == "number" or None not in (first.constant, second.constant):
            return lambda rows: plain(first.compute(rows), second.compute(rows))
        return lambda rows: _bools(arrow(first.compute(rows), second.compute(rows)))

    def _membership(self, left: ast.expr, right: ast.expr) -> Callable[[Rows], Any]:
        if not isinstance(right, ast.Tuple | ast.List | ast.Set):
            pattern, column = self._typed(left, "text").constant, self._column_of(right)
            if pattern is None:
                raise self._error(f"`{ast.unparse(left)}`: a literal text is needed before `in {ast.unparse(right)}`")
            return lambda rows: _bools(pc.match_substring(column.compute(rows), pattern=pattern))
        term = self._term_of(left)
        if term.kind == "condition" or term.constant is not None:
            raise self._error(f"`{ast.unparse(left)}`: a column is needed before `in (...)`")
        values = self._constants(right.elts, term.kind)
        if term.kind == "number":
            return lambda rows: np.isin(term.compute(rows), values)
        value_set = pa.array(values, pa.string())
        return lambda rows: _bools(pc.is_in(term.compute(rows), value_set=value_set))

    def _constants(self, nodes: Sequence[ast.expr], kind: Kind) -> list[Any]:
        values = [self._typed(node, kind).constant for node in nodes]
        if None in values:
            raise self._error("the values after `in` must be literals")
        return values


def _negated(value: float | str | None) -> float | None:
    return -value if isinstance(value, float) else None


def _bools(array: pa.Array | pa.ChunkedArray) -> np.ndarray:
    values: np.ndarray = array.to_numpy(zero_copy_only=False)
    return values.astype(bool)
