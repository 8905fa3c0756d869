"""Circuit diagrams by schemdraw, and the proof that an image shows what its code says.

The label itself is run: code that names nothing but schemdraw. Where its components begin and end says which are
connected; that must be the circuit that the code was written from. Texts are found in the pixels, and have to be
whole, apart from one another and clear of lines.
"""

import random
import re
from collections import Counter
from typing import Any

from step3vl.data.optional import require
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.charts.chart_style import ChartStyle
from step3vl.pipelines.render.charts.sandbox import check_code, run_script
from step3vl.pipelines.render.figures.circuit_kinds import CIRCUITS, Circuit, Terminal
from step3vl.pipelines.render.figures.figure import Element, Figure, check_texts, encode_png
from step3vl.pipelines.render.figures.figures import MadeFigure, Supply, style_traits
from step3vl.pipelines.render.svg import SvgRenderer

_MODULES = ("schemdraw", "schemdraw.elements", "schemdraw.parsing")
_WIRES = ("Line", "Dot", "Ground", "GroundSignal", "GroundChassis")


class CircuitMaker:
    """Circuits as Python code for schemdraw."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply
        self._schemdraw = require("schemdraw", "pipelines")
        require("schemdraw.elements", "pipelines")
        require("schemdraw.parsing", "pipelines")
        self._schemdraw.use("svg")
        self._style = require("schemdraw.schemdraw", "pipelines").schemdrawstyle
        self._renderer = SvgRenderer(supply.families)
        self._ohm = "Ω" if any(family.covers("Ω") for family in supply.families) else ""

    def families(self) -> list[str]:
        return list(CIRCUITS)

    def make(self, family: str, rng: random.Random) -> MadeFigure:
        circuit = CIRCUITS[family](rng, self._ohm)
        texts = "".join(circuit.texts)
        style = self._supply.style(texts, rng)
        code = write_code(circuit, style, rng)
        figure = self._figure(circuit, code, rng.choice((1.0, 1.25, 1.5, 1.75)), style.background)
        return MadeFigure(
            f"circuit.{family}", "schemdraw", code, circuit.data(), "", figure, "generated", "CC0-1.0",
            traits=style_traits(style, texts),
        )  # fmt: skip

    def run(self, code: str) -> Any:
        """The drawing that a script makes.

        Args:
            code: The script.

        Raises:
            ValueError: It imports another module or touches a private name.
        """
        self._schemdraw.config()  # the defaults, whatever the script before has set
        for name in ("bgcolor", "mathfont"):  # which `config` does not reset
            self._style.pop(name, None)
        return run_script(check_code(code, _MODULES), _MODULES)["d"]

    def _figure(self, circuit: Circuit, code: str, zoom: float, background: str) -> Figure:
        drawing = self.run(code)
        if not circuit.expression and read_nodes(drawing) != circuit.nodes:
            raise Dropped("connections_differ")
        # Without units: resvg takes no sizes in points, and a unit of the image is then a pixel.
        svg = re.sub(r'(height|width)="([\d.]+)pt"', r'\1="\2"', drawing.get_imagedata("svg").decode(), count=2)
        pixels = self._renderer.pixels(svg, zoom, background)
        texts = self._renderer.texts(svg, zoom)
        if Counter(text.text for text in texts) != Counter(circuit.texts):
            raise Dropped("texts_differ")
        elements = tuple(Element("component_label", text.text, text.box) for text in texts)
        check_texts(elements, pixels.size)
        self._renderer.check_clear(svg, zoom, texts, background)
        return Figure(encode_png(pixels), pixels.size, elements, 0.0)


def write_code(circuit: Circuit, style: ChartStyle, rng: random.Random) -> str:
    """The script of a circuit in a style."""
    settings = {
        "unit": rng.choice(("2.5", "3", "3", "3.5")),
        "fontsize": str(rng.choice((11, 12, 13, 14))),
        "lw": str(rng.choice((1, 1.5, 2, 2.5))),
        "font": f'"{style.font.name}"',
    }
    if style.ink != "#000000":
        settings["color"] = f'"{style.ink}"'
    if style.background != "#ffffff":
        settings["bgcolor"] = f'"{style.background}"'
    configured = ", ".join(f"{name}={value}" for name, value in settings.items())
    if circuit.expression:
        head = ["import schemdraw", "import schemdraw.parsing", "", f"schemdraw.config({configured})"]
        return "\n".join((*head, *circuit.body)) + "\n"
    head = ["import schemdraw", "import schemdraw.elements as elm", "", f"schemdraw.config({configured})"]
    body = [f"    {line}" for line in circuit.body]
    return "\n".join((*head, "with schemdraw.Drawing(show=False) as d:", *body)) + "\n"


def read_nodes(drawing: Any) -> list[frozenset[Terminal]]:
    """Which terminals are connected, as the places of a drawing's elements say.

    Components are named by the first line of their label.
    """
    parents: dict[tuple[float, float], tuple[float, float]] = {}

    def root(point: tuple[float, float]) -> tuple[float, float]:
        while parents.setdefault(point, point) != point:
            point = parents[point]
        return point

    terminals: list[tuple[Terminal, tuple[float, float]]] = []
    for element in drawing.elements:
        if "start" not in element.absanchors:
            continue
        ends = [_rounded(element.absanchors[name]) for name in ("start", "end")]
        if type(element).__name__ in _WIRES:
            parents[root(ends[0])] = root(ends[1])
            continue
        name = str(element._userlabels[0].label).partition("\n")[0]
        terminals += [((name, number), end) for number, end in enumerate(ends)]
    nodes: dict[tuple[float, float], set[Terminal]] = {}
    for terminal, point in terminals:
        nodes.setdefault(root(point), set()).add(terminal)
    return sorted((frozenset(node) for node in nodes.values()), key=sorted)


def _rounded(point: Any) -> tuple[float, float]:
    return round(float(point[0]), 3) + 0.0, round(float(point[1]), 3) + 0.0
