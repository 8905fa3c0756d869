"""Grounding on maps of regions: provinces, states and countries, told by their names, their capitals or a legend.

After the grounding and counting data of the STEP3-VL-10B report, section 2.2. There are two kinds of maps: those of
KGeography, whose regions are known to the pixel, and windows of the world map. Points are graded by masks.
"""

import random
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from step3vl.data.errors import UserError
from step3vl.data.sample import Sample
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, FractionRange, GeneratedEntry, IntRange
from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.core.samples import encode_jpeg
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.domains.map_questions import TASKS, MapQuestions, MapTask, unique_names
from step3vl.pipelines.domains.map_regions_check import CheckRegions
from step3vl.pipelines.grounding.records import GroundedImage
from step3vl.pipelines.grounding.wording import ask_in_turn, to_sample
from step3vl.pipelines.render.scenes.map import choose_view, in_the_world
from step3vl.pipelines.render.scenes.region_map import (
    STYLES,
    MapScene,
    Style,
    render_regions,
    window_of_countries,
)
from step3vl.pipelines.render.style import FontFace
from step3vl.pipelines.sources.countries import load_countries
from step3vl.pipelines.sources.region_maps import RegionMap, country_names, load_region_map, load_translations, scaled

_FEWEST = 3  # regions of a map that is asked about


class RegionMapsEntry(GeneratedEntry):
    """Questions about the regions of maps."""

    domain: Literal["maps.regions"]
    map_files: tuple[str, ...] = ()
    """Patterns of KGeography's maps, `.kgm` and `.png`; without them, maps are windows of the world map."""
    translations: dict[Language, str] = Field(default_factory=dict)
    """Of KGeography's names: message catalogs (`.mo`) by language."""
    languages: tuple[Language, ...] = ("en", "zh")
    """Of questions and labels; a map without names in one of them is not asked about in it."""
    longest: IntRange = (384, 768)
    """The longer side of a map in pixels, without its legend."""
    styles: dict[Style, float] = Field(default_factory=dict)
    """Relative weights of `blank`, `names`, `numbers` and `colours`, the last two with a legend; by default equal."""
    tasks: dict[MapTask, float] = Field(default_factory=dict)
    """Relative weights; by default each is as likely as the others."""
    questions: int = Field(default=3, ge=1)
    """About a map, at most."""
    zoom: FractionRange = (0.08, 0.35)
    """The share of a window of the world map that the country in its middle takes."""
    font_files: tuple[str, ...] = ("assets:fonts/*.?tf",)
    """Patterns of fonts for labels."""
    countries_file: str = "assets:maps/countries.json"
    """JSON as `sources.countries.load_countries` reads it."""
    licence: str = "public domain (Natural Earth)"
    """Of the samples; KGeography's maps are under the GPL, version 2 or later."""

    def assets(self) -> tuple[str, ...]:
        maps = self.map_files or (self.countries_file,)
        return (*maps, *self.translations.values(), *self.font_files)

    def check(self, context: StepContext) -> None:
        super().check(context)
        if self.map_files and not any(path.suffix == ".kgm" for path in context.assets(self.map_files)):
            raise UserError(f"{self.name}: map_files matches no .kgm file; give patterns of maps and of their images")


