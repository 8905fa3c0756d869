"""Answers about a diagram, computed once more from the lines of its label as sets of neighbours."""

from collections import defaultdict

from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.domains.vqa_questions.names_in_questions import names_in, single, two_of
from step3vl.pipelines.domains.vqa_questions.table_check import cells_of, to_number

_YES = ("yes", "是")
_TURNED = "reached from"  # words before the node where an arrow starts, in a question that names its end first


def check_graph(kind: str, asked: str, answer: str, label: str) -> str | None:
    """What is wrong with an answer about a diagram; None for a right one.

    Args:
        kind: Of the question.
        asked: The question, without options.
        answer: As a text.
        label: The edges as CSV or Markdown, headed `From,To` or `Node,Node`.

    Raises:
        Unchecked: The words do not tell what is asked.
    """
    header, *edges = cells_of(label)
    after, ahead = defaultdict(set), defaultdict(set)
    for first, second, *_ in edges:
        after[first].add(second)
        ahead[second].add(first)
        if header[0] == "Node":
            after[second].add(first)
            ahead[first].add(second)
    nodes = sorted({*after, *ahead})
    if kind in ("edge_count", "node_count"):
        count = len(edges) if kind == "edge_count" else len(nodes)
        return None if to_number(answer) == count else "another_number"
    if kind in ("successor", "predecessor"):
        node = single(names_in(nodes, asked))
        return None if single(sorted((after if kind == "successor" else ahead)[node])) == answer else "another_node"
    if kind in ("out_degree", "degree"):
        return None if to_number(answer) == len(after[single(names_in(nodes, asked))]) else "another_number"
    first, second = two_of(nodes, asked)
    if kind in ("linked", "joined"):
        if _TURNED in asked:
            first, second = second, first
        return None if (second in after[first]) == (answer in _YES) else "the_opposite"
    if kind == "edge_label":
        texts = {edge[2] for edge in edges if {edge[0], edge[1]} == {first, second}}
        return None if texts == {answer} else "another_label"
    raise Unchecked(kind)
