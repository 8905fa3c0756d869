"""The plan of a run: mixture, order and packs from the index alone. A rate; no peer does the same."""

from itertools import islice

import fixtures
from bench_packing import CAPACITY, vlm_lengths
from measure import Row, race

from step3vl.data.plan import Mixture, MixtureSource, Plan
from step3vl.data.sample import TokenCount

SAMPLES = 2000
PACKS = 5000


def rows(rounds: int) -> list[Row]:
    lengths = vlm_lengths(SAMPLES)
    samples = [fixtures.question(n, (), TokenCount(text=length, image=0)) for n, length in enumerate(lengths)]
    with fixtures.folder() as root:
        fixtures.dataset(root, samples, fixtures.small_tokenizer())
        # The same rows twice, as two sources with different shares.
        sources = tuple(MixtureSource(dataset=str(root), weight=weight) for weight in (3, 1))
        plan = Plan(Mixture(sources=sources), CAPACITY, seed=0)

        def walk() -> int:
            return sum(len(pack.items) for pack in islice(plan.packs(), PACKS))

        count = walk()
        seconds = race({"ours": walk}, rounds)["ours"]
    note = f"no peer; two sources, {PACKS} packs of {CAPACITY} with {count} samples"
    return [Row("Plan.packs", count / seconds, None, "samples/cpu-s", note)]