class AskAboutMaps:
    """Worker: a number becomes a map and questions about its regions. The number only names the record."""

    def __init__(self, entry: RegionMapsEntry, context: StepContext) -> None:
        self._entry, self._context = entry, context

    def setup(self) -> None:
        entry, assets = self._entry, self._context.assets
        self._faces = [FontFace(path) for path in assets(entry.font_files)]
        self._maps: list[RegionMap] = []
        if entry.map_files:
            paths = assets(entry.map_files)
            images = {path.name: path for path in paths}
            catalogs = {key: load_translations(assets((file,))[0]) for key, file in entry.translations.items()}
            self._maps = [load_region_map(path, images, catalogs) for path in paths if path.suffix == ".kgm"]
            return
        self._countries = load_countries(assets((entry.countries_file,))[0])
        self._names = {country.name: country_names(country.name, entry.languages) for country in self._countries}

    def process(self, record: Record[int], rng: random.Random) -> Iterator[Sample]:
        entry, scene = self._entry, self.render(rng)
        grounded = GroundedImage(
            image=encode_jpeg(scene.image),
            subject="map",
            objects=(),
            licence=entry.licence,
            origin=record.key,
            traits={"style": scene.style, "map": scene.region_map.name},
        )
        language = scene.language
        elsewhere = self._names_elsewhere(scene.region_map, language, rng)
        questions = MapQuestions(scene.region_map, scene.placed, scene.names, elsewhere, language, rng)
        weights = entry.tasks or dict.fromkeys(TASKS, 1.0)
        asked = ask_in_turn(weights, entry.questions, lambda task: (language, TASKS[task](questions)), rng)
        if not asked:
            raise Dropped("nothing_to_ask")
        yield from (to_sample(grounded, each, entry.kind, entry.name) for each in asked)

    def render(self, rng: random.Random) -> MapScene:
        """A map. Raises Dropped for one that is not asked about."""
        entry = self._entry
        language = rng.choice(entry.languages)
        region_map = self._choose_map(rng)
        face, names = self._choose_face(unique_names(region_map, language), rng)
        if len(names) < _FEWEST:
            raise Dropped("too_few_names")
        style = rng.choices(STYLES, [entry.styles.get(each, 0.0) if entry.styles else 1.0 for each in STYLES])[0]
        image, placed = render_regions(region_map.owners, names, style, face, rng)
        return MapScene(region_map, image, placed, names, style, language)

    def _choose_map(self, rng: random.Random) -> RegionMap:
        entry = self._entry
        longest = rng.randint(*entry.longest)
        if self._maps:
            region_map = rng.choice(self._maps)
            height, width = region_map.owners.shape
            factor = longest / max(width, height)
            return scaled(region_map, (max(1, round(width * factor)), max(1, round(height * factor))))
        country = rng.choice(self._countries)
        west, _, east, _ = country.bounds
        if east - west > 180:
            raise Dropped("spans_the_date_line")
        shorter = round(longest * rng.uniform(0.6, 1))
        size = (longest, shorter) if rng.random() < 0.7 else (shorter, longest)
        view = in_the_world(choose_view(country, size, entry.zoom, rng))
        return window_of_countries(self._countries, view, self._names)

    def _choose_face(self, names: dict[int, str], rng: random.Random) -> tuple[FontFace, dict[int, str]]:
        """A font that has the characters of most of the names, and those names."""
        covered = [{number: name for number, name in names.items() if face.covers(name)} for face in self._faces]
        most = max(map(len, covered))
        chosen = rng.choice([index for index, each in enumerate(covered) if len(each) == most])
        return self._faces[chosen], covered[chosen]

    def _names_elsewhere(self, region_map: RegionMap, language: Language, rng: random.Random) -> list[str]:
        """Names of regions that are not on the map."""
        regions = (region.names for region in rng.choice(self._maps).regions) if self._maps else self._names.values()
        present = {name.casefold() for region in region_map.regions for name in region.names.values()}
        return [
            names[language]
            for names in regions
            if language in names and present.isdisjoint(map(str.casefold, names.values()))
        ]


def _check(entry: RegionMapsEntry, context: StepContext) -> CheckRegions:
    maps = AskAboutMaps(entry, context)
    maps.setup()
    return CheckRegions(lambda key: maps.render(context.rng(f"{entry.name}.build", key)))


DOMAIN = Domain(
    RegionMapsEntry,
    steps=(BeamStep("build", version=2, worker=AskAboutMaps, output=Sample),),
    example={"count": 20, "longest": [224, 320]},
    label_check=_check,
)
