"""A table in a database: the second way to every answer about it."""

import sqlite3
from decimal import Decimal

from step3vl.pipelines.sources.tables.data_tables import DataTable


class TableSql:
    """The table in a database in memory, with numbers as integers of the smallest decimal place."""

    def __init__(self, table: DataTable) -> None:
        self._table = table
        exponents = [number.as_tuple().exponent for row in table.numbers for number in row if number is not None]
        self._scale = 10 ** -min([0, *(exponent for exponent in exponents if isinstance(exponent, int))])
        self._connection = sqlite3.connect(":memory:")
        names = [f"c{index}" for index in range(len(table.series))]
        self._connection.execute(f"CREATE TABLE t (label TEXT, {', '.join(names)})")
        rows = [
            (label, *(None if number is None else int(number * self._scale) for number in numbers))
            for label, numbers in zip(table.labels, table.numbers, strict=True)
        ]
        self._connection.executemany(f"INSERT INTO t VALUES ({', '.join('?' * (len(names) + 1))})", rows)

    def expect(
        self, answer: Decimal | str, query: str, column: int = 0, *arguments: str | Decimal, scaled: bool = True
    ) -> None:
        """Check an answer by a query. Raises ValueError when the two differ."""
        bound = [self._scaled(value) if isinstance(value, Decimal) else value for value in arguments]
        (result,) = self._connection.execute(query.format(c=f"c{column}"), bound).fetchone()
        if isinstance(answer, Decimal):
            right = result is not None and Decimal(result) == answer * (self._scale if scaled else 1)
        else:
            right = result == answer
        if not right:
            raise ValueError(f"the answer is {answer}, and by SQL {result}: {query}")

    def _scaled(self, number: Decimal) -> int | float:
        """A number in units of the table; one with more decimal places than any of it lies between two."""
        scaled = number * self._scale
        return int(scaled) if scaled == int(scaled) else float(scaled)

    def expect_series(self, name: str, row: int, columns: list[int]) -> None:
        """Check which of several series is highest in a row. Raises ValueError when it is another."""
        unions = " UNION ALL ".join(
            f"SELECT {column} AS s, c{column} AS v FROM t WHERE label = ?" for column in columns
        )
        labels = [self._table.labels[row]] * len(columns)
        (result,) = self._connection.execute(f"SELECT s FROM ({unions}) ORDER BY v DESC LIMIT 1", labels).fetchone()
        if self._table.series[result] != name:
            raise ValueError(f"the answer is {name}, and by SQL {self._table.series[result]}")
