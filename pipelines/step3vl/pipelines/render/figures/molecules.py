"""Chemical structures by RDKit, and the proof that an image shows the molecule of its SMILES.

Molecules are those of the open NCI database, of which RDKit carries five thousand, and analogues of them with further
substituents. What is drawn is written as a molfile (plane coordinates, bonds and wedges, as a chemist sees them) and
read again: the same canonical SMILES must come out. Bonds and labels are looked up in the pixels.

Source: the NCI open database (public domain), `Data/NCI/first_5K.smi` of RDKit.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

from PIL import Image as PILImage

from step3vl.data.optional import require
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.colours import contrast, rgb
from step3vl.pipelines.render.figures.figure import Element, Figure, encode_png, is_inside, read_png
from step3vl.pipelines.render.figures.figures import MadeFigure, Supply
from step3vl.pipelines.sources.tables.real_tables import PUBLIC_DOMAIN

_ATOMS = (6, 38)  # without hydrogens, least and most
_BONDS = ("#0f0f0f", "#000000", "#222222", "#1b2a41")
_NEAREST = 0.45  # of a bond's length that atoms must be apart
_SEEN = 3  # pixels around the middle of a bond in which there is ink
_INK = 60  # difference of a pixel from the paper, summed over the channels
_SUBSTITUENTS = (
    *("C", "CC", "C(C)C", "C(C)(C)C", "OC", "OCC", "O", "N", "NC", "N(C)C", "F", "Cl", "Br", "I", "C#N", "C(F)(F)F"),
    *("C(=O)O", "C(=O)OC", "C(=O)N", "C(C)=O", "[N+](=O)[O-]", "S(=O)(=O)N", "S(C)(=O)=O", "SC", "C=C", "C#C"),
    *("c1ccccc1", "c1ccncc1", "C1CC1", "C1CCCC1", "C1CCCCC1", "N1CCOCC1", "N1CCCC1", "c1ccco1", "c1cccs1"),
    *("OC(F)(F)F", "OC(C)=O", "NC(C)=O", "NS(C)(=O)=O", "CO", "CN", "CC(=O)O", "C=O", "OCc1ccccc1", "B(O)O"),
)
_TRIES = 12  # molecules that are looked at for one with stereocentres
_LEGEND = 30  # pixels at the bottom that it takes
_LEGENDS = ("{n}", "{n}a", "Compound {n}", "({n})", "Fig. {n}", "{n}b", "化合物 {n}")


@dataclass(frozen=True)
class Depiction:
    """How a structure looks.

    Attributes:
        paper: Colour of the background.
        ink: Of bonds and carbon.
        coloured: Whether elements have their colours.
        bond: Length of a bond in pixels.
        line: Width of a bond in pixels.
        font: File of the font.
        comic: Whether lines are wavy, as if drawn by hand.
        methyl: Whether the ends of chains are labelled.
        turn: Degrees.
        coordgen: Whether another layout is used.
        legend: Below the structure; may be empty.
        padding: Around it, as a fraction.
    """

    paper: str
    ink: str
    coloured: bool
    bond: int
    line: float
    font: Path
    comic: bool
    methyl: bool
    turn: int
    coordgen: bool
    legend: str
    padding: float


class MoleculeMaker:
    """Chemical structures as SMILES."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply
        self._chem = require("rdkit.Chem", "pipelines")
        require("rdkit.Chem.rdDepictor", "pipelines")
        self._draw = require("rdkit.Chem.Draw.rdMolDraw2D", "pipelines")
        require("rdkit.RDLogger", "pipelines").DisableLog("rdApp.*")  # of every odd molecule of the database

    def families(self) -> list[str]:
        return ["database", "analogue", "stereo"]

    def make(self, family: str, rng: random.Random) -> MadeFigure:
        molecule, uri = self._molecule(family, rng)
        smiles = self._chem.MolToSmiles(molecule)
        depiction = pick_depiction(self._supply, rng)
        figure = self._figure(self._chem.MolFromSmiles(smiles), smiles, depiction, rng)
        traits = {
            "font": depiction.font.stem,
            "colours": "elements" if depiction.coloured else "one",
            "lines": "wavy" if depiction.comic else "straight",
        }
        return MadeFigure(f"molecule.{family}", "smiles", smiles, "", "", figure, uri, PUBLIC_DOMAIN, traits=traits)

    def _molecule(self, family: str, rng: random.Random) -> tuple[Any, str]:
        """A molecule and where it is from."""
        number = rng.randrange(len(database()))
        molecule = self._chem.MolFromSmiles(database()[number])
        if molecule is None or len(self._chem.GetMolFrags(molecule)) > 1:
            raise Dropped("salt_or_mixture")
        if family == "analogue":
            for _ in range(rng.randint(1, 3)):
                molecule = self._substituted(molecule, rng)
        if family == "stereo":
            for _ in range(_TRIES):
                if isomer := self._with_stereo(molecule, rng):
                    break
                number = rng.randrange(len(database()))
                molecule = self._chem.MolFromSmiles(database()[number]) or molecule
            if isomer is None:
                raise Dropped("no_stereocentre")
            molecule = isomer
        if not _ATOMS[0] <= molecule.GetNumHeavyAtoms() <= _ATOMS[1]:
            raise Dropped("too_few_or_many_atoms")
        return molecule, f"rdkit:NCI/first_5K.smi#{number}"

    def _substituted(self, molecule: Any, rng: random.Random) -> Any:
        """A molecule with a substituent in the place of a hydrogen."""
        places = [
            atom.GetIdx()
            for atom in molecule.GetAtoms()
            if atom.GetTotalNumHs() > 0 and atom.GetSymbol() in ("C", "N")
        ]
        if not places:
            raise Dropped("no_place_for_a_substituent")
        place, count = rng.choice(places), molecule.GetNumAtoms()
        joined = self._chem.RWMol(
            self._chem.CombineMols(molecule, self._chem.MolFromSmiles(rng.choice(_SUBSTITUENTS)))
        )
        joined.AddBond(place, count, self._chem.BondType.SINGLE)
        atom = joined.GetAtomWithIdx(place)
        atom.SetNumExplicitHs(max(0, atom.GetNumExplicitHs() - 1))
        if self._chem.SanitizeMol(joined, catchErrors=True):
            raise Dropped("no_valid_analogue")
        return joined.GetMol()

    def _with_stereo(self, molecule: Any, rng: random.Random) -> Any:
        """The molecule with a random configuration of all its stereocentres and double bonds, if it has any."""
        enumerators = require("rdkit.Chem.EnumerateStereoisomers", "pipelines")
        options = enumerators.StereoEnumerationOptions(maxIsomers=1, rand=rng, tryEmbedding=False, unique=True)
        isomer = next(iter(enumerators.EnumerateStereoisomers(molecule, options)), None)
        smiles = "" if isomer is None or "." in (text := self._chem.MolToSmiles(isomer)) else text
        return isomer if any(mark in smiles for mark in "@/\\") else None

    def _figure(self, molecule: Any, smiles: str, depiction: Depiction, rng: random.Random) -> Figure:
        """Render a molecule and prove that the image shows it.

        Raises:
            Dropped: The image does not show the molecule, or not well.
        """
        depictor = require("rdkit.Chem.rdDepictor", "pipelines")
        depictor.SetPreferCoordGen(depiction.coordgen)
        depictor.Compute2DCoords(molecule)
        _turn(molecule, depiction.turn, rng.random() < 0.5)
        drawn = self._draw.PrepareMolForDrawing(molecule, kekulize=True, addChiralHs=False, wedgeBonds=True)
        read = self._chem.MolFromMolBlock(self._chem.MolToMolBlock(drawn))
        if read is None or self._chem.MolToSmiles(read) != smiles:
            raise Dropped("structure_differs")
        _check_layout(drawn)
        drawer = self._drawer(drawn, depiction)
        pixels = read_png(drawer.GetDrawingText())
        places = [tuple(drawer.GetDrawCoords(i)) for i in range(drawn.GetNumAtoms())]
        elements = tuple(_elements(drawn, places, depiction))
        _check_pixels(drawn, places, elements, depiction, pixels)
        return Figure(encode_png(pixels), pixels.size, elements, 0.0)

    def _drawer(self, drawn: Any, depiction: Depiction) -> Any:
        drawer = self._draw.MolDraw2DCairo(-1, -1)
        options = drawer.drawOptions()
        paper, ink = (tuple(channel / 255 for channel in rgb(colour)) for colour in (depiction.paper, depiction.ink))
        options.setBackgroundColour(paper)
        if not depiction.coloured:
            options.setAtomPalette({-1: ink, 0: ink, **dict.fromkeys(range(1, 119), ink)})
        else:
            options.updateAtomPalette({6: ink, -1: ink, 1: ink, 0: ink})
        options.setLegendColour(ink)
        options.scalingFactor = depiction.bond
        options.fixedBondLength = depiction.bond
        options.bondLineWidth = depiction.line
        options.scaleBondWidth = False
        options.fontFile = str(depiction.font)
        options.minFontSize, options.maxFontSize = 11, 40
        options.comicMode = depiction.comic
        options.explicitMethyl = depiction.methyl
        options.padding = depiction.padding
        options.prepareMolsBeforeDrawing = False
        options.legendFontSize = 16
        drawer.DrawMolecule(drawn, legend=depiction.legend)
        drawer.FinishDrawing()
        return drawer


