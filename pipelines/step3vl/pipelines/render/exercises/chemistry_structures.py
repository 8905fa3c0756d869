"""Skeletal formulas of organic compounds, laid out by RDKit and rendered by us: formula, mass, atoms, groups, names.

The figure is read back as a graph of bonds and atom labels; the molecular formula that follows by valence alone must
be the one that RDKit computes from the SMILES.
"""

import math
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from step3vl.data.optional import require
from step3vl.pipelines.render.exercises.chemistry_compounds import COMPOUNDS, FRAGMENTS, GROUPS, HYDROCARBONS, MASSES
from step3vl.pipelines.render.exercises.chemistry_equations import SUBSCRIPTS, atoms_of
from step3vl.pipelines.render.exercises.exercise import Draft, Exercise, Unsuited
from step3vl.pipelines.render.exercises.exercise_values import show
from step3vl.pipelines.render.exercises.sketch import XY
from step3vl.pipelines.render.exercises.sketch_svg import Reading

_WHOLE = 9.0  # extent of a molecule that takes all of the style's side; a bond is 1.5 long
_VALENCES = {"C": 4, "N": 3, "O": 2, "S": 2, "F": 1, "Cl": 1, "Br": 1, "I": 1}


def _chem() -> Any:
    return require("rdkit.Chem", "pipelines")


def _layout(molecule: Any) -> tuple[tuple[str, int, XY], ...]:
    """Symbol, hydrogens and place of each atom."""
    require("rdkit.Chem.rdDepictor", "pipelines").Compute2DCoords(molecule)
    conformer = molecule.GetConformer()
    at = [conformer.GetAtomPosition(i) for i in range(molecule.GetNumAtoms())]
    return tuple(
        (atom.GetSymbol(), atom.GetTotalNumHs(), (p.x, p.y)) for atom, p in zip(molecule.GetAtoms(), at, strict=True)
    )


def _molecule(smiles: str) -> Any:
    chem = _chem()
    molecule = chem.MolFromSmiles(smiles)
    chem.Kekulize(molecule, clearAromaticFlags=True)
    return molecule


def _formula(smiles: str) -> str:
    text: str = require("rdkit.Chem.rdMolDescriptors", "pipelines").CalcMolFormula(_molecule(smiles))
    return text


def _hill(counts: Counter[str]) -> str:
    """The formula in Hill's order: carbon, hydrogen, then by the alphabet."""
    order = [*(s for s in ("C", "H") if counts["C"]), *sorted(s for s in counts if not counts["C"] or s not in "CH")]
    return "".join(f"{s}{counts[s] if counts[s] > 1 else ''}" for s in order if counts[s])


