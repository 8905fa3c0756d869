from pathlib import Path
from typing import get_args

import pytest

from step3vl.data.errors import UserError
from step3vl.pipelines.core.steps import rng_for
from step3vl.pipelines.sources.tables.real_tables import RealTables
from step3vl.pipelines.sources.tables.tables import Table, TableKind, make_points, make_table, read_csv
from step3vl.pipelines.sources.tables.topics import TOPICS
from step3vl.pipelines.sources.tables.topics_zh import ZH_TOPICS


@pytest.mark.parametrize("kind", get_args(TableKind))
@pytest.mark.parametrize("topics", [TOPICS, ZH_TOPICS], ids=["en", "zh"])
def test_seeded_tables_have_distinct_names_and_the_same_values_again(
    kind: TableKind, topics: tuple[object, ...]
) -> None:
    for number in range(50):
        series = 2 if kind in ("groups", "time") and number % 2 else 1
        table = make_table(kind, series, rng_for(0, number), topics)  # type: ignore[arg-type]
        assert table == make_table(kind, series, rng_for(0, number), topics)  # type: ignore[arg-type]
        assert len(set(table.labels)) == len(table.labels) == len(table.values)
        assert len(set(table.series)) == len(table.series)
        assert all(len(row) == len(table.series) for row in table.values)
        assert not set(table.labels) & set(table.series)


def test_percentages_add_up_to_100() -> None:
    tables = [make_table("parts", 1, rng_for(1, number)) for number in range(60)]
    shares = [table for table in tables if table.measure == "Share (%)"]
    assert shares and all(sum(row[0] for row in table.values) == 100 for table in shares)


def test_values_are_rounded_to_a_step() -> None:
    table = Table("t", "groups", "l", ("a", "b"), "m", ("m",), ((12.4,), (-3.26,)), 2)
    assert table.rounded(5).values == ((10.0,), (-5.0,))
    assert table.rounded(0.5).values == ((12.5,), (-3.5,))
    assert table.rounded(0.2).csv() == "l,m\na,12.4\nb,-3.2"
    assert table.markdown().splitlines() == ["| l | m |", "| --- | --- |", "| a | 12.4 |", "| b | -3.26 |"]


def test_real_tables_name_their_source() -> None:
    real = RealTables()
    for kind in get_args(TableKind):
        for series in (1, 3):
            for number in range(20):
                table = real.table(kind, series, rng_for(0, kind, series, number))
                if table is None:
                    continue
                assert table.uri.startswith("vega-datasets/") and table.licence == "public domain"
                assert len(set(table.labels)) == len(table.labels) > 2
                assert table.kind == kind
    assert real.points(rng_for(0), 3, 20).licence == "public domain"


def test_a_csv_file_is_a_table(tmp_path: Path) -> None:
    path = tmp_path / "bird_counts.csv"
    path.write_text("Year,Owls,Swifts\n2019,3,4.5\n2020,5,6\n")
    table = read_csv(path, "CC0-1.0")
    assert (table.title, table.kind, table.decimals, table.values[0]) == ("Bird counts", "time", 1, (3.0, 4.5))
    path.write_text("Year,Owls\n2019,three\n")
    with pytest.raises(UserError, match="no table"):
        read_csv(path, "CC0-1.0")


def test_points_belong_to_the_groups_asked_for() -> None:
    points = make_points(rng_for(0), 3, 21)
    assert len({row[2] for row in points.rows}) == 3
