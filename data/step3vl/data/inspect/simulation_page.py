"""What `corpus simulate` shows: tables for the terminal, and a page with plots that loads nothing from elsewhere."""

import html

from step3vl.data.inspect.plots import STYLE, Series, line_plot, share_plot
from step3vl.data.inspect.simulation import Interval, Simulation
from step3vl.data.inspect.tables import TableSection, cell

_PAGE_STYLE = (
    ":root{--text:#1c1e21;--muted:#5a6069;--line:#d5d9de;--back:#fff;--panel:#f5f6f8}"
    "@media(prefers-color-scheme:dark){:root{--text:#e6e8eb;--muted:#a2a9b3;--line:#3a4048;--back:#15181c;"
    "--panel:#1f2328}}body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1.5rem 1rem;"
    "color:var(--text);background:var(--back)}h1{font-size:1.5rem;margin:0}h2{font-size:1.15rem;margin:2rem 0 .3rem}"
    "p{margin:.2rem 0 .6rem;color:var(--muted)}.figures{display:grid;gap:.7rem;margin:1.2rem 0;padding:0;"
    "grid-template-columns:repeat(auto-fill,minmax(11rem,1fr))}.figures div{background:var(--panel);"
    "padding:.6rem .8rem;border-radius:.4rem}.figures dt{color:var(--muted);font-size:.87rem}"
    ".figures dd{margin:0;font-size:1.25rem;font-variant-numeric:tabular-nums}"
    "table{border-collapse:collapse;font-size:14px;font-variant-numeric:tabular-nums}"
    "td,th{padding:.2em .8em;border-bottom:1px solid var(--line);text-align:right}"
    "td:first-child,th:first-child{text-align:left}th{font-weight:600}"
)
_MAX_NODES = 64  # that are listed
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


def format_bytes(value: float) -> str:
    """A number of bytes, such as `1.25 GB`; 1 KB is 1,000 bytes."""
    unit = 0
    while abs(value) >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} B" if unit == 0 else f"{value:.3g} {_UNITS[unit]}"


def format_seconds(value: float) -> str:
    """A time, such as `0.35 s` or `2.1 h`."""
    if value >= 7200:
        return f"{value / 3600:.1f} h"
    return f"{value / 60:.1f} min" if value >= 120 else f"{value:.3g} s"


def simulation_tables(simulation: Simulation) -> list[TableSection]:
    """The figures, what each node reads, and tokens by task."""
    tasks, tokens = simulation.tasks, simulation.total.tokens
    nodes: list[tuple[object, ...]] = [
        (
            f"node {number}",
            format_bytes(node.needed),
            format_bytes(node.fetched),
            _times(node.amplification),
            node.requests,
        )
        for number, node in enumerate(simulation.nodes[:_MAX_NODES])
    ]
    if (more := len(simulation.nodes) - len(nodes)) > 0:
        nodes.append((f"and {more:,} more", "", "", "", ""))
    return [
        TableSection(_title(simulation), ("what", "value"), _figures(simulation)),
        TableSection("Nodes", ("node", "needed", "fetched", "amplification", "requests"), nodes),
        TableSection(
            "Tasks",
            ("task", "tokens", "share of tokens"),
            [(name, count, f"{100 * count / tokens:.1f} %") for name, count in tasks.items()],
        ),
    ]


def simulation_page(simulation: Simulation, title: str) -> str:
    """The page.

    Args:
        simulation: What was computed.
        title: What was read, for the heading.
    """
    figures = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(cell(value))}</dd></div>"
        for name, value in _figures(simulation)
    )
    plots = "".join(
        f"<h2>{html.escape(heading)}</h2><p>{html.escape(note)}</p>{plot}"
        for heading, note, plot in _plots(simulation)
    )
    tables = "".join(map(_table, simulation_tables(simulation)[1:]))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>Simulation: {html.escape(title)}</title><style>{_PAGE_STYLE}{STYLE}</style>"
        f"<h1>{html.escape(title)}</h1><p>{html.escape(_title(simulation))}. {html.escape(_model(simulation))}</p>"
        f'<dl class="figures">{figures}</dl>{plots}{tables}</html>\n'
    )


