"""Questions about tables and charts, answered in Decimal and once more by SQL.

The two ways share nothing but the parsed table, whose text is its own proof (`sources.data_tables`). A question whose
answers differ is a failed record.
"""

import random
import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

from step3vl.pipelines.domains.vqa_questions.distractors import near_counts, near_numbers, shuffled
from step3vl.pipelines.domains.vqa_questions.frames import ABSENT
from step3vl.pipelines.domains.vqa_questions.sql import TableSql
from step3vl.pipelines.domains.vqa_questions.turns import Draft, Form, Language, quoted
from step3vl.pipelines.sources.tables.data_tables import DataTable, format_decimal

_MAX_SUMMED = 7  # numbers that one can add up in one's head
_MAX_COUNTED = 40
_GENERIC = frozenset({"%", "value", "values", "amount", "number", "count", "数值", "值"})


class TableQuestions:
    """Asks about one table.

    Args:
        table: With at least one column of numbers.
        language: Of the questions.
        step: Values are multiples of it; empty where they are written in the image.
        outside: Labels of other tables, for questions that the image cannot answer.
        rng: Chooses what is asked.
    """

    def __init__(
        self, table: DataTable, language: Language, step: str, outside: tuple[str, ...], rng: random.Random
    ) -> None:
        self._table, self._language, self._step, self._rng = table, language, step, rng
        self._columns = [index for index in range(len(table.series)) if table.column(index) is not None]
        self._outside = outside
        self._sql = TableSql(table)

    def kinds(self) -> dict[str, Callable[[], Draft | None]]:
        """The kinds of questions that suit the table, each with what makes one: None where chance finds none."""
        table, rows = self._table, len(self._table.labels)
        kinds: dict[str, Callable[[], Draft | None]] = {}
        if rows <= _MAX_COUNTED and not _is_time(table):  # an axis of time does not name every year
            kinds["entries"] = self._entries
        if not self._columns:
            return kinds
        kinds["value" if len(table.series) > 1 else "only_value"] = self._value
        if len(table.series) > 1 or self._is_named(table.series[0]):
            kinds |= {
                "argmax": lambda: self._extreme("argmax"),
                "argmin": lambda: self._extreme("argmin"),
                "maximum": lambda: self._extreme_value("maximum"),
                "minimum": lambda: self._extreme_value("minimum"),
                "second": self._second,
                "difference": self._difference,
                "compare": self._compare,
                "greater": self._greater,
                "count_above": self._count_above,
                "reverse": self._reverse,
                "total": self._total,
                "mean": self._mean,
                "absent_label": self._absent,
            }
            if _is_time(table):
                kinds["rose"] = self._rose
        if len(self._columns) > 1:
            kinds["row_argmax"] = self._row_argmax
        return kinds

    def follow_up(self, before: Draft) -> Draft | None:
        """The same question about another label, in few words: only after `value` and `only_value`."""
        if before.kind not in ("value", "only_value", "next_value"):
            return None
        series, label = int(before.extra["series"]), int(before.extra["label"])
        others = [index for index in range(len(self._table.labels)) if index != label]
        return self._value_of(self._rng.choice(others), series, "next_value")

    # What is asked. Each computes the answer in Python and has `_sql` compute it again.

    def _value(self) -> Draft:
        kind = "value" if len(self._table.series) > 1 else "only_value"
        return self._value_of(self._row(), self._column(), kind)

    def _value_of(self, row: int, column: int, kind: str) -> Draft:
        answer = self._table.cells[row][column]
        number = self._number(row, column)
        self._sql.expect(number, "SELECT {c} FROM t WHERE label = ?", column, self._table.labels[row])
        nearby = [self._table.cells[other][column] for other in self._others(row)]
        nearby += [self._table.cells[row][other] for other in self._columns if other != column]
        return self._draft(
            kind,
            {"label": self._table.labels[row], "series": self._table.series[column]},
            _plain(answer, number),
            "number",
            (*nearby, *near_numbers(number, self._rng)),
            {"series": str(column), "label": str(row)},
        )

    def _entries(self) -> Draft:
        count = len(self._table.labels)
        self._sql.expect(Decimal(count), "SELECT COUNT(*) FROM t", scaled=False)
        return self._draft("entries", {}, str(count), "count", near_counts(count, self._rng))

    def _extreme(self, kind: str) -> Draft | None:
        column = self._column()
        values = self._values(column)
        best = max(values) if kind == "argmax" else min(values)
        if values.count(best) != 1:
            return None
        label = self._table.labels[values.index(best)]
        order = "DESC" if kind == "argmax" else "ASC"
        self._sql.expect(label, f"SELECT label FROM t ORDER BY {{c}} {order} LIMIT 1", column)
        return self._of_labels(kind, label, column)

    def _second(self) -> Draft | None:
        column = self._column()
        values = self._values(column)
        ranked = sorted(values, reverse=True)
        if len(ranked) < 3 or len(set(ranked[:3])) < 3:
            return None
        label = self._table.labels[values.index(ranked[1])]
        self._sql.expect(label, "SELECT label FROM t ORDER BY {c} DESC LIMIT 1 OFFSET 1", column)
        return self._of_labels("second", label, column)

    def _extreme_value(self, kind: str) -> Draft:
        column = self._column()
        values = self._values(column)
        best = max(values) if kind == "maximum" else min(values)
        self._sql.expect(best, f"SELECT {'MAX' if kind == 'maximum' else 'MIN'}({{c}}) FROM t", column)
        wrong = (
            *(format_decimal(value) for value in sorted(values, reverse=kind == "maximum")[1:4]),
            *near_numbers(best, self._rng),
        )
        return self._draft(kind, {"series": self._table.series[column]}, format_decimal(best), "number", wrong)

    def _row_argmax(self) -> Draft | None:
        row = self._row()
        values = {column: self._number(row, column) for column in self._columns}
        best = max(values.values())
        winners = [column for column, value in values.items() if value == best]
        always = all(
            max(self._columns, key=lambda c: self._number(other, c)) == winners[0] for other in self._others(row)
        )
        if len(winners) != 1 or always:  # a question whose answer is the same everywhere asks nothing
            return None
        name = self._table.series[winners[0]]
        self._sql.expect_series(name, row, self._columns)
        wrong = shuffled([self._table.series[column] for column in self._columns if column != winners[0]], self._rng)
        return self._draft("row_argmax", {"label": self._table.labels[row]}, name, "text", wrong)

    def _difference(self) -> Draft:
        first, second, column = *self._two_rows(), self._column()
        answer = abs(self._number(first, column) - self._number(second, column))
        self._sql.expect(
            answer,
            "SELECT ABS((SELECT {c} FROM t WHERE label = ?) - (SELECT {c} FROM t WHERE label = ?))",
            column,
            self._table.labels[first],
            self._table.labels[second],
        )
        wrong = (
            format_decimal(self._number(first, column)),
            format_decimal(self._number(second, column)),
            *near_numbers(answer, self._rng),
        )
        return self._draft("difference", self._pair(first, second, column), format_decimal(answer), "number", wrong)

    def _compare(self) -> Draft | None:
        first, second, column = *self._two_rows(), self._column()
        if self._number(first, column) == self._number(second, column):
            return None
        higher, lower = (
            (first, second) if self._number(first, column) > self._number(second, column) else (second, first)
        )
        self._sql.expect(
            self._table.labels[higher],
            "SELECT label FROM t WHERE label IN (?, ?) ORDER BY {c} DESC LIMIT 1",
            column,
            self._table.labels[first],
            self._table.labels[second],
        )
        answer, wrong = self._table.labels[higher], self._table.labels[lower]
        return self._draft("compare", self._pair(first, second, column), answer, "text", (wrong,))

    def _greater(self) -> Draft | None:
        return self._yes_no("greater", *self._two_rows())

    def _rose(self) -> Draft | None:
        first, second = sorted(self._two_rows())
        draft = self._yes_no("rose", second, first)
        if draft is None:
            return None
        values = {**draft.values, "label": draft.values["other"], "other": draft.values["label"]}
        return replace(draft, values=values)

    def _yes_no(self, kind: str, first: int, second: int) -> Draft | None:
        """Whether the first is greater than the second; as often yes as no, as far as the rows may be exchanged."""
        column = self._column()
        left, right = self._number(first, column), self._number(second, column)
        if left == right:
            return None
        if kind == "greater" and (left > right) != (self._rng.random() < 0.5):
            first, second, left, right = second, first, right, left
        self._sql.expect(
            Decimal(left > right),
            "SELECT (SELECT {c} FROM t WHERE label = ?) > (SELECT {c} FROM t WHERE label = ?)",
            column,
            self._table.labels[first],
            self._table.labels[second],
            scaled=False,
        )
        return self._draft(kind, self._pair(first, second, column), "yes" if left > right else "no", "yes_no")

    def _count_above(self) -> Draft | None:
        column = self._column()
        values = sorted(set(self._values(column)))
        if len(values) < 3 or len(self._table.labels) > _MAX_COUNTED:
            return None
        gaps = [(low, high) for low, high in pairwise(values) if _between(low, high) is not None]
        if not gaps:
            return None
        limit = _between(*self._rng.choice(gaps))
        assert limit is not None
        count = sum(value > limit for value in self._values(column))
        self._sql.expect(Decimal(count), "SELECT COUNT(*) FROM t WHERE {c} > ?", column, limit, scaled=False)
        named = {"series": self._table.series[column], "limit": format_decimal(limit)}
        return self._draft("count_above", named, str(count), "count", near_counts(count, self._rng))

    def _reverse(self) -> Draft | None:
        row, column = self._row(), self._column()
        values = self._values(column)
        if values.count(values[row]) != 1:
            return None
        label = self._table.labels[row]
        self._sql.expect(label, "SELECT group_concat(label) FROM t WHERE {c} = ?", column, values[row])
        return self._of_labels("reverse", label, column, value=format_decimal(values[row]))

    def _total(self) -> Draft | None:
        column = self._column()
        values = self._values(column)
        if len(values) > _MAX_SUMMED:
            return None
        self._sql.expect(sum(values, Decimal()), "SELECT SUM({c}) FROM t", column)
        return self._computed("total", sum(values, Decimal()), column)

    def _mean(self) -> Draft | None:
        column = self._column()
        values = self._values(column)
        mean = sum(values, Decimal()) / len(values)
        if len(values) > _MAX_SUMMED or mean != round(mean, 2):
            return None
        self._sql.expect(sum(values, Decimal()), "SELECT CAST(ROUND(AVG({c}) * COUNT(*)) AS INTEGER) FROM t", column)
        return replace(self._computed("mean", mean.normalize(), column), step="")  # it is no multiple of the step

    def _absent(self) -> Draft | None:
        """A label that is not in the table: the next one of a series of years, or one of another table."""
        table = self._table
        candidates = [label for label in self._outside if _is_cjk(label) == _is_cjk("".join(table.labels))]
        if _is_time(table):
            last, step = int(table.labels[-1]), int(table.labels[-1]) - int(table.labels[-2])
            candidates = [str(last + step * count) for count in (1, 2, 3)] + [str(int(table.labels[0]) - step)]
        everything = "\n".join((table.label_name, *table.labels, *table.series)).casefold()
        candidates = [label for label in candidates if label.casefold() not in everything]
        if not candidates:
            return None
        label, column = self._rng.choice(candidates), self._column()
        self._sql.expect(Decimal(0), "SELECT COUNT(*) FROM t WHERE label = ?", column, label, scaled=False)
        values = {"label": label, "series": table.series[column]}
        return replace(self._draft("absent_label", values, ABSENT[self._language], "text"), answerable=False)

    # Parts of drafts.

    def _computed(self, kind: str, answer: Decimal, column: int) -> Draft:
        values = {"series": self._table.series[column]}
        return self._draft(kind, values, format_decimal(answer), "number", near_numbers(answer, self._rng))

    def _of_labels(self, kind: str, label: str, column: int, **values: str) -> Draft:
        wrong = shuffled([other for other in self._table.labels if other != label], self._rng)
        return self._draft(kind, {**values, "series": self._table.series[column]}, label, "text", wrong)

    def _pair(self, first: int, second: int, column: int) -> dict[str, str]:
        labels = self._table.labels
        return {"label": labels[first], "other": labels[second], "series": self._table.series[column]}

    def _draft(
        self,
        kind: str,
        values: dict[str, str],
        answer: str,
        form: Form,
        wrong: tuple[str, ...] = (),
        extra: dict[str, str] | None = None,
    ) -> Draft:
        names: list[str] = [name for name in ("label", "other", "series") if name in values]
        bare = all(re.fullmatch(r"[\w%]+", values[name]) for name in names) and self._rng.random() < 0.6
        named = {name: values[name] if bare else quoted(values[name], self._language) for name in names}
        item, items = _item_names(self._table.label_name)
        return Draft(
            kind,
            {**values, **named, "item": item, "items": items},
            answer,
            form,
            wrong,
            self._step if form == "number" else "",
            extra=extra or {},
        )

    def _is_named(self, series: str) -> bool:
        """Whether the only series has a name that a question can use."""
        return len(series) > 1 and series.casefold() not in _GENERIC

    def _row(self) -> int:
        return self._rng.randrange(len(self._table.labels))

    def _two_rows(self) -> tuple[int, int]:
        first, second = self._rng.sample(range(len(self._table.labels)), 2)
        return first, second

    def _others(self, row: int) -> list[int]:
        """The other rows, the nearest first."""
        return sorted(
            (other for other in range(len(self._table.labels)) if other != row), key=lambda other: abs(other - row)
        )

    def _column(self) -> int:
        return self._rng.choice(self._columns)

    def _number(self, row: int, column: int) -> Decimal:
        number = self._table.numbers[row][column]
        assert number is not None
        return number

    def _values(self, column: int) -> list[Decimal]:
        return [self._number(row, column) for row in range(len(self._table.labels))]


