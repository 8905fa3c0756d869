"""Diagrams as Graphviz sources: a builder for each family, from names and a style."""

import random
from collections.abc import Callable
from itertools import pairwise

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.figures.diagram_names import (
    CLASSES,
    CLASSES_OUT,
    CYCLES,
    DETAILS,
    EVENTS,
    FEATURES,
    IDEAS,
    MODULES,
    PEOPLE,
    QUESTIONS,
    RELATIONS,
    ROLES,
    STATES,
    STEPS,
    TIERS,
    TOWNS,
)
from step3vl.pipelines.render.figures.diagram_parts import Diagram, DiagramStyle, start_diagram


def _flowchart(style: DiagramStyle, rng: random.Random) -> Diagram:
    number = rng.randint(3, 6)
    diagram = start_diagram(style, "box", direction="" if number < 4 else "TB")
    steps = rng.sample(STEPS, number + 1)
    tests = rng.sample(QUESTIONS, rng.randint(1, 2))
    diagram.node("start", "Start", shape="ellipse", fillcolor=style.accent)
    names = []
    places = sorted(rng.sample(range(1, number + 1), len(tests)))
    for i, step in enumerate(steps[:number], 1):
        names.append(f"s{i}")
        diagram.node(f"s{i}", step)
        if i in places:
            names.append(f"q{i}")
            diagram.node(f"q{i}", tests[places.index(i)], shape="diamond", style="filled")
    diagram.node("end", "End", shape="ellipse", fillcolor=style.accent)
    chain = ["start", *names, "end"]
    for tail, head in pairwise(chain):
        diagram.edge(tail, head, "yes" if tail.startswith("q") else "")
    for name in names:
        if name.startswith("q"):
            before = chain[: chain.index(name) - 1]
            target = rng.choice([*(n for n in before if n.startswith("s")), "end"])
            if (name, target) in {(a, b) for a, b, _ in diagram.edges}:
                target = "start"
            diagram.edge(name, target, "no", **({"style": "dashed"} if rng.random() < 0.4 else {}))
    return diagram


def _states(style: DiagramStyle, rng: random.Random) -> Diagram:
    diagram = start_diagram(style, rng.choice(("ellipse", "circle", "box")))
    names = rng.sample(STATES, rng.randint(3, 6))
    events = rng.sample(EVENTS, 10)
    for i, name in enumerate(names):
        final = i == len(names) - 1 and rng.random() < 0.5
        diagram.node(name, name, **({"shape": "doublecircle"} if final else {}))
    pairs = list(pairwise(names))
    extra = [(a, b) for a in names for b in names if (a, b) not in pairs and a != b]
    pairs += rng.sample(extra, rng.randint(1, 3))
    for (tail, head), event in zip(pairs, events, strict=False):
        diagram.edge(tail, head, event)
    return diagram


def _organisation(style: DiagramStyle, rng: random.Random) -> Diagram:
    diagram = start_diagram(style, "box", direction="TB")
    names = rng.sample(ROLES[1:], rng.randint(5, 10))
    ids = [name.lower() for name in names]
    diagram.node("director", "Director", fillcolor=style.accent)
    heads = rng.randint(2, 3)
    for name, label in zip(ids, names, strict=True):
        diagram.node(name, label)
    for i, name in enumerate(ids):
        diagram.edge("director" if i < heads else rng.choice(ids[:heads]), name)
    return diagram


def _classes(style: DiagramStyle, rng: random.Random) -> Diagram:
    diagram = start_diagram(style, "record")
    names = rng.sample(sorted(CLASSES), rng.randint(3, 5))
    for name in names:
        rows = "".join(f"+ {row}\\l" for row in CLASSES[name])
        diagram.node(name, f"{{{name}|{rows}}}")
    arrows = {"inherits": {"arrowhead": "empty"}, "has": {"arrowhead": "diamond"}, "uses": {"style": "dashed"}}
    for i, name in enumerate(names[1:], 1):
        kind = rng.choice(sorted(arrows))
        diagram.edge(name, names[rng.randrange(i)], kind, **arrows[kind])
    return diagram


