"""Packs to batches: every pack once, to a single rank, from any position, whatever the ranks and workers."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

import fsspec
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from step3vl.data.errors import UserError
from step3vl.data.plan import Cursor, Mixture, MixtureSource, Pack, PackItem, Plan, PlanPhase
from step3vl.data.plan.dealing import partition_of
from step3vl.data.sample import ImageSpec
from step3vl.data.storage import StoreConfig
from step3vl.data.tokens import TokenIds, load_tokenizer
from step3vl.model import Step3VLForConditionalGeneration, Step3VLImageProcessor, tiny_config
from step3vl.training.batch import PackedBatch
from step3vl.training.launch import free_port
from step3vl.training.loader import PackLoader, Ranks, default_workers, rank_packs


@pytest.fixture
def loader_of(corpus: Path, image_spec: ImageSpec) -> Any:
    """loader_of(rank=0, world=1, micro_batch=2, dataset=corpus, sources=({},), ...) -> PackLoader.

    `sources` are the fields that select a slice of the dataset; by default all of it is a single source.
    """

    def make(
        rank: int = 0, world: int = 1, micro_batch: int = 2, dataset: Path = corpus, **options: Any
    ) -> PackLoader:
        slices = options.pop("sources", SINGLE)
        sources = tuple(MixtureSource.model_validate({"dataset": str(dataset), **fields}) for fields in slices)
        settings = {"sequence_length": 128, "seed": 5, "tokenizer": load_tokenizer(corpus), **options}
        return PackLoader(
            [PlanPhase(Mixture(sources=sources))],
            image_processor=Step3VLImageProcessor(**image_spec.model_dump()),
            micro_batch=micro_batch,
            rank=rank,
            world=world,
            **settings,
        )

    return make


SINGLE = ({},)
MIXTURE = ({"modality": "text", "weight": 1}, {"modality": "image", "weight": 3})
KINDS: dict[str, dict[str, Any]] = {
    "single": {"sources": SINGLE, "sequence_length": 64},  # few samples share a pack
    "mixture": {"sources": MIXTURE, "sequence_length": 64},
    "mixture and packing": {"sources": (*MIXTURE, {"kind": "document", "weight": 0.7}), "sequence_length": 256},
}


def rows(batch: PackedBatch) -> list[list[int]]:
    """The tokens of each row without its padding."""
    ids, sequences = batch.inputs["input_ids"], batch.inputs["sequence_ids"]
    return [row[numbers > 0].tolist() for row, numbers in zip(ids, sequences, strict=True)]


def same(a: PackedBatch, b: PackedBatch) -> bool:
    return a.inputs.keys() == b.inputs.keys() and all(torch.equal(a.inputs[name], b.inputs[name]) for name in a.inputs)


def test_ranks_share_the_packs_of_a_single_rank(loader_of: Any) -> None:
    expected = [row for batch in islice(loader_of(micro_batch=2).batches(), 6) for row in rows(batch)]
    halves = [islice(loader_of(rank=rank, world=2, micro_batch=3).batches(), 2) for rank in (0, 1)]
    first, second = ([row for batch in half for row in rows(batch)] for half in halves)
    assert first == expected[0:3] + expected[6:9]
    assert second == expected[3:6] + expected[9:12]


def test_every_rank_has_every_source(loader_of: Any) -> None:
    plan = loader_of(sources=({"modality": "text"}, {"modality": "image"})).plan
    for rank in (0, 1):
        for selected in islice(rank_packs(plan.packs(), 4, Ranks(rank, 2)), 5):
            assert {pack.source for pack in selected.packs} == {0, 1}


class Replay:
    """The packs of a plan from a position, planned once for the many readers of them."""

    def __init__(self, planned: list[tuple[Pack, Cursor]]) -> None:
        self._planned = iter(planned)
        self.cursor: Cursor | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Pack:
        pack, self.cursor = next(self._planned)
        return pack


def deliver(
    plan: Plan, start: int | Cursor, steps: int, world: int, workers: int
) -> tuple[list[tuple[PackItem, ...]], Cursor]:
    """What `steps` steps of 24 packs deliver, from the workers of all ranks, and the position after them."""
    plan_reader = plan.packs(start)
    planned = [(pack, plan_reader.cursor) for pack in islice(plan_reader, steps * 24)]
    micro_batch = 24 // world if workers == 1 else 1  # as few micro-batches as there can be in a step, and as many
    delivered: dict[int, tuple[PackItem, ...]] = {}
    cursors = set()
    for rank in range(world):
        for worker in range(max(workers, 1)):
            replay: Any = Replay(planned)
            reader = rank_packs(replay, micro_batch, Ranks(rank, world), worker, max(workers, 1))
            groups = steps * 24 // (micro_batch * world)
            for selected in islice(reader, len(range(worker, groups, max(workers, 1)))):
                delivered |= {pack.number: pack.items for pack in selected.packs}
                cursors.add(selected.cursor)
    return [delivered[number] for number in sorted(delivered)], max(cursors, key=lambda cursor: cursor.packs)


class PlannedPack(NamedTuple):
    """What the ranks need to know of a pack."""

    number: int
    partition: int


@given(
    partitions=st.sampled_from([1, 6, 48, 64]),
    parts=st.lists(
        st.tuples(st.integers(1, 16), st.integers(1, 64), st.integers(1, 3), st.integers(0, 4), st.integers(1, 4)),
        min_size=1,
        max_size=4,
    ),
)
@settings(max_examples=40)
def test_any_nodes_ranks_and_workers_take_each_pack_once(partitions: int, parts: list[tuple[int, ...]]) -> None:
    """A run in up to four parts with other nodes, ranks, micro-batches and workers loses and repeats nothing."""
    position = 0
    for nodes, most, micro_batch, workers, count in parts:
        world = max(most // nodes, 1) * nodes
        end = position + count * micro_batch * world
        planned: Any = [(PlannedPack(n, partition_of(n, partitions)), n + 1) for n in range(position, end)]
        taken = []
        for rank in range(world):
            of_rank = []
            for worker in range(max(workers, 1)):
                ranks = Ranks(rank, world, nodes)
                replay: Any = Replay(planned)
                reader = rank_packs(replay, micro_batch, ranks, worker, max(workers, 1), partitions)
                for selected in islice(reader, len(range(worker, count, max(workers, 1)))):
                    assert len(selected.packs) == micro_batch
                    of_rank += [pack.number for pack in selected.packs]
            assert len(of_rank) == count * micro_batch
            taken += of_rank
        assert sorted(taken) == list(range(position, end))
        position = end


def test_ranks_read_the_partitions_of_their_node() -> None:
    for number in range(20):
        planned: Any = [(PlannedPack(n, partition_of(n, 64)), n + 1) for n in range(64 * number, 64 * number + 64)]
        for rank in range(16):
            replay: Any = Replay(planned)
            (selected,) = islice(rank_packs(replay, 4, Ranks(rank, 16, nodes=4), partitions=64), 1)
            assert {pack.partition % 4 for pack in selected.packs} == {rank // 4}


@pytest.mark.parametrize(
    ("cores", "ranks", "gpu", "workers"),
    [(2, 1, False, 0), (128, 8, True, 8), (32, 8, True, 3), (4, 8, True, 1), (2, 1, True, 1)],
)
def test_workers_are_by_default_what_the_machine_has(cores: int, ranks: int, gpu: bool, workers: int) -> None:
    assert default_workers(cores, ranks, gpu) == workers


def test_blocks_are_fetched_where_their_rest_is_read_before_it_leaves_the_cache(
    loader_of: Any, corpus: Path, tmp_path: Path
) -> None:
    fsspec.filesystem("memory").put(str(corpus), "/blocks", recursive=True)
    for nodes, cache_bytes, in_blocks in ((1, 2**22, True), (1, 2**18, False), (2, 2**22, False)):
        store = StoreConfig(cache=tmp_path, cache_bytes=cache_bytes, block=2**14)
        loader = loader_of(dataset="memory://blocks", store=store, world=2, nodes=nodes)
        packs = list(islice(loader.plan.packs(), 8))
        assert [loader._in_blocks(pack) for pack in packs] == [in_blocks] * 8, "the corpus has a single partition"


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_ranks_and_workers_killed_anywhere_deliver_the_packs_of_a_single_rank(
    loader_of: Any, kind: str, data: Any
) -> None:
    """A run of four steps that is stopped and resumed, twice, each time with other ranks and other workers."""
    plan = loader_of(**KINDS[kind]).plan
    expected = [pack.items for pack in islice(plan.packs(), 4 * 24)]
    position: int | Cursor = 0
    delivered: list[Any] = []
    for steps in data.draw(st.sampled_from([(1, 1, 2), (1, 2, 1), (2, 1, 1)])):
        world, workers = data.draw(st.sampled_from([1, 2, 3, 4, 6, 8])), data.draw(st.integers(0, 3))
        part, cursor = deliver(plan, position, steps, world, workers)
        delivered += part
        position = data.draw(st.sampled_from([cursor, cursor.packs]))
    assert delivered == expected


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_of_ranks_and_workers_resumes_from_every_step(loader_of: Any, kind: str) -> None:
    plan = loader_of(**KINDS[kind]).plan
    expected = [pack.items for pack in islice(plan.packs(), 3 * 24)]
    for world in (1, 2, 3, 4, 6, 8):
        for workers in (0, 1, 2, 3):
            for killed in (0, 1, 2):
                start = plan.packs(24 * killed).cursor
                assert deliver(plan, start, 1, world, workers)[0] == expected[24 * killed : 24 * (killed + 1)]


@pytest.mark.slow
def test_real_workers_of_other_ranks_resume_where_the_run_was_killed(loader_of: Any) -> None:
    options = KINDS["mixture and packing"]
    expected = [rows(batch)[0] for batch in islice(loader_of(micro_batch=1, **options).batches(), 24)]

    def run(world: int, start: int | Cursor, busy: int, workers: int) -> Cursor:
        """12 packs on ranks of which `busy` has workers and a cache; its batches are those without."""
        for rank in range(world):
            batches = plain = list(islice(loader_of(rank, world, 6 // world, **options).batches(start), 2))
            if rank == busy:
                loader = loader_of(rank, world, 6 // world, workers=workers, cache_mb=1, **options)
                batches = list(islice(loader.batches(start), 2))
            assert all(same(a, b) for a, b in zip(plain, batches, strict=True))
            for batch, first in zip(
                batches, (batches[-1].cursor.packs - 12, batches[-1].cursor.packs - 6), strict=True
            ):
                assert rows(batch) == expected[first + rank * (6 // world) : first + (rank + 1) * (6 // world)]
        return batches[-1].cursor

    cursor = run(world=2, start=0, busy=1, workers=1)
    assert cursor.packs == 12
    assert run(world=3, start=cursor, busy=0, workers=2).packs == 24


@pytest.mark.parametrize("start", [2, 10])
def test_starting_at_a_pack_equals_skipping_to_it(loader_of: Any, start: int) -> None:
    skipped = list(islice(loader_of().batches(), start // 2, start // 2 + 3))
    started = list(islice(loader_of().batches(start), 3))
    assert all(same(a, b) for a, b in zip(skipped, started, strict=True))


def test_the_cache_does_not_change_the_batches(loader_of: Any) -> None:
    plain, cached = (islice(loader_of(cache_mb=megabytes).batches(), 50) for megabytes in (0, 1))
    assert all(same(a, b) for a, b in zip(plain, cached, strict=True))


def test_a_batch_describes_its_contents(loader_of: Any) -> None:
    pair = [next(loader_of(rank=rank, world=2).batches()) for rank in (0, 1)]
    assert pair[0].cursor == pair[1].cursor
    assert sum(batch.tokens for batch in pair) == pair[0].cursor.phase_tokens
    for batch in pair:
        assert batch.tokens == int((batch.inputs["sequence_ids"] > 0).sum())
        assert not batch.unreadable
        assert batch.weight == pytest.approx(float(batch.inputs["loss_weights"].sum()))
        assert [len(items) for items in batch.items] == batch.inputs["sequence_ids"].amax(dim=1).tolist()
        assert batch.inputs["num_patches"].sum() == len(batch.inputs["patch_pixel_values"])


def test_another_tokenizer_is_refused(corpus: Path, image_spec: ImageSpec) -> None:
    phases = [PlanPhase(Mixture(sources=(MixtureSource(dataset=str(corpus)),)))]
    processor = Step3VLImageProcessor(**image_spec.model_dump())
    options: dict[str, Any] = {"sequence_length": 128, "seed": 0, "micro_batch": 1, "rank": 0, "world": 1}
    with pytest.raises(UserError, match="was counted with the tokenizer"):
        PackLoader(phases, tokenizer=load_tokenizer("qwen3"), image_processor=processor, **options)
    with pytest.raises(UserError, match="was counted for images of"):
        PackLoader(phases, tokenizer=load_tokenizer(corpus), image_processor=Step3VLImageProcessor(), **options)


@pytest.fixture
def damaged(corpus: Path, damage: Any, tmp_path: Path) -> tuple[Path, set[int]]:
    """The corpus with one byte flipped in every seventh sample of its training shard, and their offsets."""
    root = tmp_path / "damaged"
    shutil.copytree(corpus, root)
    return root, set(damage(root, slice(None, None, 7)))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_a_damaged_sample_leaves_its_pack_shorter_on_every_rank_alike(
    loader_of: Any, damaged: tuple[Path, set[int]], world: int
) -> None:
    root, broken = damaged
    packs = [pack.items for pack in islice(loader_of(dataset=root).plan.packs(), 12)]
    lost = [item for items in packs for item in items if item.offset in broken]
    assert lost
    ranks = [loader_of(rank, world, 6 // world, dataset=root) for rank in range(world)]
    batches = [list(islice(loader.batches(), 2)) for loader in ranks]
    rows = [row for number in (0, 1) for rank in batches for row in rank[number].items]
    assert rows == [tuple(item for item in items if item not in lost) for items in packs]
    of_all_ranks = [batch for rank in batches for batch in rank]
    dead_letters = [dead_letter for batch in of_all_ranks for dead_letter in batch.unreadable]
    offsets = {int(dead_letter.source.rpartition(" ")[2]) for dead_letter in dead_letters}
    assert offsets == {item.offset for item in lost}
    assert all("not those that were committed" in dead_letter.reason for dead_letter in dead_letters)
    planned = batches[0][-1].cursor.phase_tokens
    assert sum(batch.tokens + batch.unreadable_tokens for batch in of_all_ranks) == planned


def test_a_pack_may_lose_all_of_its_samples(
    loader_of: Any, corpus: Path, image_spec: ImageSpec, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(corpus, broken)
    shard = next((broken / "shards").glob("*train*.tar"))
    shard.write_bytes(shard.read_bytes()[:10])
    batch = next(loader_of(dataset=broken).batches())
    assert batch.tokens == batch.weight == 0
    assert batch.items == ((), ())
    assert "train-00000-of-00001.tar at byte" in batch.unreadable[0].source
    tokenizer = load_tokenizer(corpus)
    config = tiny_config(
        tokenizer.get_vocab_size(), image_spec, image_token_id=TokenIds.of(tokenizer).image_patch, hidden_size=32
    )
    loss = Step3VLForConditionalGeneration(config)(**batch.inputs).loss
    loss.backward()
    assert float(loss.detach()) == 0


@pytest.mark.slow
def test_a_missing_index_is_a_user_error_of_one_line_also_in_a_worker(
    loader_of: Any, corpus: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(corpus, copied)
    loader = loader_of(dataset=copied, workers=1)
    next((copied / "shards").glob("*train*.parquet")).unlink()
    with pytest.raises(UserError, match=r"train-00000-of-00001\.parquet") as caught:
        next(loader.batches())
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_remote_dataset_gives_the_same_batches_and_its_cache_persists(
    loader_of: Any, corpus: Path, tmp_path: Path
) -> None:
    fs = fsspec.filesystem("memory")
    fs.put(str(corpus), "/remote", recursive=True)
    store = StoreConfig(cache=tmp_path / "cache", cache_bytes=2**22, block=2**16)
    remote = loader_of(dataset="memory://remote", store=store)
    for local, cached in zip(islice(loader_of().batches(), 20), islice(remote.batches(), 20), strict=True):
        assert same(local, cached)
    shard = next(name for name in fs.find("/remote") if "train" in name and name.endswith(".tar"))
    fs.rm(shard)
    assert not next(remote.batches()).unreadable, "read from the cache"
    fs.rm("/remote", recursive=True)


_S3_SERVER = """
import sys, time
import fsspec
from moto.server import ThreadedMotoServer
port, folder = int(sys.argv[1]), sys.argv[2]
filling = ThreadedMotoServer("127.0.0.1", 0, verbose=False)  # all servers of a process have the same buckets
filling.start()
address = "http://%s:%d" % filling.get_host_and_port()
files = fsspec.filesystem("s3", key="k", secret="s", client_kwargs={"endpoint_url": address})
files.mkdir("epoch")
files.put(folder, "epoch/corpus", recursive=True)
server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
server.start()
print("ready", flush=True)
time.sleep(600)
"""


@contextmanager
def s3_process(port: int, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that serves a copy of a folder from the bucket `epoch`."""
    command = [sys.executable, "-c", _S3_SERVER, str(port), f"{folder}/"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("cached", [False, True])
def test_a_store_that_is_killed_and_restarted_in_an_epoch_loses_and_repeats_nothing(
    loader_of: Any, corpus: Path, tmp_path: Path, cached: bool
) -> None:
    port = free_port()
    options = {"key": "k", "secret": "s", "client_kwargs": {"endpoint_url": f"http://127.0.0.1:{port}"}}
    options["config_kwargs"] = {"retries": {"max_attempts": 1}}
    store = StoreConfig(options=options, attempts=20, backoff=0.2, timeout=10)
    if cached:
        store = store.model_copy(update={"cache": tmp_path, "cache_bytes": 2**20, "block": 2**14})
    expected = list(islice(loader_of(**KINDS["mixture"]).batches(), 60))
    with s3_process(port, corpus) as first:
        assert first.stdout and first.stdout.readline() == "ready\n"
        batches = loader_of(dataset="s3://epoch/corpus", store=store, **KINDS["mixture"]).batches()
        read = list(islice(batches, 20))
        first.kill()
        first.wait()
        with s3_process(port, corpus):
            read += list(islice(batches, 40))
    assert all(same(a, b) for a, b in zip(read, expected, strict=True))
    assert not any(batch.unreadable for batch in read)


def test_an_error_of_the_plan_comes_after_the_batches_before_it(
    loader_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = loader_of()
    plan_of_three = islice(loader.plan.packs(), 6)

    def three_batches(*args: Any) -> Iterator[Any]:
        yield from rank_packs(Replay([(pack, None) for pack in plan_of_three]), 2, Ranks())  # type: ignore[arg-type]
        raise UserError("the index of the next shard is damaged")

    monkeypatch.setattr("step3vl.training.loader.rank_packs", three_batches)
    batches = loader.batches()
    assert len(list(islice(batches, 3))) == 3
    with pytest.raises(UserError, match="next shard"):
        next(batches)
