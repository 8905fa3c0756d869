"""Simulated reads are those of real nodes, byte for byte and request for request; the page shows them."""

import re
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import fsspec
import pytest

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.inspect.plots import Series, line_plot, share_plot
from step3vl.data.inspect.simulation import Cluster, Simulation, simulate
from step3vl.data.inspect.simulation_page import format_bytes, simulation_page, simulation_tables
from step3vl.data.inspect.tables import cell
from step3vl.data.plan import Mixture, MixtureSource, Plan, PlanPhase, deal, homes
from step3vl.data.plan.dealing import divided
from step3vl.data.plan.index_rows import index_opener
from step3vl.data.sample.sample import Sample
from step3vl.data.storage.store import Store
from step3vl.data.storage.store_config import StoreConfig

LENGTH, BATCHES, BLOCK = 64, 12, 4096


@pytest.fixture(scope="module")
def remote(
    tmp_path_factory: pytest.TempPathFactory,
    build_dataset: Callable[..., Dataset],
    make_sample: Callable[..., Sample],
) -> str:
    """The URL of a dataset of 8 shards of texts in memory."""
    folder = tmp_path_factory.mktemp("simulated") / "set"
    build_dataset(folder, [make_sample(number, with_images=False) for number in range(320)], shards=8)
    fsspec.filesystem("memory").put(str(folder), "/simulated", recursive=True)
    return "memory://simulated"


def phases_of(url: str, *, epochs: int | None = 2) -> list[PlanPhase]:
    return [PlanPhase(Mixture(sources=(MixtureSource(dataset=url, epochs=epochs),)))]


def fetched_for_real(
    url: str, cluster: Cluster, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[int, int, int]]:
    """Bytes needed, bytes fetched and requests of each node, which has a store and a cache of its own."""
    counts: Counter[str] = Counter()
    real = Store._fetch

    def counted(self: Store, path: str, start: int | None, stop: int | None) -> bytes:
        data = real(self, path, start, stop)
        if path.endswith(".tar"):
            counts.update(fetched=len(data), requests=1)
        return data

    monkeypatch.setattr(Store, "_fetch", counted)
    results = []
    for node in range(cluster.nodes):
        cache = None if cluster.cache_bytes is None else folder / f"node-{cluster.nodes}-{node}"
        limits = {} if cluster.cache_bytes is None else {"cache_bytes": cluster.cache_bytes}
        store = StoreConfig(cache=cache, block=cluster.block, **limits)
        plan = Plan(phases_of(url), LENGTH, 0, open_index=index_opener(store))
        packs, size = plan.packs(), cluster.nodes * cluster.ranks
        counts.clear()
        for _ in range(BATCHES):
            group = list(islice(packs, size))
            if len(group) < size:
                break
            for place in deal([pack.partition for pack in group], plan.partitions, cluster.nodes)[node]:
                pack = group[place]
                home = node in homes(pack.partition, plan.partitions, cluster.nodes)
                for item in pack.items:
                    in_blocks = home and cluster.nodes <= plan.divided[pack.source]
                    counts["needed"] += len(plan.fetch(item, in_blocks=in_blocks))
        results.append((counts["needed"], counts["fetched"], counts["requests"]))
    return results