def _entities(style: DiagramStyle, rng: random.Random) -> Diagram:
    diagram = start_diagram(style, "box", "dot", False)
    names = rng.sample(sorted(CLASSES), rng.randint(3, 6))
    for name in names:
        diagram.node(name.lower(), name)
    for i, name in enumerate(names[1:], 1):
        other = names[rng.randrange(i)]
        diagram.edge(other.lower(), name.lower(), rng.choice(RELATIONS))
    return diagram


def _dependencies(style: DiagramStyle, rng: random.Random) -> Diagram:
    diagram = start_diagram(style, rng.choice(("box", "component", "folder", "ellipse")))
    names = rng.sample(MODULES, rng.randint(5, 9))
    for name in names:
        diagram.node(name, name)
    for i, name in enumerate(names[1:], 1):
        for other in rng.sample(names[:i], min(i, rng.randint(1, 2))):
            diagram.edge(other, name)
    return diagram


def _tiers(style: DiagramStyle, rng: random.Random) -> Diagram:
    diagram = start_diagram(style, "box")
    rows: list[list[str]] = []
    for i, (title, members) in enumerate(TIERS):
        chosen = rng.sample(members, rng.randint(2, min(4, len(members))))
        rows.append([name.lower().replace(" ", "_") for name in chosen])
        diagram.put(f"subgraph cluster_{i} {{")
        diagram.depth = 2
        diagram.put(f'label="{title}"; fontname="{style.font}"; color="{style.line}";')
        for name, label in zip(rows[-1], chosen, strict=True):
            looks = {"shape": "cylinder", "style": "filled"} if title == "Storage" else {}
            diagram.node(name, label, **looks)
        diagram.depth = 1
        diagram.put("}")
    for upper, lower in pairwise(rows):
        pairs = {(name, rng.choice(lower)) for name in sorted(upper)} | {
            (rng.choice(upper), name) for name in sorted(lower)
        }
        for tail, head in sorted(pairs):
            diagram.edge(tail, head)
    return diagram


def _roads(style: DiagramStyle, rng: random.Random) -> Diagram:
    diagram = start_diagram(style, rng.choice(("circle", "ellipse")), rng.choice(("neato", "fdp")), False)
    names = rng.sample(TOWNS, rng.randint(4, 7))
    weighted = rng.random() < 0.7
    for name in names:
        diagram.node(name, name)
    pairs = [(names[rng.randrange(i)], names[i]) for i in range(1, len(names))]
    extra = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if (a, b) not in pairs]
    for tail, head in [*pairs, *rng.sample(extra, min(len(extra), rng.randint(1, 3)))]:
        diagram.edge(
            tail,
            head,
            str(rng.randint(12, 480)) if weighted else "",
            **({"len": "2.2"} if weighted else {"len": "1.6"}),
        )
    return diagram


def _cycle(style: DiagramStyle, rng: random.Random) -> Diagram:
    diagram = start_diagram(style, rng.choice(("ellipse", "box", "circle")), "circo")
    names = rng.choice(CYCLES)
    for name in names:
        diagram.node(name, name)
    for tail, head in zip(names, (*names[1:], names[0]), strict=True):
        diagram.edge(tail, head)
    return diagram


def _ideas(style: DiagramStyle, rng: random.Random) -> Diagram:
    engine = rng.choice(("twopi", "dot"))
    diagram = start_diagram(style, rng.choice(("box", "ellipse", "plaintext")), engine, False, "LR")
    topic = rng.choice(sorted(IDEAS))
    root = topic.lower()
    diagram.node(root, topic, fillcolor=style.accent, shape="ellipse")
    branches = rng.sample(IDEAS[topic], rng.randint(3, min(5, len(IDEAS[topic]))))
    details = [name for name in rng.sample(DETAILS, len(DETAILS)) if name not in (root, *map(str.lower, branches))]
    for branch in branches:
        name = branch.lower()
        diagram.node(name, branch)
        diagram.edge(root, name)
        for _ in range(rng.randint(0, 2)):
            detail = details.pop()
            diagram.node(detail, detail)
            diagram.edge(name, detail)
    return diagram


def _search_tree(style: DiagramStyle, rng: random.Random) -> Diagram:
    diagram = start_diagram(style, "circle", direction="TB")
    values = rng.sample(range(1, 100), rng.randint(5, 9))
    children: dict[int, list[int | None]] = {}
    for value in values:
        children[value] = [None, None]
        node = values[0]
        while value != node:
            side = value > node
            below = children[node][side]
            if below is None:
                children[node][side] = value
                break
            node = below
    for value in values:
        diagram.node(f"n{value}", str(value))
    for value in values:
        for child in children[value]:
            if child is not None:
                diagram.edge(f"n{value}", f"n{child}")
    return diagram


