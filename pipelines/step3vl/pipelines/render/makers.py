"""The makers of figures by tool."""

from collections.abc import Callable

from step3vl.pipelines.render.circuits import CircuitMaker
from step3vl.pipelines.render.figures import (
    DiagramMaker,
    FigureMaker,
    FormulaMaker,
    PlotMaker,
    Supply,
    TableMaker,
    Tool,
    VegaMaker,
)
from step3vl.pipelines.render.infographics import InfographicMaker
from step3vl.pipelines.render.mermaid import MermaidMaker
from step3vl.pipelines.render.molecules import MoleculeMaker
from step3vl.pipelines.render.music import MusicMaker
from step3vl.pipelines.render.tikz import TikzMaker

MAKERS: dict[Tool, Callable[[Supply], FigureMaker]] = {
    "vega_lite": VegaMaker,
    "matplotlib": PlotMaker,
    "graphviz": DiagramMaker,
    "formula": FormulaMaker,
    "table": TableMaker,
    "molecule": MoleculeMaker,
    "circuit": CircuitMaker,
    "infographic": InfographicMaker,
    "music": MusicMaker,
    "mermaid": MermaidMaker,
    "tikz": TikzMaker,
}
