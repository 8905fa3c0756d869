"""Chemical structures."""

import random

import pytest

from step3vl.pipelines.core.steps import Dropped, rng_for
from step3vl.pipelines.render.figures.figures import FigureOptions, MadeFigure, Supply
from step3vl.pipelines.render.figures.molecules import MoleculeMaker, database
from step3vl.pipelines.render.fonts import FontFamily

Chem = pytest.importorskip("rdkit.Chem")


@pytest.fixture(scope="module")
def maker(families: list[FontFamily]) -> MoleculeMaker:
    return MoleculeMaker(Supply(families, FigureOptions(("en",), (240, 300), (180, 240), 0.0, ()), []))


def made(maker: MoleculeMaker, family: str, number: int) -> list[MadeFigure]:
    figures = []
    for seed in range(100):
        try:
            figures.append(maker.make(family, rng_for(family, seed)))
        except Dropped:
            continue
        if len(figures) == number:
            break
    return figures


@pytest.mark.parametrize("family", ["database", "analogue", "stereo"])
def test_labels_are_canonical_and_every_labelled_atom_has_a_box(maker: MoleculeMaker, family: str) -> None:
    figures = made(maker, family, 6)
    assert len({figure.code for figure in figures}) == 6
    for figure in figures:
        molecule = Chem.MolFromSmiles(figure.code)
        assert Chem.MolToSmiles(molecule) == figure.code
        hetero = sorted(a.GetSymbol() for a in molecule.GetAtoms() if a.GetSymbol() != "C" or a.GetFormalCharge())
        boxes = [element for element in figure.figure.elements if element.role == "atom"]
        assert sorted(element.text for element in boxes) == hetero
        bonds = [element for element in figure.figure.elements if element.role == "mark"]
        assert len(bonds) == molecule.GetNumBonds()


def test_stereo_labels_say_a_configuration(maker: MoleculeMaker) -> None:
    assert all(set(figure.code) & set("@/\\") for figure in made(maker, "stereo", 5))


def test_the_database_is_the_one_that_rdkit_carries() -> None:
    assert len(database()) > 4000 and database()[0] == "CC1=CC(=O)C=CC1=O"


def test_a_structure_that_reads_as_another_molecule_is_dropped(
    maker: MoleculeMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maker, "_chem", _Wrong(Chem))
    with pytest.raises(Dropped, match="structure_differs"):
        for seed in range(20):
            try:
                maker.make("database", random.Random(seed))
            except Dropped as error:
                if error.reason == "structure_differs":
                    raise


class _Wrong:
    """RDKit, except that it reads ethane from every molfile."""

    def __init__(self, chem: object) -> None:
        self._chem_module = chem

    def __getattr__(self, name: str) -> object:
        if name == "MolFromMolBlock":
            return lambda block: Chem.MolFromSmiles("CC")
        return getattr(self._chem_module, name)