def _pipeline(style: DiagramStyle, rng: random.Random) -> Diagram:
    diagram = start_diagram(style, rng.choice(("cds", "box", "rarrow", "ellipse")), direction=rng.choice(("LR", "TB")))
    steps = rng.sample(STEPS, rng.randint(3, 5))
    folded = rng.random() < 0.5
    for i, step in enumerate(steps):
        diagram.node("abcdef"[i], step.replace(" ", "\\n") if folded else step)
    names = "abcdef"[: len(steps)]
    for tail, head in pairwise(names):
        diagram.edge(tail, head)
    return diagram


def _automaton(style: DiagramStyle, rng: random.Random) -> Diagram:
    diagram = start_diagram(style, "circle", direction="LR")
    number = rng.randint(3, 5)
    finals = set(rng.sample(range(number), rng.randint(1, 2)))
    for i in range(number):
        diagram.node(f"q{i}", f"q{i}", **({"shape": "doublecircle"} if i in finals else {}))
    symbols = rng.choice((("0", "1"), ("a", "b")))
    for i in range(number):
        targets: dict[int, list[str]] = {}
        for symbol in symbols:
            targets.setdefault(rng.randrange(number), []).append(symbol)
        for target, labels in targets.items():
            diagram.edge(f"q{i}", f"q{target}", "; ".join(labels))
    return diagram


def _family(style: DiagramStyle, rng: random.Random) -> Diagram:
    diagram = start_diagram(style, rng.choice(("box", "ellipse", "house")), direction="TB")
    people = rng.sample(PEOPLE, rng.randint(5, 9))
    levels = [people[:1], people[1:3], people[3:6], people[6:]]
    for name in people:
        diagram.node(name, name)
    for above, below in pairwise(levels):
        for name in below:
            diagram.edge(rng.choice(above), name)
    return diagram


def _decisions(style: DiagramStyle, rng: random.Random) -> Diagram:
    diagram = start_diagram(style, "box", direction="TB")
    tests = rng.sample(FEATURES, rng.randint(2, 4))
    for i, test in enumerate(tests):
        diagram.node(f"t{i}", test, fillcolor=style.accent)
    open_sides = []
    for i in range(len(tests)):
        for side in ("yes", "no"):
            open_sides.append((f"t{i}", side))
        if i + 1 < len(tests):
            tail, side = open_sides.pop(rng.randrange(len(open_sides)))
            diagram.edge(tail, f"t{i + 1}", side)
    for leaves, (tail, side) in enumerate(open_sides, 1):
        diagram.node(f"r{leaves}", rng.choice(CLASSES_OUT), shape="ellipse", style="filled")
        diagram.edge(tail, f"r{leaves}", side)
    return diagram


def _bipartite(style: DiagramStyle, rng: random.Random) -> Diagram:
    diagram = start_diagram(style, "box", "dot", False, "LR")
    people, tasks = rng.sample(PEOPLE, rng.randint(2, 4)), rng.sample(ROLES[1:], rng.randint(2, 4))
    for name in people:
        diagram.node(name, name)
    for name in tasks:
        diagram.node(name.lower(), name, fillcolor=style.accent)
    for name in people:
        for task in sorted(rng.sample(tasks, rng.randint(1, min(2, len(tasks))))):
            diagram.edge(name, task.lower())
    if {head for _, head, _ in diagram.edges} != {task.lower() for task in tasks}:
        raise Dropped("task_without_edge")
    return diagram


DIAGRAMS: dict[str, Callable[[DiagramStyle, random.Random], Diagram]] = {
    "flowchart": _flowchart,
    "state_machine": _states,
    "organisation": _organisation,
    "class_diagram": _classes,
    "entity_relation": _entities,
    "dependencies": _dependencies,
    "architecture": _tiers,
    "network": _roads,
    "cycle": _cycle,
    "mind_map": _ideas,
    "search_tree": _search_tree,
    "pipeline": _pipeline,
    "automaton": _automaton,
    "family_tree": _family,
    "decision_tree": _decisions,
    "assignment": _bipartite,
}
