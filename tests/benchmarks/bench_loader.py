"""Reading through the loader beside decoding alone: what plan, index, shard and checks cost next to the images."""

from itertools import islice

import fixtures
from measure import Row, race

from step3vl.data.plan import Cursor, Mixture, MixtureSource, Plan, PlanPhase, StreamState
from step3vl.data.sample import Sample
from step3vl.data.tokens import count_tokens
from step3vl.model import Step3VLImageProcessor
from step3vl.training.batch import prepare_sample
from step3vl.training.loader import PackLoader

IMAGES, SIDE, CAPACITY = 48, 672, 1024
FAR = 10_000_000  # packs


def rows(rounds: int) -> list[Row]:
    tokenizer, processor = fixtures.small_tokenizer(), Step3VLImageProcessor(**fixtures.SPEC.model_dump())
    samples = []
    for number in range(IMAGES):
        sample = fixtures.question(number, (fixtures.jpeg(fixtures.photograph(SIDE, SIDE, number)),))
        samples.append(sample.model_copy(update={"tokens": count_tokens(sample, tokenizer, fixtures.SPEC)}))
    size = sum(len(sample.images[0].read()) for sample in samples) // IMAGES
    with fixtures.folder() as root:
        fixtures.dataset(root, samples, tokenizer)

        def loader_of() -> PackLoader:
            return PackLoader(
                [PlanPhase(Mixture(sources=(MixtureSource(dataset=str(root)),)))],
                sequence_length=CAPACITY,
                seed=0,
                tokenizer=tokenizer,
                image_processor=processor,
                micro_batch=1,
                rank=0,
                world=1,
            )

        loader = loader_of()
        epoch = _packs_of_an_epoch(loader.plan)

        def decoded(sample: Sample) -> int:
            return sample.images[0].open().size[0]

        def alone() -> int:
            return sum(decoded(sample) for sample in samples)

        def planned() -> int:
            items = (item for pack in islice(loader.plan.packs(), epoch) for item in pack.items)
            return sum(decoded(loader.plan.read(item)) for item in items)

        def prepared() -> int:
            return sum(len(prepare_sample(sample, tokenizer, processor).ids) for sample in samples)

        def batches() -> int:
            return sum(batch.tokens for batch in islice(loader.batches(), epoch))

        def first(start: Cursor | int) -> bool:
            return next(loader_of().batches(start)).tokens > 0

        state = StreamState(epoch=FAR // epoch, pack=FAR % epoch, packs=FAR)
        far = Cursor(packs=FAR, phase_packs=FAR, source_tokens=(0,), streams=(state,))
        decoding = race({"ours": planned, "peer": alone}, rounds)
        whole = race({"ours": batches, "peer": prepared}, rounds)
        begun = race({"ours": lambda: first(far), "peer": lambda: first(0)}, rounds)
    what = f"{SIDE}x{SIDE} JPEG of {size // 1024} KB"
    return [
        Row(
            f"{what}: planned, read, checked, decoded",
            IMAGES / decoding["ours"],
            IMAGES / decoding["peer"],
            "images/cpu-s",
            "decoding alone, from memory: the limit",
        ),
        Row(
            f"{what}: PackLoader.batches",
            IMAGES / whole["ours"],
            IMAGES / whole["peer"],
            "images/cpu-s",
            "`prepare` of the same samples from memory: decoding, crops, tokens; ours with plan, reading, collation",
        ),
        Row(
            f"a new PackLoader's first batch, from the cursor at pack {FAR:,}",
            1 / begun["ours"],
            1 / begun["peer"],
            "batches/cpu-s",
            f"the first batch of a run; {1000 * begun['ours']:.0f} ms of CPU, images included",
        ),
    ]


def _packs_of_an_epoch(plan: Plan) -> int:
    walk = plan.packs()
    while walk.cursor.streams[0].epoch == 0:
        next(walk)
    return walk.cursor.packs
