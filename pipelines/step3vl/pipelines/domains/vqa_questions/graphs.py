"""Questions about diagrams of nodes and edges, answered from sets of edges and once more from a matrix."""

import random
from collections import Counter
from collections.abc import Callable

import numpy as np

from step3vl.pipelines.domains.vqa_questions.distractors import near_counts, shuffled
from step3vl.pipelines.domains.vqa_questions.turns import Draft, Form, Language, quoted
from step3vl.pipelines.sources.tables.data_tables import Graph

_MAX_COUNTED = 30


class GraphQuestions:
    """Asks about one graph.

    Args:
        graph: With different edges; several between two nodes are none that can be asked about.
        language: Of the questions.
        rng: Chooses what is asked.
    """

    def __init__(self, graph: Graph, language: Language, rng: random.Random) -> None:
        self._language, self._rng, self._directed = language, rng, graph.directed
        self._edges = graph.edges
        self._pairs = {(first, second) for first, second, _ in graph.edges}
        self._nodes = list(dict.fromkeys(node for edge in graph.edges for node in edge[:2]))
        place = {node: index for index, node in enumerate(self._nodes)}
        self._matrix = np.zeros((len(place), len(place)), np.int64)
        for first, second, _ in graph.edges:
            self._matrix[place[first], place[second]] += 1
            if not graph.directed:
                self._matrix[place[second], place[first]] += 1
        self._place = place
        loops = any(first == second for first, second in self._pairs)
        both_ways = any((second, first) in self._pairs for first, second in self._pairs)
        self._is_simple = len(self._pairs) == len(graph.edges) and not loops and not both_ways

    def kinds(self) -> dict[str, Callable[[], Draft | None]]:
        """The kinds of questions that suit the graph, each with what makes one: None where chance finds none."""
        if not self._is_simple or len(self._nodes) < 3:
            return {}
        kinds: dict[str, Callable[[], Draft | None]] = {}
        if len(self._edges) <= _MAX_COUNTED:
            kinds |= {"edge_count": self._edge_count, "node_count": self._node_count}
        if self._directed:
            kinds |= {
                "successor": self._successor,
                "predecessor": self._predecessor,
                "linked": self._linked,
                "out_degree": self._out_degree,
            }
        else:
            kinds |= {"joined": self._linked, "degree": self._degree}
        if any(label for _, _, label in self._edges):
            kinds["edge_label"] = self._edge_label
        return kinds

    def _edge_count(self) -> Draft:
        total = int(self._matrix.sum()) // (1 if self._directed else 2)
        return self._counted("edge_count", len(self._edges), total)

    def _node_count(self) -> Draft:
        linked = int(((self._matrix + self._matrix.T).sum(axis=0) > 0).sum())
        return self._counted("node_count", len(self._nodes), linked)

    def _successor(self) -> Draft | None:
        counts = Counter(first for first, _ in self._pairs)
        starts = [node for node in self._nodes if counts[node] == 1]
        return self._neighbour("successor", starts, dict(self._pairs), self._matrix)

    def _predecessor(self) -> Draft | None:
        counts = Counter(second for _, second in self._pairs)
        ends = [node for node in self._nodes if counts[node] == 1]
        return self._neighbour("predecessor", ends, {second: first for first, second in self._pairs}, self._matrix.T)

    def _neighbour(self, kind: str, nodes: list[str], neighbours: dict[str, str], matrix: np.ndarray) -> Draft | None:
        if not nodes:
            return None
        node = self._rng.choice(nodes)
        answer = neighbours[node]
        _check(answer, self._nodes[int(matrix[self._place[node]].argmax())])
        wrong = [other for other in self._nodes if other not in (answer, node)]
        return self._draft(kind, answer, "text", shuffled(wrong, self._rng), node=node)

    def _linked(self) -> Draft | None:
        """As often yes as no: a pair of nodes is chosen among the edges or besides them."""
        if self._rng.random() < 0.5:
            node, other = self._rng.choice(sorted(self._pairs))
        else:
            apart = [
                (first, second)
                for first in self._nodes
                for second in self._nodes
                if first != second and not {(first, second), (second, first)} & self._pairs
            ]
            reverse = [(second, first) for first, second in sorted(self._pairs)] if self._directed else []
            if not apart and not reverse:
                return None
            node, other = (
                self._rng.choice(apart or reverse) if self._rng.random() < 0.6 else self._rng.choice(reverse or apart)
            )
        if not self._directed and self._rng.random() < 0.5:
            node, other = other, node
        linked = (node, other) in self._pairs or (not self._directed and (other, node) in self._pairs)
        _check(linked, bool(self._matrix[self._place[node], self._place[other]]))
        kind = "linked" if self._directed else "joined"
        return self._draft(kind, "yes" if linked else "no", "yes_no", node=node, other=other)

    def _out_degree(self) -> Draft:
        node = self._rng.choice(self._nodes)
        count = sum(first == node for first, _ in self._pairs)
        return self._counted("out_degree", count, int(self._matrix[self._place[node]].sum()), node=node)

    def _degree(self) -> Draft:
        node = self._rng.choice(self._nodes)
        count = sum(node in pair for pair in self._pairs)
        return self._counted("degree", count, int(self._matrix[:, self._place[node]].sum()), node=node)

    def _edge_label(self) -> Draft | None:
        first, second, label = self._rng.choice([edge for edge in self._edges if edge[2]])
        by_scan = {edge[2] for edge in self._edges if {edge[0], edge[1]} == {first, second}}
        _check({label}, by_scan)
        wrong = list(dict.fromkeys(edge[2] for edge in self._edges if edge[2] and edge[2] != label))
        return self._draft("edge_label", label, "text", tuple(wrong), node=first, other=second)

    def _counted(self, kind: str, count: int, again: int, **values: str) -> Draft:
        _check(count, again)
        return self._draft(kind, str(count), "count", near_counts(count, self._rng), **values)

    def _draft(self, kind: str, answer: str, form: Form, wrong: tuple[str, ...] = (), **values: str) -> Draft:
        bare = all(text.isalnum() for text in values.values()) and self._rng.random() < 0.6
        named = values if bare else {name: quoted(text, self._language) for name, text in values.items()}
        return Draft(kind, named, answer, form, wrong)


def _check(answer: object, again: object) -> None:
    if answer != again:
        raise ValueError(f"the answer is {answer}, and by the matrix {again}")
