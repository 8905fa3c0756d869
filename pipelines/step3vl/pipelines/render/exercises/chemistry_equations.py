"""Chemical equations with empty boxes, balanced by linear algebra and again by search."""

import re
from collections import Counter
from collections.abc import Callable

import sympy

from step3vl.pipelines.render.exercises.exercise import Draft, Exercise
from step3vl.pipelines.render.exercises.sketch_svg import Reading

_EQUATIONS = (
    "H2 + O2 -> H2O", "N2 + H2 -> NH3", "CH4 + O2 -> CO2 + H2O", "C2H6 + O2 -> CO2 + H2O", "C3H8 + O2 -> CO2 + H2O",
    "C2H5OH + O2 -> CO2 + H2O", "Fe + O2 -> Fe2O3", "Al + O2 -> Al2O3", "Mg + O2 -> MgO", "P + O2 -> P2O5",
    "Na + H2O -> NaOH + H2",
    "K + H2O -> KOH + H2", "Al + HCl -> AlCl3 + H2", "Zn + HCl -> ZnCl2 + H2", "Fe + Cl2 -> FeCl3",
    "KClO3 -> KCl + O2", "H2O2 -> H2O + O2",
    "Fe2O3 + CO -> Fe + CO2", "NH3 + O2 -> NO + H2O", "SO2 + O2 -> SO3", "Ca(OH)2 + HCl -> CaCl2 + H2O",
    "Al(OH)3 + H2SO4 -> Al2(SO4)3 + H2O",
    "NaOH + H2SO4 -> Na2SO4 + H2O", "Cu + AgNO3 -> Cu(NO3)2 + Ag", "Fe3O4 + CO -> Fe + CO2", "PbO2 -> PbO + O2",
    "NaHCO3 -> Na2CO3 + H2O + CO2",
    "C6H12O6 + O2 -> CO2 + H2O", "C4H10 + O2 -> CO2 + H2O", "C2H2 + O2 -> CO2 + H2O",
    "MnO2 + HCl -> MnCl2 + Cl2 + H2O", "Al + Fe2O3 -> Al2O3 + Fe",
    "CaCO3 + HCl -> CaCl2 + H2O + CO2", "H2S + O2 -> SO2 + H2O", "NO2 + H2O -> HNO3 + NO",
    "Na2O2 + H2O -> NaOH + O2", "FeS2 + O2 -> Fe2O3 + SO2",
)  # fmt: skip


SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def atoms_of(formula: str) -> Counter[str]:
    """The atoms of a formula such as `Al2(SO4)3`."""
    stack: list[Counter[str]] = [Counter()]
    for symbol, number in re.findall(r"([A-Z][a-z]?|\)|\()(\d*)", formula):
        if symbol == "(":
            stack.append(Counter())
            continue
        part = stack.pop() if symbol == ")" else Counter({symbol: 1})
        for name, count in part.items():
            stack[-1][name] += count * int(number or 1)
    return stack[0]