def render_molecule(d: Draft, smiles: str) -> list[str]:
    """Render a skeletal formula: bonds as strokes that name their atoms, hetero atoms as labels.

    Strokes of no length, which are not visible, tell where the hetero atoms are.

    Returns:
        The symbols of the hetero atoms, in the order of these strokes.
    """
    molecule = _molecule(smiles)
    atoms = _layout(molecule)
    turn = math.radians(d.rng.choice((0, 0, 30, -30, 180)))
    cos, sin = math.cos(turn), math.sin(turn)
    at = [(x * cos - y * sin, x * sin + y * cos) for _, _, (x, y) in atoms]
    spread = [[p[i] for p in at] for i in (0, 1)]
    middle = [(max(axis) + min(axis)) / 2 for axis in spread]
    d.sketch.share = min(1.3, max(0.25, max(max(axis) - min(axis) for axis in spread) / _WHOLE))
    labelled = []
    for i, (symbol, hydrogens, _) in enumerate(atoms):
        neighbours = [b.GetOtherAtomIdx(i) for b in molecule.GetAtomWithIdx(i).GetBonds()]
        if symbol == "C":
            labelled.append(False)
            continue
        labelled.append(True)
        hs = "" if not hydrogens else "H" + (str(hydrogens).translate(SUBSCRIPTS) if hydrogens > 1 else "")
        left = bool(hs) and all(at[n][0] > at[i][0] + 0.1 for n in neighbours)
        text = hs + symbol if left else symbol + hs
        d.sketch.text(text, at[i], (-0.3 * (len(hs) > 0) if left else 0.3 * (len(hs) > 0), 0), over=True)
    for k, bond in enumerate(molecule.GetBonds()):
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        order = int(bond.GetBondTypeAsDouble())
        a, b = _shortened(at[i], at[j], labelled[i], labelled[j])
        length = math.dist(at[i], at[j])
        v = (at[i][1] - at[j][1]) / length, (at[j][0] - at[i][0]) / length
        inward = 1 if (middle[0] - a[0]) * v[0] + (middle[1] - a[1]) * v[1] > 0 else -1
        shifts = {1: (0.0,), 2: (0.0, 0.22 * inward), 3: (0.0, 0.2, -0.2)}[order]
        if order == 2 and (labelled[i] or labelled[j]):
            shifts = (0.11, -0.11)
        for m, shift in enumerate(shifts):
            trim = 0.16 if m and order == 2 and not (labelled[i] or labelled[j]) else 0.0
            start = a[0] + v[0] * shift + (b[0] - a[0]) * trim, a[1] + v[1] * shift + (b[1] - a[1]) * trim
            end = b[0] + v[0] * shift - (b[0] - a[0]) * trim, b[1] + v[1] * shift - (b[1] - a[1]) * trim
            d.sketch.line(f"bond-{k}-{m}", [start, end], "body")
    d.sketch.points.update({f"atom{i}": p for i, p in enumerate(at)})
    hetero = [(symbol, place) for (symbol, _, _), place in zip(atoms, at, strict=True) if symbol != "C"]
    for k, (_, (x, y)) in enumerate(hetero):
        d.sketch.line(f"label-{k}", [(x - 0.001, y), (x + 0.001, y)], "grid")
    return [symbol for symbol, _ in hetero]


def _shortened(a: XY, b: XY, at_a: bool, at_b: bool) -> tuple[XY, XY]:
    """A bond that leaves room for the labels at its ends."""
    length = math.dist(a, b)
    u = (b[0] - a[0]) / length, (b[1] - a[1]) / length
    gap = 0.42
    start = (a[0] + u[0] * gap, a[1] + u[1] * gap) if at_a else a
    end = (b[0] - u[0] * gap, b[1] - u[1] * gap) if at_b else b
    return start, end


def read_formula(r: Reading, hetero: list[str]) -> str:
    """The molecular formula by the figure: bonds that meet are an atom, and valence gives the hydrogens.

    Args:
        r: The figure.
        hetero: The labels' symbols in the order of rendering; their atoms are where bonds end short of one another.
    """
    bonds: dict[str, list[str]] = {}
    for name in r.names("bond-"):
        bonds.setdefault(name.rsplit("-", 1)[0], []).append(name)
    middles = []
    for names in bonds.values():
        lines = [r.path(name) for name in names]
        first = lines[0]  # that of the axis; the others of its bond stand beside it
        if len(names) == 2 and abs(math.dist(lines[0][0], lines[0][-1]) - math.dist(lines[1][0], lines[1][-1])) < 0.5:
            first = (lines[0] + lines[1]) / 2  # a double bond around its axis
        middles.append((first[0], first[-1], len(names)))
    unit = max(math.dist(a, b) for a, b, _ in middles)
    atoms: list[tuple[tuple[float, float], int]] = []
    for a, b, order in middles:
        for end in (a, b):
            for k, (place, sum_) in enumerate(atoms):
                if math.dist(place, end) < 0.12 * unit:
                    atoms[k] = (place, sum_ + order)
                    break
            else:
                atoms.append(((float(end[0]), float(end[1])), order))
    # Ends that meet nothing are carbons at the end of a chain, or stand before a label.
    counts: Counter[str] = Counter(hetero)
    labels = _label_places(r)
    total_h = 0
    near = 0.75 * unit * 0.42 / 0.58  # from a label to the ends of the bonds before it
    for place, order in atoms:
        if any(math.dist(at, place) < near for at in labels):
            continue
        counts["C"] += 1
        total_h += _VALENCES["C"] - order
    for k, at in enumerate(labels):
        used = sum(order for place, order in atoms if math.dist(at, place) < near)
        total_h += _VALENCES[hetero[k]] - used
    counts["H"] = total_h
    return _hill(counts)


def _label_places(r: Reading) -> list[tuple[float, float]]:
    return [r.centre(name) for name in r.names("label-")]


