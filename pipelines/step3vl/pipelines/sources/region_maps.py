"""Maps whose regions are known to the pixel: those of KGeography, and windows of the world map.

KGeography's maps are pairs of an XML file (`.kgm`), which names the regions and their capitals, and a PNG in which
each region has a colour of its own. Its translations are GNU message catalogs (`.mo`).
"""

import gettext
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from step3vl.data.errors import UserError
from step3vl.data.sample import Size
from step3vl.pipelines.core.phrasings import Language

Owners = npt.NDArray[np.int16]
LAND, WATER = -1, -2
"""Owners of pixels that belong to no region."""

_BORDER = re.compile(r"\b(frontier|border|boundary|coast)", re.IGNORECASE)
_WATER = re.compile(r"\b(water|sea|ocean|lake|river|bay|gulf|strait|channel)s?\b", re.IGNORECASE)
_UNKNOWN = -3  # lines between regions, and colours that the file does not declare


class Region(NamedTuple):
    """A region's names and those of its capital, by language; a language may be missing, and the capital unknown."""

    names: Mapping[Language, str]
    capitals: Mapping[Language, str]


class RegionMap(NamedTuple):
    """A map: its regions, and which of them each pixel belongs to (their number, `LAND` or `WATER`)."""

    name: str
    regions: Sequence[Region]
    owners: Owners


def load_region_map(
    path: Path, images: Mapping[str, Path], translations: Mapping[Language, gettext.NullTranslations]
) -> RegionMap:
    """Read a map of KGeography.

    What the file ignores is land or water of nobody, or a border.

    Args:
        path: The `.kgm` file.
        images: PNG files by name; the map's is among them.
        translations: Of the names, by language.

    Raises:
        UserError: The file is something else, its image is missing, or it has no region.
    """
    try:
        root = ElementTree.fromstring(path.read_bytes())
        image = images[_text(root, "mapFile")]
        divisions = [(_text(each, "name"), each) for each in root.iter("division")]
        colours = [
            tuple(int(_text(each, f"color/{part}")) for part in ("red", "green", "blue")) for _, each in divisions
        ]
        with PILImage.open(image) as opened:
            pixels = np.asarray(opened.convert("RGB")).astype(np.uint32)
    except KeyError as error:
        raise UserError(f"{path}: its image {error} is not among the files; add a pattern that matches it") from None
    except (ElementTree.ParseError, ValueError, OSError) as error:
        raise UserError(f"{path} is not a map of KGeography: {error}; remove it from the pattern") from None
    packed = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    owners = np.full(packed.shape, _UNKNOWN, np.int16)
    regions: list[Region] = []
    for (name, division), (red, green, blue) in zip(divisions, colours, strict=True):
        ignored = _text(division, "ignore", "no")
        # What may be clicked, but has no capital or flag to ask for, is a region as well, or a sea.
        if ignored == "no" or (ignored != "yes" and not _WATER.search(name)):
            owner = len(regions)
            capital = _text(division, "capital", "")
            regions.append(Region(_names(name, path, translations), _names(capital, path, translations)))
        else:
            owner = _UNKNOWN if _BORDER.search(name) else WATER if _WATER.search(name) else LAND
        owners[packed == (red << 16 | green << 8 | blue)] = owner
    if not regions:
        raise UserError(f"{path} has no region to ask about; remove it from the pattern")
    return RegionMap(_text(root, "name"), regions, _without_borders(owners))


def load_translations(path: Path) -> gettext.NullTranslations:
    """Read a message catalog. Raises UserError when the file is none."""
    try:
        with path.open("rb") as file:
            return gettext.GNUTranslations(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a message catalog (.mo): {error}") from None


def country_names(name: str, languages: Sequence[Language]) -> dict[Language, str]:
    """A country's name in some languages, from the Unicode CLDR; English is the name given.

    Args:
        name: In English, as the CLDR has it or it is in English alone.
        languages: Those asked for.
    """
    names: dict[Language, str] = {}
    for language in languages:
        translated = name if language == "en" else _territories(language).get(name)
        if translated:
            names[language] = translated
    return names


@cache
def _territories(language: Language) -> dict[str, str]:
    from babel import Locale

    english, other = Locale("en").territories, Locale(language).territories
    return {name: other[code] for code, name in english.items() if len(code) == 2 and code in other}


def scaled(region_map: RegionMap, size: Size) -> RegionMap:
    """The map at another size, with smooth borders.

    Each region's mask is resized by itself, and a pixel belongs to the one that covers most of it.

    Args:
        region_map: The map.
        size: Width and height.
    """
    best = np.full((size[1], size[0]), -1.0, np.float32)
    owners = np.empty((size[1], size[0]), np.int16)
    for owner in np.unique(region_map.owners):
        covered = cv2.resize((region_map.owners == owner).astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        nearer = covered > best
        owners[nearer], best[nearer] = owner, covered[nearer]
    return region_map._replace(owners=owners)


def contacts(owners: Owners) -> Counter[tuple[int, int]]:
    """How many pixels of each two regions lie side by side; the smaller number comes first."""
    counts: Counter[tuple[int, int]] = Counter()
    for first, second in ((owners[:, :-1], owners[:, 1:]), (owners[:-1], owners[1:])):
        meet = (first != second) & (first >= 0) & (second >= 0)
        pairs = np.sort(np.stack([first[meet], second[meet]]), axis=0)
        keys, numbers = np.unique(pairs, axis=1, return_counts=True)
        for (a, b), number in zip(keys.T.tolist(), numbers.tolist(), strict=True):
            counts[a, b] += number
    return counts


def _text(element: ElementTree.Element, path: str, default: str | None = None) -> str:
    text = element.findtext(path, default)
    if text is None:
        raise ValueError(f"no <{path}> in <{element.tag}>")
    return text.strip()


def _names(name: str, path: Path, translations: Mapping[Language, gettext.NullTranslations]) -> dict[Language, str]:
    if not name:
        return {}
    names: dict[Language, str] = {"en": name}
    for language, catalog in translations.items():
        translated = catalog.pgettext(path.name, name)
        if translated != name:
            names[language] = translated
    return names


def _without_borders(owners: Owners) -> Owners:
    """Give each pixel of a border, or of an undeclared colour, to what lies nearest: borders are painted again."""
    known = owners != _UNKNOWN
    if not known.any() or known.all():
        return np.where(known, owners, np.int16(LAND))
    _, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.empty(int(labels.max()) + 1, np.int16)
    of_label[labels[known]] = owners[known]
    return np.asarray(of_label[labels], np.int16)