def _title(simulation: Simulation) -> str:
    cluster = simulation.cluster
    extent = "the whole plan" if simulation.complete else "the beginning of the plan"
    machines = f"{_count(cluster.nodes, 'node')} with {_count(cluster.ranks, 'rank')} each"
    return f"{simulation.batches:,} batches of {machines}, {extent}"


def _model(simulation: Simulation) -> str:
    cluster = simulation.cluster
    cache = (
        "no cache"
        if cluster.cache_bytes is None
        else (f"a cache of {format_bytes(cluster.cache_bytes)} in blocks of {format_bytes(cluster.block)}")
    )
    return (
        f"A node has {cache}; the store answers after {cluster.latency * 1000:g} ms and sends it "
        f"{format_bytes(cluster.bandwidth)} a second. Bytes and requests follow from the plan; seconds are those of "
        "this model of the network, without planning and decoding."
    )


def _figures(simulation: Simulation) -> list[tuple[str, object]]:
    total, cluster, index = simulation.total, simulation.cluster, simulation.indexes
    seconds = simulation.slowest_seconds
    speed = f"{total.tokens / seconds / cluster.nodes:,.0f}" if seconds else "-"
    amplifications = sorted(node.amplification for node in simulation.nodes)
    return [
        ("bytes needed", format_bytes(total.needed)),
        ("bytes fetched", format_bytes(total.fetched)),
        ("amplification", _times(total.amplification)),
        ("amplification, nodes", f"{_times(amplifications[0])} to {_times(amplifications[-1])}"),
        ("first batch after", format_seconds(simulation.first_seconds)),
        ("requests for samples", total.requests),
        ("samples", simulation.samples),
        ("tokens", total.tokens),
        ("tokens/s a node can read", speed),
        ("disk used, fullest node", format_bytes(simulation.cached)),
        ("index of a node, about", f"{format_bytes(index.size)} of {_count(index.shards, 'shard')}"),
        ("of it before the first batch", format_bytes(index.first_size)),
    ]


def _plots(simulation: Simulation) -> list[tuple[str, str, str]]:
    """Heading, note and plot."""
    intervals, nodes = simulation.intervals, simulation.cluster.nodes
    ends = [interval.first + interval.batches for interval in intervals]
    edges = [interval.first for interval in intervals] + ends[-1:]
    label = "batches"

    def per_batch(field: str) -> list[float]:
        return [getattr(interval.reads, field) / interval.batches / nodes for interval in intervals]

    lines = [Series("fetched", per_batch("fetched")), Series("needed", per_batch("needed"))]
    plots = [
        (
            "Bytes of a batch",
            "Mean of the nodes: what their samples have, and what is fetched for them.",
            line_plot("Bytes of a batch and node over batches", ends, lines, label, format_bytes),
        ),
        (
            "Amplification",
            "Bytes fetched over bytes needed, from the beginning on.",
            line_plot("Amplification over batches", ends, [Series("so far", _cumulative(intervals))], label, _times),
        ),
    ]
    if simulation.cluster.cache_bytes is not None:
        cached = Series("fullest node", [float(interval.cached) for interval in intervals])
        plots.append(
            (
                "Disk",
                "Bytes in the cache of the fullest node.",
                line_plot("Bytes in the fullest cache over batches", ends, [cached], label, format_bytes),
            )
        )
    shares = share_plot("Share of tokens by task over batches", edges, [part.tasks for part in intervals], label)
    return [*plots, ("Tasks", "Share of the tokens, interval by interval.", shares)]


def _cumulative(intervals: tuple[Interval, ...]) -> list[float]:
    values, needed, fetched = [], 0, 0
    for interval in intervals:
        needed, fetched = needed + interval.reads.needed, fetched + interval.reads.fetched
        values.append(fetched / needed if needed else 0.0)
    return values


def _table(section: TableSection) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in section.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell(value))}</td>" for value in row) + "</tr>" for row in section.rows
    )
    return f'<h2>{html.escape(section.title)}</h2><div class="scroll"><table><tr>{head}</tr>{rows}</table></div>'


def _times(value: float) -> str:
    return f"{value:.2f}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
