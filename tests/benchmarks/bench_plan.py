"""The plan of a run: mixture, order and packs from indexes alone, and how soon a run has its packs again.

No peer does the same. The index is made up as it is asked for, so that it may be as large as one likes:

    python tests/benchmarks/bench_plan.py 100_000_000

plans one epoch of so many rows and prints the memory and the time after each tenth of it.
"""

import resource
import sys
import time
from itertools import islice

import numpy as np
from bench_packing import CAPACITY, vlm_lengths
from measure import Row, race

from step3vl.data.plan import PARTITIONS, Cursor, IndexRows, Mixture, MixtureSource, Plan, PlanPhase, StreamState

SHARD = 10_000  # rows
PACKS = 20_000
FAR = 10_000_000  # packs


class MadeIndex:
    """`count` rows in shards of 10,000, with lengths as of a vision-language corpus."""

    lengths = np.array(vlm_lengths(10 * SHARD), np.int64)

    def __init__(self, count: int) -> None:
        self.rows = np.full(count // SHARD, SHARD, np.int64)
        self.samples = count

    def shard(self, number: int, capacity: int) -> IndexRows:
        places = np.arange(SHARD)
        lengths = self.lengths[np.random.default_rng(number).integers(0, 9 * SHARD) + places]
        tasks, documents = np.zeros(SHARD, np.int32), np.ones(SHARD, bool)
        return IndexRows(places, lengths, places << 12, places, tasks, ["made"], documents, {})

    def prefetch(self, numbers: list[int], capacity: int) -> None: ...


def plan_of(*counts: int, epochs: int | None = None) -> Plan:
    """Sources of so many rows each, the first with three times the weight of the others."""
    sources = tuple(
        MixtureSource(dataset=f"{number}:{count}", weight=1 if number else 3, epochs=epochs)
        for number, count in enumerate(counts)
    )
    phase = PlanPhase(Mixture(sources=sources))
    return Plan([phase], CAPACITY, 0, open_index=lambda source: MadeIndex(int(source.dataset.partition(":")[2])))


def rows(rounds: int) -> list[Row]:
    plan = plan_of(1_000_000_000, 1_000_000)
    state = StreamState(positions=((1, 60_000, 300),) * PARTITIONS, packs=FAR // 4 * 3)
    other = StreamState(positions=((12, 64, 100),) * PARTITIONS, packs=FAR // 4)
    cursor = Cursor(partitions=PARTITIONS, packs=FAR, phase_packs=FAR, source_tokens=(0, 0), streams=(state, other))

    def walk() -> int:
        return sum(len(pack) for pack in islice(plan.packs(cursor), PACKS))

    def begin() -> int:
        return len(next(plan.packs()).items)

    def resume() -> int:
        return len(next(plan.packs(cursor)).items)

    count = walk()
    walked = race({"ours": walk}, rounds)["ours"]
    begun = race({"ours": begin}, rounds)["ours"]
    resumed = race({"ours": resume}, rounds)["ours"]
    note = f"no peer; two sources, {PACKS} packs of {CAPACITY} with {count} samples of 1,001,000,000"
    there = f"first pack from a cursor at pack {FAR:,}, beside the first pack of a run: {1000 * resumed:.0f} ms of CPU"
    return [
        Row("Plan.packs, streamed", count / walked, None, "samples/cpu-s", note),
        Row("resume far in the plan", 1 / resumed, 1 / begun, "starts/cpu-s", there),
    ]


def main(count: int) -> None:
    plan, samples, start = plan_of(count, epochs=1), 0, time.process_time()
    walk, reported, far = plan.packs(), 0, None
    for pack in walk:
        samples += len(pack)
        if pack.number == FAR:
            far = walk.cursor
        if samples * 10 // count > reported:
            reported = samples * 10 // count
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(f"{samples:,} rows in {time.process_time() - start:.1f} s of CPU, at most {memory} MiB", flush=True)
    state = walk.cursor.streams[0]
    assert samples == state.samples == count
    print(f"{state.packs:,} packs, {state.tokens / state.packs / CAPACITY:.2%} full")
    if far is not None:
        start = time.process_time()
        next(plan.packs(far))
        print(f"from the cursor after pack {FAR:,} the next pack came in {time.process_time() - start:.3f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]))