def _plain(text: str, number: Decimal) -> str:
    """A cell as an answer: as it is written, unless its minus sign is none that the grader reads."""
    return text.strip() if text.strip().isascii() else format_decimal(number)


def _between(low: Decimal, high: Decimal) -> Decimal | None:
    """The roundest number strictly between two."""
    for exponent in range(6, -4, -1):
        unit = Decimal(10) ** exponent
        candidate = (low / unit).to_integral_value(rounding="ROUND_FLOOR") * unit + unit
        if low < candidate < high:
            return candidate.quantize(Decimal(1)) if exponent >= 0 else candidate
    return None


def _is_time(table: DataTable) -> bool:
    """Whether the labels are years in order."""
    years = [int(label) for label in table.labels if re.fullmatch(r"[12]\d{3}", label)]
    return len(years) == len(table.labels) and years == sorted(years) and len(years) >= 3


def _is_cjk(text: str) -> bool:
    return any("\u3400" <= character <= "\u9fff" for character in text)


def _item_names(label_name: str) -> tuple[str, str]:
    """What an English question calls a row, and several of them."""
    if not re.fullmatch(r"[A-Z]?[a-z]{2,14}", label_name) or label_name.endswith(("s", "x", "ch", "sh")):
        return "entry", "entries"
    item = label_name.lower()
    return item, f"{item[:-1]}ies" if re.search(r"[^aeiou]y$", item) else f"{item}s"