@pytest.mark.parametrize(("nodes", "cache"), [(1, None), (4, None), (1, 2**30), (4, 2**30), (64, 2**30)])
def test_bytes_and_requests_of_every_node_are_those_of_real_reads(
    nodes: int, cache: int | None, remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Partitions of few samples.
    monkeypatch.setattr("step3vl.data.plan.stream.divided", lambda parts, samples, _: divided(parts, samples, 32))
    ranks = 2 if nodes < 64 else 1
    cluster = Cluster(nodes=nodes, ranks=ranks, cache_bytes=cache, block=BLOCK)
    simulation = simulate(phases_of(remote), cluster, sequence_length=LENGTH, batches=BATCHES)
    expected = fetched_for_real(remote, cluster, tmp_path, monkeypatch)
    assert [(node.needed, node.fetched, node.requests) for node in simulation.nodes] == expected
    if cache is None:
        assert simulation.total.amplification == 1


def test_a_small_cache_holds_no_more_than_its_bytes_and_fetches_again(remote: str) -> None:
    small, large = (
        simulate(
            phases_of(remote, epochs=None),
            Cluster(ranks=4, cache_bytes=size, block=BLOCK),
            sequence_length=LENGTH,
            batches=60,
        )
        for size in (16 * BLOCK, 2**30)
    )
    assert small.cached <= 16 * BLOCK < large.cached
    assert small.total.fetched > large.total.fetched
    assert small.total.needed == large.total.needed


def test_seconds_follow_latency_bandwidth_and_what_is_in_flight(remote: str) -> None:
    def first(**machines: float) -> float:
        cluster = Cluster.model_validate({"ranks": 1, "workers": 1, **machines})
        return simulate(phases_of(remote), cluster, sequence_length=LENGTH, batches=3).first_seconds

    assert first(latency=0.0, bandwidth=1e12) < 1e-3
    # The manifest and the requests to forget, then the index, then the samples of a pack.
    assert first(latency=1.0, bandwidth=1e12) == pytest.approx(2 + 3 + 1, abs=1e-3)
    assert first(latency=0.0, bandwidth=1e3) > 1
    assert Cluster(latency=0.1, bandwidth=1e6).seconds(requests=320, size=10**6, in_flight=16) == 2.0


@pytest.fixture(scope="module")
def simulation(remote: str) -> Simulation:
    cluster = Cluster(nodes=2, ranks=2, cache_bytes=2**30)
    return simulate(phases_of(remote, epochs=1), cluster, sequence_length=LENGTH, batches=10_000)


def test_intervals_add_up_to_the_whole_plan(simulation: Simulation) -> None:
    assert simulation.complete
    ends = [interval.first + interval.batches for interval in simulation.intervals]
    assert [0, *ends[:-1]] == [interval.first for interval in simulation.intervals]
    assert ends[-1] == simulation.batches
    assert sum(interval.reads.needed for interval in simulation.intervals) == simulation.total.needed
    assert sum(simulation.tasks.values()) == simulation.total.tokens


def test_page_shows_the_figures_and_loads_nothing(simulation: Simulation) -> None:
    page = simulation_page(simulation, "s3://bucket/<corpus>")
    assert "s3://bucket/&lt;corpus&gt;" in page and "<corpus>" not in page
    assert not re.search(r"""(?:src|href)=|url\(|@import|<script""", page)
    assert page.count("<svg") == page.count("</svg>") == 4
    for name, value in simulation_tables(simulation)[0].rows:
        assert f"<dt>{name}</dt>" in page
        assert f"<dd>{cell(value)}</dd>" in page
    assert "<td>education.sum</td>" in page


def test_a_plan_too_small_for_the_ranks_is_refused(remote: str) -> None:
    with pytest.raises(UserError, match="fewer packs than the 1024 that all ranks take"):
        simulate(phases_of(remote, epochs=1), Cluster(nodes=128, ranks=8), sequence_length=LENGTH, batches=1)


def test_plots_of_many_names_and_of_single_values() -> None:
    rows = [{f"task.{name}": name + 1 for name in range(20)}, {}]
    page = share_plot("shares", [0, 5, 10], rows, "batches")
    assert page.count("<rect") == 9
    assert "12 others" in page
    assert "<circle" in line_plot("one", [3], [Series("a & b", [0.0])], "batches", str)
    assert "a &amp; b" in line_plot("one", [3], [Series("a & b", [0.0])], "batches", str)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 KB"), (999_999, "1 MB"), (1.25e9, "1.25 GB")]
)
def test_bytes_are_written_with_three_digits(value: float, text: str) -> None:
    assert format_bytes(value) == text
