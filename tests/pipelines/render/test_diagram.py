import copy

import pytest

from step3vl.pipelines.core.steps import Dropped, rng_for
from step3vl.pipelines.render.figures.diagram import DiagramRenderer
from step3vl.pipelines.render.figures.diagram_kinds import DIAGRAMS
from step3vl.pipelines.render.figures.diagram_parts import pick_diagram_style, record_texts


@pytest.mark.parametrize("name", DIAGRAMS)
def test_graphviz_reads_the_graph_that_was_meant(name: str) -> None:
    renderer, kept = DiagramRenderer(), 0
    for number in range(8):
        rng = rng_for(0, name, number)
        try:
            diagram = DIAGRAMS[name](pick_diagram_style(rng), rng)
            figure = renderer.figure(diagram)
        except Dropped:
            continue
        kept += 1
        assert sum(element.role == "node" for element in figure.elements) == len(diagram.nodes)
        assert renderer.figure(diagram).png == figure.png
        if diagram.table():
            assert diagram.table().count("\n") == len(diagram.edges)
    assert kept >= 4


def test_a_source_with_another_edge_or_label_is_refused() -> None:
    rng = rng_for(0, "flowchart", 0)
    diagram = DIAGRAMS["flowchart"](pick_diagram_style(rng), rng)
    other = copy.deepcopy(diagram)
    other.put("start -> end;")
    with pytest.raises(Dropped, match="edges_differ"):
        DiagramRenderer().figure(other)
    other = copy.deepcopy(diagram)
    other.put("start [label=Begin];")
    with pytest.raises(Dropped, match="nodes_differ"):
        DiagramRenderer().figure(other)


def test_a_wrong_source_says_why() -> None:
    with pytest.raises(ValueError, match="syntax"):
        DiagramRenderer().run("digraph { a -> }", "json", "dot", 96)


def test_the_texts_of_records() -> None:
    assert record_texts("{Order|+ id: int\\l+ total: float\\l}") == ["Order", "+ id: int", "+ total: float"]
    assert record_texts("Preheat\\noven") == ["Preheat", "oven"]