@lru_cache(1)
def database() -> tuple[str, ...]:
    """The SMILES of the molecules that RDKit carries."""
    folder = Path(require("rdkit.RDConfig", "pipelines").RDDataDir)
    return tuple(
        line.split()[0] for line in (folder / "NCI" / "first_5K.smi").read_text().splitlines() if line.strip()
    )


def pick_depiction(supply: Supply, rng: random.Random) -> Depiction:
    """A random look, from the style space of the charts.

    Args:
        supply: Of fonts.
        rng: Random numbers.
    """
    style = supply.style("CNOSPFClBrI0123456789+−", rng)
    on_white = rng.random() < 0.5
    paper, ink = ("#ffffff", rng.choice(_BONDS)) if on_white else (style.background, style.ink)
    legend = rng.choice(_LEGENDS).format(n=rng.randint(1, 60)) if rng.random() < 0.2 else ""
    if not style.font.covers(legend):
        legend = ""
    return Depiction(
        paper=paper,
        ink=ink,
        coloured=contrast(paper, "#000000") > 8 and rng.random() < 0.5,
        bond=rng.randint(24, 44),
        line=rng.choice((1.0, 1.5, 2.0, 2.5, 3.0)),
        font=style.font.regular.path,
        comic=rng.random() < 0.1,
        methyl=rng.random() < 0.15,
        turn=rng.choice((0, 0, 30, 60, 90, rng.randrange(360))),
        coordgen=rng.random() < 0.4,
        legend=legend,
        padding=rng.choice((0.04, 0.06, 0.1)),
    )


