"""What seeded tables are about: names of places, things and measures with plausible ranges."""

from dataclasses import dataclass
from typing import Literal

_ZH_TIMES = "年份月季度星期周一二三四五六日时间"  # of the labels of time


@dataclass(frozen=True)
class Topic:
    """A measure, what it is measured of, and where.

    Attributes:
        measure: Name of the values.
        unit: Of the values; empty for plain counts.
        low: About the smallest value.
        high: About the largest value.
        decimals: Places after the point.
        labels: Names of label columns, each with its labels.
        series_name: What the series are.
        series: Names of series.
        titles: Templates with `{place}`, `{year}`, `{measure}` and `{label}`.
        places: Where.
        language: Of all these texts.
        additive: Whether values add up, so that a part of their sum means something.
        daily: Whether it is measured by day and hour, too.
        change: Name of a difference of two values.
        share: Name of the values as a percentage.
        range_names: Low, middle and high.
        price_names: Open, high, low and close.
        quartile_names: Minimum, lower quartile, median, upper quartile and maximum.
    """

    measure: str
    unit: str
    low: float
    high: float
    decimals: int
    labels: tuple[tuple[str, tuple[str, ...]], ...]
    series_name: str
    series: tuple[str, ...]
    titles: tuple[str, ...] = ("{measure} in {place}, {year}", "{measure}, {place}", "{place}: {measure} by {label}")
    places: tuple[str, ...] = ()
    language: Literal["en", "zh"] = "en"
    additive: bool = True
    daily: bool = False
    change: str = "Change in {measure}"
    share: str = "Share (%)"
    range_names: tuple[str, str, str] = ("Low", "Mean", "High")
    price_names: tuple[str, str, str, str] = ("Open", "High", "Low", "Close")
    quartile_names: tuple[str, str, str, str, str] = (
        "Minimum",
        "Lower quartile",
        "Median",
        "Upper quartile",
        "Maximum",
    )

    def characters(self) -> str:
        """All characters that a table of the topic may have and that not every font has."""
        labels = "".join(label + "".join(names) for label, names in self.labels)
        names = (self.measure, self.unit, self.series_name, self.share, self.change)
        parts = (*self.range_names, *self.price_names, *self.quartile_names)
        times = _ZH_TIMES if self.language == "zh" else ""
        texts = (*names, labels, *self.series, *self.titles, *self.places, *parts, times)
        return "".join(character for text in texts for character in text if not character.isascii())


_CITIES = (
    "Lisbon",
    "Oslo",
    "Nairobi",
    "Lima",
    "Osaka",
    "Porto",
    "Quito",
    "Turin",
    "Accra",
    "Hanoi",
    "Dakar",
    "Malmö",
    "Perth",
    "Leeds",
    "Izmir",
    "Kraków",
    "Bergen",
    "Tampa",
    "Busan",
    "Lagos",
    "Graz",
    "Cusco",
    "Davao",
    "Cork",
)
_COUNTRIES = (
    "Norway",
    "Brazil",
    "Kenya",
    "Japan",
    "Chile",
    "Egypt",
    "India",
    "Spain",
    "Peru",
    "Ghana",
    "Canada",
    "Italy",
    "Vietnam",
    "Mexico",
    "Poland",
    "Turkey",
    "Greece",
    "Nepal",
    "Cuba",
    "Laos",
    "Fiji",
    "Oman",
)
_REGIONS = ("North", "South", "East", "West", "Centre", "Coast", "Highlands", "Islands", "Metro", "Valley")
_TEAMS = ("Falcons", "Rovers", "Comets", "Harbour", "United", "Rangers", "Wolves", "Athletic", "Dynamo", "Olympic")
_PRODUCTS = ("Laptops", "Phones", "Tablets", "Printers", "Cameras", "Monitors", "Headsets", "Routers", "Keyboards")
_CROPS = ("Wheat", "Barley", "Maize", "Rice", "Oats", "Rye", "Sorghum", "Millet", "Soybeans", "Potatoes", "Lentils")
_ENERGY = ("Coal", "Gas", "Nuclear", "Hydro", "Wind", "Solar", "Biomass", "Oil", "Geothermal")
_ANIMALS = ("Foxes", "Otters", "Herons", "Badgers", "Deer", "Hares", "Owls", "Storks", "Beavers", "Swifts")
_SUBJECTS = ("Algebra", "Biology", "Chemistry", "History", "Music", "Physics", "Geography", "Art", "Latin", "Drama")
_DRINKS = ("Coffee", "Tea", "Juice", "Water", "Cocoa", "Soda", "Milk", "Smoothies")
_TRANSPORT = ("Bus", "Tram", "Metro", "Bicycle", "Car", "Walking", "Ferry", "Train", "Scooter")
_DEPARTMENTS = (
    "Sales",
    "Support",
    "Design",
    "Finance",
    "Legal",
    "Research",
    "Logistics",
    "Marketing",
    "IT",
    "Security",
)
_AGES = ("0-14", "15-24", "25-39", "40-54", "55-64", "65-79", "80+")
_GENRES = ("Fiction", "Poetry", "Travel", "Science", "Comics", "Cookery", "Crime", "Fantasy", "Biography")
_METALS = ("Copper", "Zinc", "Nickel", "Tin", "Lead", "Silver", "Cobalt", "Lithium")
_DISHES = ("Soup", "Salad", "Pasta", "Curry", "Pizza", "Tacos", "Sushi", "Stew", "Burger", "Falafel")
_LANGUAGES = ("Python", "Rust", "Go", "Java", "C", "Julia", "Kotlin", "Swift", "Ruby", "Haskell", "Scala")
_HOTELS = ("Grand", "Riverside", "Station", "Park", "Harbour View", "Old Mill", "Belvedere", "Central")
_PLANTS = ("Plant A", "Plant B", "Plant C", "Plant D", "Plant E", "Plant F")
_MODELS = ("Baseline", "Small", "Medium", "Large", "Distilled", "Ensemble", "Quantised")
_DATASETS = ("Set A", "Set B", "Set C", "Dev", "Test", "Shifted", "Long", "Noisy")

