"""The makers of figures by tool."""

from collections.abc import Callable

from step3vl.pipelines.render.figures.circuits import CircuitMaker
from step3vl.pipelines.render.figures.figures import (
    DiagramMaker,
    FigureMaker,
    FormulaMaker,
    PlotlyMaker,
    PlotMaker,
    Supply,
    TableMaker,
    Tool,
    VegaMaker,
)
from step3vl.pipelines.render.figures.infographics import InfographicMaker
from step3vl.pipelines.render.figures.mermaid import MermaidMaker
from step3vl.pipelines.render.figures.molecules import MoleculeMaker
from step3vl.pipelines.render.figures.music import MusicMaker
from step3vl.pipelines.render.figures.tikz import TikzMaker

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
    "plotly": PlotlyMaker,
}