def _turn(molecule: Any, degrees: int, mirrored: bool) -> None:
    """Turn the layout, and mirror it; wedges are chosen afterwards, so the configuration stays."""
    conformer = molecule.GetConformer()
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    for i in range(molecule.GetNumAtoms()):
        place = conformer.GetAtomPosition(i)
        x = -place.x if mirrored else place.x
        conformer.SetAtomPosition(i, (x * cos - place.y * sin, x * sin + place.y * cos, 0.0))


def _check_layout(molecule: Any) -> None:
    """Raise Dropped where atoms are close to each other or bonds cross."""
    conformer = molecule.GetConformer()
    places = [(point.x, point.y) for point in map(conformer.GetAtomPosition, range(molecule.GetNumAtoms()))]
    bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
    length = sorted(math.dist(places[a], places[b]) for a, b in bonds)[len(bonds) // 2]
    for first, second in combinations(places, 2):
        if math.dist(first, second) < _NEAREST * length:
            raise Dropped("atoms_overlap")
    for (a, b), (c, d) in combinations(bonds, 2):
        if len({a, b, c, d}) == 4 and _cross(places[a], places[b], places[c], places[d]):
            raise Dropped("bonds_cross")


def _cross(a: Sequence[float], b: Sequence[float], c: Sequence[float], d: Sequence[float]) -> bool:
    def side(p: Sequence[float], q: Sequence[float], r: Sequence[float]) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


def _elements(molecule: Any, places: Sequence[Sequence[float]], depiction: Depiction) -> Iterator[Element]:
    """The atoms that have a label, and the bonds as marks."""
    radius = 0.32 * depiction.bond
    for atom, (x, y) in zip(molecule.GetAtoms(), places, strict=True):
        if atom.GetSymbol() != "C" or atom.GetFormalCharge():
            yield Element("atom", atom.GetSymbol(), (x - radius, y - radius, x + radius, y + radius))
    for bond in molecule.GetBonds():
        (x1, y1), (x2, y2) = places[bond.GetBeginAtomIdx()], places[bond.GetEndAtomIdx()]
        yield Element("mark", bond.GetBondType().name.lower(), (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)))


def _check_pixels(
    molecule: Any,
    places: Sequence[Sequence[float]],
    elements: Sequence[Element],
    depiction: Depiction,
    pixels: PILImage.Image,
) -> None:
    """Raise Dropped unless bonds and labels are inside the image and have ink."""
    for element in elements:
        if element.role == "atom" and not is_inside(element.box, pixels.size):
            raise Dropped("text_clipped")
        if element.role == "atom" and not _has_ink(pixels, element.box, depiction.paper):
            raise Dropped("label_not_visible")
    if depiction.legend and max(y for _, y in places) > pixels.height - _LEGEND - 0.4 * depiction.bond:
        raise Dropped("legend_over_structure")
    for bond in molecule.GetBonds():
        ends = places[bond.GetBeginAtomIdx()], places[bond.GetEndAtomIdx()]
        x, y = ((a + b) / 2 for a, b in zip(*ends, strict=True))
        if not _has_ink(pixels, (x - _SEEN, y - _SEEN, x + _SEEN, y + _SEEN), depiction.paper):
            raise Dropped("bond_not_visible")


def _has_ink(pixels: PILImage.Image, box: Sequence[float], paper: str) -> bool:
    part = pixels.crop((math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3])))
    colours = part.getcolors(part.width * part.height) or []
    background = rgb(paper)
    return any(
        sum(abs(a - b) for a, b in zip(colour, background, strict=True)) > _INK
        for _, colour in colours
        if isinstance(colour, tuple)
    )