TOPICS: tuple[Topic, ...] = (
    Topic(
        "Revenue",
        "million USD",
        20,
        900,
        1,
        (("Department", _DEPARTMENTS), ("Region", _REGIONS)),
        "Region",
        _REGIONS,
        places=("Northwind Ltd", "Acme Group", "Borealis", "Tern & Co", "Meridian", "Kestrel AG"),
    ),
    Topic(
        "Units sold",
        "thousand",
        2,
        480,
        0,
        (("Product", _PRODUCTS), ("City", _CITIES)),
        "Product",
        _PRODUCTS,
        places=("Northwind Ltd", "Acme Group", "Borealis", "Volta Stores", "Lumen Shops"),
    ),
    Topic(
        "Population",
        "thousand",
        40,
        5200,
        0,
        (("Age group", _AGES), ("Region", _REGIONS)),
        "Region",
        _REGIONS,
        places=_COUNTRIES,
    ),
    Topic("Rainfall", "mm", 4, 320, 0, (("Region", _REGIONS),), "Region", _REGIONS, places=_COUNTRIES, daily=True),
    Topic(
        "Mean temperature",
        "°C",
        2,
        34,
        1,
        (("City", _CITIES),),
        "City",
        _CITIES,
        places=("the climate survey", "the station network", "coastal cities", "selected cities"),
        additive=False,
        daily=True,
    ),
    Topic("Electricity generation", "TWh", 1, 260, 1, (("Source", _ENERGY),), "Source", _ENERGY, places=_COUNTRIES),
    Topic("Harvest", "kt", 10, 2400, 0, (("Crop", _CROPS), ("Region", _REGIONS)), "Crop", _CROPS, places=_COUNTRIES),
    Topic(
        "Sightings",
        "",
        3,
        240,
        0,
        (("Species", _ANIMALS), ("Region", _REGIONS)),
        "Species",
        _ANIMALS,
        places=("the Alder Valley", "Lake Orta", "the Fen Reserve", "Cape Wren", "the Rila Park"),
        daily=True,
    ),
    Topic(
        "Average mark",
        "points",
        35,
        98,
        1,
        (("Subject", _SUBJECTS),),
        "Subject",
        _SUBJECTS,
        places=("Class 8B", "Hillside School", "St Ives College", "the Linden School", "Class 11A"),
        additive=False,
    ),
    Topic(
        "Goals scored",
        "",
        8,
        110,
        0,
        (("Team", _TEAMS),),
        "Team",
        _TEAMS,
        places=("the First League", "the Northern Cup", "the Coastal League", "the Junior League"),
    ),
    Topic(
        "Cups served",
        "",
        12,
        420,
        0,
        (("Drink", _DRINKS),),
        "Drink",
        _DRINKS,
        places=("Cafe Aurora", "the Corner Bar", "Kiosk 12", "the Museum Cafe", "Bean & Leaf"),
        daily=True,
    ),
    Topic(
        "Daily trips", "thousand", 5, 640, 0, (("Mode", _TRANSPORT),), "Mode", _TRANSPORT, places=_CITIES, daily=True
    ),
    Topic(
        "Books lent",
        "",
        40,
        2600,
        0,
        (("Genre", _GENRES), ("Age group", _AGES)),
        "Genre",
        _GENRES,
        places=("the City Library", "the Harbour Library", "the School Library", "the Mobile Library"),
        daily=True,
    ),
    Topic("Ore production", "kt", 15, 1800, 0, (("Metal", _METALS),), "Metal", _METALS, places=_COUNTRIES),
    Topic(
        "Orders",
        "",
        10,
        380,
        0,
        (("Dish", _DISHES),),
        "Dish",
        _DISHES,
        places=("Casa Verde", "the Noodle House", "Table 9", "Trattoria Sole", "the Station Grill"),
        daily=True,
    ),
    Topic(
        "Run time",
        "ms",
        3,
        420,
        1,
        (("Language", _LANGUAGES), ("Set", _DATASETS)),
        "Language",
        _LANGUAGES,
        titles=("{measure} of the {place} benchmark", "{place}: {measure} by {label}"),
        places=("sorting", "parsing", "matrix", "hashing", "image filter"),
        additive=False,
    ),
    Topic(
        "Occupancy",
        "%",
        20,
        98,
        0,
        (("Hotel", _HOTELS),),
        "Hotel",
        _HOTELS,
        places=_CITIES,
        additive=False,
        daily=True,
    ),
    Topic(
        "Output",
        "tonnes",
        30,
        940,
        0,
        (("Plant", _PLANTS), ("Department", _DEPARTMENTS)),
        "Plant",
        _PLANTS,
        places=("Norsk Paper", "Delta Glass", "Orion Steel", "Alba Textiles"),
    ),
    Topic(
        "Accuracy",
        "%",
        40,
        99,
        1,
        (("Model", _MODELS), ("Set", _DATASETS)),
        "Model",
        _MODELS,
        titles=("{measure} on {place}", "{place}: {measure} by {label}"),
        places=("the digits task", "the parity task", "the maze task", "the sorting task"),
        additive=False,
    ),
    Topic(
        "Household spending",
        "EUR",
        20,
        780,
        0,
        (("Country", _COUNTRIES), ("Age group", _AGES)),
        "Country",
        _COUNTRIES,
        places=("a survey", "the panel study", "the household survey"),
    ),
    Topic(
        "Life expectancy",
        "years",
        55,
        86,
        1,
        (("Country", _COUNTRIES),),
        "Country",
        _COUNTRIES,
        places=("the world report", "selected countries"),
        additive=False,
    ),
    Topic(
        "Visitors",
        "thousand",
        6,
        720,
        0,
        (("City", _CITIES), ("Region", _REGIONS)),
        "City",
        _CITIES,
        places=("the Maritime Museum", "the Science Centre", "the Botanic Garden", "the Old Fort"),
        daily=True,
    ),
    Topic(
        "Concentration",
        "µg/m³",
        4,
        92,
        1,
        (("City", _CITIES), ("Region", _REGIONS)),
        "City",
        _CITIES,
        places=("the air survey", "the harbour survey", "the valley survey"),
        additive=False,
        daily=True,
    ),
    Topic(
        "Water use",
        "million litres",
        8,
        360,
        1,
        (("Region", _REGIONS), ("Plant", _PLANTS)),
        "Region",
        _REGIONS,
        places=_COUNTRIES,
    ),
)

PRICE_TOPICS: tuple[Topic, ...] = tuple(
    Topic(
        name,
        unit,
        low,
        high,
        1,
        (),
        "",
        (),
        titles=("{measure}, {place}", "{place}: {measure}", "{measure} of {place} by {label}"),
        places=places,
        daily=True,
    )
    for name, unit, low, high, places in (
        ("Share price", "USD", 20, 240, ("Northwind Ltd", "Acme Group", "Borealis", "Tern & Co", "Kestrel AG")),
        ("Price per tonne", "EUR", 300, 9000, ("copper", "zinc", "nickel", "wheat", "barley", "coffee")),
        ("Exchange rate", "per USD", 2, 160, ("the krone", "the peso", "the yen", "the rand")),
    )
)