def _random_smiles(d: Draft) -> str:
    """A made-up but valid molecule of a few fragments."""
    chem = _chem()
    logger = require("rdkit.RDLogger", "pipelines")
    logger.DisableLog("rdApp.*")
    for _ in range(50):
        parts = [d.rng.choice(FRAGMENTS) for _ in range(d.rng.randint(2, 4))]
        smiles = "C" + "".join(parts)
        molecule = chem.MolFromSmiles(smiles)
        if molecule is None or not 4 <= molecule.GetNumAtoms() <= 13:
            continue
        if molecule.HasSubstructMatch(chem.MolFromSmarts("[N,O]~[N,O,Cl]")) or molecule.HasSubstructMatch(
            chem.MolFromSmarts("C(O)O")
        ):
            continue
        return str(chem.MolToSmiles(molecule))
    raise Unsuited


def structure(d: Draft) -> Exercise:
    """What a skeletal formula says: formula, hydrogens, molar mass, unsaturation."""
    known = d.rng.random() < 0.5
    smiles = d.rng.choice(COMPOUNDS).smiles if known else _random_smiles(d)
    formula = _formula(smiles)
    counts = atoms_of(formula)
    hetero = render_molecule(d, smiles)
    d.setting("the skeletal formula of an organic compound", "某有机化合物的键线式")
    d.note(f"Its molecular formula is {formula}.", f"其分子式为{formula}。")

    def confirm(r: Reading) -> bool:
        return read_formula(r, hetero) == formula

    parts = ", ".join(f"{s}: {counts[s]}" for s in counts)
    kind = d.rng.choice(("formula", "hydrogens", "carbons", "mass", "unsaturation"))
    if kind == "formula":
        d.ask("the molecular formula", "分子式")
        d.step(
            f"Count the atoms, with the hydrogens that complete each carbon to four bonds: {parts}.",
            f"数出各原子，每个碳补足四个键：{parts}。",
        )
        wrong = [
            _hill(counts + Counter({"H": 2})),
            _hill(counts - Counter({"H": 2})),
            _hill(counts + Counter({"C": 1})),
            _hill(counts + Counter({"C": 1, "H": 2})),
        ]
        return d.exercise(11, formula, wrong=[w for w in wrong if w != formula], confirm=confirm)
    if kind == "mass":
        mass = sum((MASSES[s] * n for s, n in counts.items()), Fraction(0))
        exact = float(require("rdkit.Chem.Descriptors", "pipelines").MolWt(_molecule(smiles)))
        d.sentence(
            "Use H 1.008, C 12.011, N 14.007, O 15.999, S 32.06, Cl 35.45, Br 79.904, I 126.904.",
            "相对原子质量：H 1.008，C 12.011，N 14.007，O 15.999，S 32.06，Cl 35.45，Br 79.904，I 126.904。",
        )
        d.ask("the molar mass in g/mol", "摩尔质量（g/mol）")
        d.step(f"The molecular formula is {formula}.", f"分子式为{formula}。")
        terms = " + ".join(f"{n} × {show(MASSES[s])}" for s, n in counts.items())
        d.steps.append(f"{terms} = {show(mass)}")
        return d.exercise(
            11,
            mass,
            "g/mol",
            digits=1,
            wrong=[mass - 2 * MASSES["H"], mass - MASSES["C"], mass + MASSES["C"], mass + 2 * MASSES["H"]],
            measure=lambda r: exact,
            confirm=confirm,
            tolerance=0.001,
        )
    if kind == "unsaturation":
        halogens = sum(counts[s] for s in ("F", "Cl", "Br", "I"))
        value = Fraction(2 * counts["C"] + 2 + counts["N"] - counts["H"] - halogens, 2)
        molecule = _molecule(smiles)
        rings = molecule.GetRingInfo().NumRings()
        pi = sum(int(b.GetBondTypeAsDouble()) - 1 for b in molecule.GetBonds())
        d.ask("the degree of unsaturation", "不饱和度")
        d.step(f"Rings: {rings}; pi bonds: {pi}.", f"环：{rings}个；π键：{pi}个。")
        d.steps.append(f"{rings} + {pi} = {show(value)}")
        return d.exercise(
            12,
            value,
            wrong=[value + 1, abs(value - 1), value + 2, Fraction(pi)],
            measure=lambda r: float(rings + pi),
            confirm=confirm,
        )
    symbol, en, zh = ("H", "hydrogen", "氢") if kind == "hydrogens" else ("C", "carbon", "碳")
    value = Fraction(counts[symbol])
    d.ask(f"the number of {en} atoms in the molecule", f"分子中{zh}原子的个数")
    d.step(
        f"The molecular formula is {formula}, so there are {show(value)}.", f"分子式为{formula}，故有{show(value)}个。"
    )
    return d.exercise(
        11,
        value,
        wrong=[value + 1, value - 1, value + 2, abs(value - 2)],
        confirm=confirm,
        measure=lambda r: float(atoms_of(read_formula(r, hetero))[symbol]),
    )


