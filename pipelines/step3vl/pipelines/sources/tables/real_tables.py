"""Real tables that the package vega-datasets carries.

Only those whose numbers are in the public domain: statistics of agencies of the United States, and data published
before 1940 (deaths in the Crimean War, prices of wheat, yields of barley, measurements of irises).
"""

import csv
import json
import random
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from step3vl.data.errors import UserError
from step3vl.pipelines.sources.tables.tables import MONTHS, Points, Table, TableKind

PUBLIC_DOMAIN = "public domain"


class RealTables:
    """Random windows of the tables."""

    def __init__(self) -> None:
        spec = find_spec("vega_datasets")  # importing it would import pandas
        if spec is None or spec.origin is None:
            raise UserError("this needs the package vega-datasets; install it: pip install 'step3vl[pipelines]'")
        folder = Path(spec.origin).parent / "_data"
        self._employment = _csv_rows(folder / "us-employment.csv")
        self._power = _csv_rows(folder / "iowa-electricity.csv")
        self._weather = _csv_rows(folder / "seattle-weather.csv")
        self._crimea = json.loads((folder / "crimea.json").read_text("utf-8"))
        self._wheat = json.loads((folder / "wheat.json").read_text("utf-8"))
        self._barley = json.loads((folder / "barley.json").read_text("utf-8"))
        self._iris = json.loads((folder / "iris.json").read_text("utf-8"))

    def table(self, kind: TableKind, series: int, rng: random.Random) -> Table | None:
        """A random window of a table that has this kind and number of series, or None."""
        makers: dict[tuple[str, bool], list[Callable[[int, random.Random], Table]]] = {
            ("time", True): [self._jobs, self._electricity, self._deaths, self._climate],
            ("time", False): [self._jobs, self._wages, self._climate],
            ("groups", True): [self._yields],
            ("groups", False): [self._yields, self._jobs_by_sector],
            ("parts", False): [self._mix, self._jobs_by_sector],
            ("parts", True): [self._electricity],
            ("signed", False): [self._changes],
        }
        candidates = makers.get((kind, series > 1))
        return replace(rng.choice(candidates)(series, rng), kind=kind) if candidates else None

    def points(self, rng: random.Random, groups: int, number: int) -> Points:
        """Measurements of irises (E. Anderson and R. Fisher, 1936)."""
        names = {
            "sepalLength": "Sepal length (cm)",
            "sepalWidth": "Sepal width (cm)",
            "petalLength": "Petal length (cm)",
            "petalWidth": "Petal width (cm)",
        }
        x, y, size = rng.sample(list(names), 3)
        species = rng.sample(["setosa", "versicolor", "virginica"], min(groups, 3))
        pool = [row for row in self._iris if row["species"] in species]
        rows = sorted(rng.sample(pool, min(number, len(pool))), key=lambda row: species.index(row["species"]))
        distinct = {(row[x], row[y], row["species"], row[size]): None for row in rows}
        return Points(
            "Iris flowers",
            names[x],
            names[y],
            "Species",
            names[size],
            tuple((float(a), float(b), c, float(d)) for a, b, c, d in distinct),
            uri="vega-datasets/iris",
            licence=PUBLIC_DOMAIN,
        )

    _SECTORS = (
        "construction",
        "manufacturing",
        "utilities",
        "information",
        "financial_activities",
        "government",
        "leisure_and_hospitality",
        "wholesale_trade",
        "retail_trade",
        "mining_and_logging",
    )

    def _jobs(self, series: int, rng: random.Random) -> Table:
        sectors = rng.sample(self._SECTORS, min(series, 4))
        start, number, step = rng.randrange(0, 60), rng.randint(6, 10), rng.choice((1, 3, 6))
        rows = self._employment[start : start + number * step : step]
        values = tuple(tuple(float(round(float(row[name]))) for name in sectors) for row in rows)
        names = tuple(name.replace("_", " ").capitalize() for name in sectors)
        title = "Employment in the United States" if series > 1 else f"{names[0]}: employment in the United States"
        return _real(
            title,
            "Month",
            tuple(row["month"][:7] for row in rows),
            "Employees (thousand)",
            names,
            values,
            0,
            "us-employment",
        )

    def _jobs_by_sector(self, series: int, rng: random.Random) -> Table:
        row = rng.choice(self._employment)
        sectors = rng.sample(self._SECTORS, rng.randint(4, 8))
        labels = tuple(name.replace("_", " ").capitalize() for name in sectors)
        values = tuple((float(round(float(row[name]))),) for name in sectors)
        return _real(
            f"Employment in the United States, {row['month'][:7]}",
            "Sector",
            labels,
            "Employees (thousand)",
            ("Employees (thousand)",),
            values,
            0,
            "us-employment",
        )

    def _changes(self, series: int, rng: random.Random) -> Table:
        start = rng.randrange(0, 100)
        rows = self._employment[start : start + rng.randint(6, 12)]
        values = tuple((float(row["nonfarm_change"]),) for row in rows)
        return _real(
            "Monthly change of nonfarm employment, United States",
            "Month",
            tuple(row["month"][:7] for row in rows),
            "Change (thousand)",
            ("Change (thousand)",),
            values,
            0,
            "us-employment",
        )

    def _electricity(self, series: int, rng: random.Random) -> Table:
        sources = ("Fossil Fuels", "Nuclear Energy", "Renewables")[: max(2, min(series, 3))]
        by_year: dict[str, dict[str, float]] = {}
        for row in self._power:
            by_year.setdefault(row["year"][:4], {})[row["source"]] = float(row["net_generation"])
        start, number = rng.randrange(0, 9), rng.randint(5, 8)
        years = sorted(by_year)[start : start + number]
        values = tuple(tuple(by_year[year][source] for source in sources) for year in years)
        return _real(
            "Electricity generated in Iowa",
            "Year",
            tuple(years),
            "Net generation (GWh)",
            sources,
            values,
            0,
            "iowa-electricity",
        )

    def _mix(self, series: int, rng: random.Random) -> Table:
        year = rng.choice(sorted({row["year"] for row in self._power}))
        rows = [row for row in self._power if row["year"] == year]
        return _real(
            f"Electricity generated in Iowa, {year[:4]}",
            "Source",
            tuple(row["source"] for row in rows),
            "Net generation (GWh)",
            ("Net generation (GWh)",),
            tuple((float(row["net_generation"]),) for row in rows),
            0,
            "iowa-electricity",
        )

    def _climate(self, series: int, rng: random.Random) -> Table:
        year = rng.choice(("2012", "2013", "2014", "2015"))
        fields = rng.sample(["temp_max", "temp_min"], 2) if series > 1 else [rng.choice(("temp_max", "temp_min"))]
        names = {"temp_max": "Mean daily maximum", "temp_min": "Mean daily minimum"}
        values = []
        for month in range(1, 13):
            days = [row for row in self._weather if row["date"].startswith(f"{year}/{month:02d}")]
            values.append(tuple(round(sum(float(day[field]) for day in days) / len(days), 1) for field in fields))
        return _real(
            f"Temperatures in Seattle, {year}",
            "Month",
            MONTHS,
            "Temperature (°C)",
            tuple(names[field] for field in fields),
            tuple(values),
            1,
            "seattle-weather",
        )

    def _deaths(self, series: int, rng: random.Random) -> Table:
        causes = ("disease", "wounds", "other")[: max(2, min(series, 3))]
        start, number = rng.randrange(0, 14), rng.randint(6, 10)
        rows = self._crimea[start : start + number]
        values = tuple(tuple(float(row[cause]) for cause in causes) for row in rows)
        return _real(
            "Deaths of soldiers in the Crimean War",
            "Month",
            tuple(row["date"][:7] for row in rows),
            "Deaths",
            tuple(cause.capitalize() for cause in causes),
            values,
            0,
            "crimea",
        )

    def _wages(self, series: int, rng: random.Random) -> Table:
        start, number = rng.randrange(0, 38), rng.randint(7, 12)
        field, name = rng.choice((("wheat", "Price of wheat (shillings)"), ("wages", "Weekly wages (shillings)")))
        rows = self._wheat[start : start + number]
        values = tuple((float(row[field]),) for row in rows)
        return _real(
            f"{name.partition(' (')[0]} in England",
            "Year",
            tuple(str(row["year"]) for row in rows),
            name,
            (name,),
            values,
            1,
            "wheat",
        )

    def _yields(self, series: int, rng: random.Random) -> Table:
        year = rng.choice((1931, 1932))
        sites = list(dict.fromkeys(row["site"] for row in self._barley))
        chosen = rng.sample(sites, min(max(series, 1), 4))
        varieties = list(dict.fromkeys(row["variety"] for row in self._barley))[: rng.randint(4, 8)]
        by_cell = {(row["variety"], row["site"]): row["yield"] for row in self._barley if row["year"] == year}
        values = tuple(tuple(round(by_cell[variety, site], 1) for site in chosen) for variety in varieties)
        title = f"Barley yields, {year}" if series > 1 else f"Barley yields at {chosen[0]}, {year}"
        return _real(
            title, "Variety", tuple(varieties), "Yield (bushels per acre)", tuple(chosen), values, 1, "barley"
        )


def _real(
    title: str,
    label: str,
    labels: tuple[str, ...],
    measure: str,
    series: tuple[str, ...],
    values: tuple[tuple[float, ...], ...],
    decimals: int,
    name: str,
) -> Table:
    series = (measure,) if len(series) == 1 else series
    return Table(
        title,
        "groups",
        label,
        labels,
        measure,
        series,
        values,
        decimals,
        uri=f"vega-datasets/{name}",
        licence=PUBLIC_DOMAIN,
    )


def _csv_rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