def balance(d: Draft) -> Exercise:
    """A coefficient of an equation with empty boxes."""
    text = d.rng.choice(_EQUATIONS)
    left, right = ([f.strip() for f in side.split("+")] for side in text.split("->"))
    species = left + right
    elements = sorted({e for f in species for e in atoms_of(f)})
    matrix = sympy.Matrix(
        [[atoms_of(f)[e] * (1 if i < len(left) else -1) for i, f in enumerate(species)] for e in elements]
    )
    kernel = matrix.nullspace()
    if len(kernel) != 1:
        raise ValueError(f"{text} has no unique balance")
    scale = sympy.ilcm(*(value.q for value in kernel[0]))
    coefficients = [int(value * scale) for value in kernel[0]]
    x = 0.0
    target = d.rng.randrange(len(species))
    with_coefficients = d.rng.random() < 0.3  # other coefficients are given
    for i, formula in enumerate(species):
        box = [(x, -0.5), (x + 0.9, -0.5), (x + 0.9, 0.5), (x, 0.5)]
        d.sketch.line(f"box-{i}", box, "body", closed=True, fill=None)
        if i == target:
            d.sketch.line("marked", box, "grid", closed=True, fill=1)
        elif with_coefficients:
            d.sketch.text(str(coefficients[i]), (x + 0.45, 0), over=True)
        x += 1.05
        d.sketch.text(formula.translate(SUBSCRIPTS), (x, 0), align="left", over=True)
        x += 0.2 + 0.62 * sum(0.6 if c in "()" or c.isdigit() else 0.8 if c.islower() else 1.05 for c in formula)
        if i == len(species) - 1:
            break
        if i == len(left) - 1:
            d.sketch.line("arrow", [(x, 0), (x + 1.0, 0)], "line", arrow=True)
            x += 1.25
        else:
            d.sketch.text("+", (x + 0.25, 0), over=True)
            x += 0.6
    d.sketch.share = x * 0.072
    d.setting(
        "a chemical equation with boxes for the smallest whole-number coefficients",
        "待配平的化学方程式，方框内填最简整数系数",
    )
    total = d.rng.random() < 0.3
    balanced = (
        " + ".join(f"{c if c > 1 else ''}{f}" for c, f in zip(coefficients[: len(left)], left, strict=True))
        + " → "
        + " + ".join(f"{c if c > 1 else ''}{f}" for c, f in zip(coefficients[len(left) :], right, strict=True))
    )
    d.step(f"The balanced equation is {balanced}.", f"配平后为 {balanced}。")
    element = max(elements, key=lambda e: sum(atoms_of(f)[e] > 0 for f in species))
    d.step(f"Check {element}:", f"检查{element}：")
    sides = [
        " + ".join(
            f"{c} × {atoms_of(f)[element]}" for c, f in zip(part, formulas, strict=True) if atoms_of(f)[element]
        )
        for part, formulas in ((coefficients[: len(left)], left), (coefficients[len(left) :], right))
    ]
    d.steps[-1] += f" {sides[0]} = {sides[1]}"
    if total:
        d.ask("the sum of all coefficients", "所有系数之和")
        answer = sum(coefficients)
        d.steps.append(f"{' + '.join(map(str, coefficients))} = {answer}")
    else:
        d.ask(f"the coefficient of {species[target]} in the shaded box", f"阴影方框中{species[target]}的系数")
        answer = coefficients[target]

    def searched(r: Reading) -> float:
        """The smallest coefficients by trying them all."""
        for bound in range(1, 30):
            solution = _search([atoms_of(f) for f in species], len(left), bound, elements)
            if solution:
                return float(sum(solution) if total else solution[target])
        raise ValueError("no coefficients were found")

    wrong = [answer + 1, answer - 1 or 3, answer * 2, answer + 2]
    return d.exercise(9, answer, wrong=wrong, measure=searched, confirm=lambda r: len(r.names("box-")) == len(species))


def _search(atoms: list[Counter[str]], left: int, bound: int, elements: list[str]) -> list[int] | None:
    """Positive coefficients up to a bound that balance every element, of the least sum; None without any."""
    best: list[int] | None = None

    def extend(chosen: list[int]) -> None:
        nonlocal best
        if best is not None and sum(chosen) >= sum(best):
            return
        if len(chosen) == len(atoms):
            if max(chosen) == bound and all(
                sum(c * a[e] * (1 if i < left else -1) for i, (c, a) in enumerate(zip(chosen, atoms, strict=True)))
                == 0
                for e in elements
            ):
                best = list(chosen)
            return
        if len(chosen) == len(atoms) - 1:  # the last one follows from any of its elements
            element = next(iter(atoms[-1]))
            rest = sum(
                c * a[element] * (1 if i < left else -1) for i, (c, a) in enumerate(zip(chosen, atoms, strict=False))
            )
            last, part = divmod(rest, atoms[-1][element])
            if part == 0 and 1 <= last <= bound:
                extend([*chosen, last])
            return
        for coefficient in range(1, bound + 1):
            extend([*chosen, coefficient])

    extend([])
    return best


EQUATIONS: dict[str, Callable[[Draft], Exercise]] = {
    "balance": balance,
}