def functional_group(d: Draft) -> Exercise:
    """To which class a compound belongs."""
    compound = d.rng.choice(COMPOUNDS)
    names = {key: (zh if d.language == "zh" else en) for key, (en, zh, _) in GROUPS.items()}
    chem = _chem()
    molecule = chem.MolFromSmiles(compound.smiles)
    matching = {
        key for key, (_, _, smarts) in GROUPS.items() if molecule.HasSubstructMatch(chem.MolFromSmarts(smarts))
    }
    if compound.group not in matching:
        raise ValueError(f"{compound.smiles} is no {compound.group}")
    formula = _formula(compound.smiles)
    hetero = render_molecule(d, compound.smiles)
    answer = names[compound.group]
    others = [names[key] for key in names if key not in matching]
    d.setting("the skeletal formula of an organic compound", "某有机化合物的键线式")
    d.note(f"It is {compound.en}.", f"该化合物是{compound.zh}。")
    d.ask_sentence(
        (
            "To which class of compounds does it belong?",
            "Which class of organic compounds is it?",
            "Name the class of this compound.",
            "Which kind of compound is shown here, by its functional group?",
        ),
        ("该化合物属于哪一类？", "按官能团分类，它属于哪类有机物？", "写出该化合物的类别。", "它是哪一类有机化合物？"),
    )
    d.step(f"The functional group is that of: {answer}.", f"其官能团对应的类别为{answer}。")
    choices = (answer, *d.rng.sample(others, 5))
    return d.exercise(
        11, answer, wrong=list(choices[1:]), choices=choices, confirm=lambda r: read_formula(r, hetero) == formula
    )


def compound_name(d: Draft) -> Exercise:
    """The name of a compound among similar ones."""
    rows = [(c.smiles, c.en, c.zh) for c in COMPOUNDS] + [(a, b, c) for a, b, c in HYDROCARBONS]
    smiles, en, zh = d.rng.choice(rows)
    chem = _chem()
    formula = _formula(smiles)
    size = chem.MolFromSmiles(smiles).GetNumAtoms()
    hetero = render_molecule(d, smiles)
    index = 2 if d.language == "zh" else 1
    near = [row for row in rows if row[0] != smiles and abs(chem.MolFromSmiles(row[0]).GetNumAtoms() - size) <= 1]
    isomers = [row for row in near if _formula(row[0]) == formula]
    wrong = [row[index] for row in dict.fromkeys([*isomers, *d.rng.sample(near, len(near))])][:3]
    answer = zh if d.language == "zh" else en
    d.setting("the skeletal formula of an organic compound", "某有机化合物的键线式")
    d.note(f"It is {en}.", f"该化合物是{zh}。")
    d.ask_sentence(
        (
            "What is its name?",
            "Name the compound.",
            "Which compound is it?",
            "Give the name of this compound.",
            "What is this compound called?",
        ),
        ("写出它的名称。", "该化合物的名称是什么？", "这是哪种化合物？", "请给出该化合物的名称。"),
    )
    d.step(
        f"The molecular formula is {formula}; the skeleton is that of {en}.",
        f"分子式为{formula}，碳架与官能团对应{zh}。",
    )
    return d.exercise(
        11, answer, wrong=wrong, choices=(answer, *wrong), confirm=lambda r: read_formula(r, hetero) == formula
    )


STRUCTURES: dict[str, Callable[[Draft], Exercise]] = {
    "structure": structure,
    "functional_group": functional_group,
    "compound_name": compound_name,
}
