"""A training step: the DeepSpeed engine of one rank beside a bare torch loop on the same model and batches."""

import copy
import math
import os
from itertools import islice

import fixtures
import torch
from measure import Row, race

from step3vl.data.plan import Mixture, MixtureSource, PlanPhase
from step3vl.data.tokens import TokenIds, count_tokens
from step3vl.model import Step3VLForConditionalGeneration, Step3VLProcessor, tiny_config
from step3vl.training.config import EngineConfig, OptimizerConfig
from step3vl.training.engine import backward, join, leave, parameter_groups, set_learning_rate, start_engine, step
from step3vl.training.launch import free_port
from step3vl.training.loader import PackLoader

STEPS, PACKS, CAPACITY, RATE = 4, 4, 192, 1e-4


def rows(rounds: int) -> list[Row]:
    tokenizer = fixtures.small_tokenizer()
    image_token = TokenIds.of(tokenizer).image_patch
    torch.manual_seed(0)
    config = tiny_config(tokenizer.get_vocab_size(), fixtures.SPEC, image_token_id=image_token)
    model = Step3VLForConditionalGeneration(config).train()
    twin = copy.deepcopy(model)
    batches = _batches(Step3VLProcessor.build(tokenizer, fixtures.SPEC))
    optimizer = OptimizerConfig()

    world = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    os.environ.update({**world, "MASTER_PORT": str(free_port())})
    join()
    engine = start_engine(
        model, parameter_groups(model, optimizer), optimizer, EngineConfig(precision="autocast", micro_batch=PACKS)
    )
    adam = torch.optim.AdamW(
        parameter_groups(twin, optimizer),
        lr=RATE,
        betas=(optimizer.beta1, optimizer.beta2),
        eps=optimizer.eps,
        fused=True,
    )

    def ours() -> float:
        for batch in batches:
            set_learning_rate(engine, RATE)
            output = engine(**batch.inputs)
            backward(engine, output.loss * output.loss_weight, batch.weight)
            step(engine)
        return float(output.loss.detach())

    def bare() -> float:
        for batch in batches:
            with torch.autocast("cpu", torch.bfloat16):
                loss = twin(**batch.inputs).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(twin.parameters(), optimizer.grad_clip)
            adam.step()
            adam.zero_grad()
        return float(loss.detach())

    # Both train on, and must stay together: in every round the last loss is the same up to bfloat16.
    seconds = race({"ours": ours, "peer": bare}, rounds, same=lambda a, b: math.isclose(a, b, rel_tol=0.02))
    leave()
    rates = {name: STEPS / taken for name, taken in seconds.items()}
    overhead = 1000 * (seconds["ours"] - seconds["peer"]) / STEPS
    note = f"bare torch loop, fused AdamW, same autocast and clipping; DeepSpeed ZeRO-1 adds {overhead:.1f} ms a step"
    what = f"{PACKS} packs of {CAPACITY} with images"
    return [Row(what, rates["ours"], rates["peer"], "steps/cpu-s", note)]


def _batches(processor: Step3VLProcessor) -> list:
    """The first batches of a small dataset, read before the clock starts."""
    tokenizer = processor.plain_tokenizer()
    images = [fixtures.jpeg(fixtures.photograph(160, 100, seed)) for seed in range(8)]
    with fixtures.folder() as root:
        samples = []
        for number in range(96):
            sample = fixtures.question(number, (images[number % 8],) if number % 3 else ())
            samples.append(sample.model_copy(update={"tokens": count_tokens(sample, tokenizer, fixtures.SPEC)}))
        fixtures.dataset(root, samples, tokenizer)
        loader = PackLoader(
            [PlanPhase(Mixture(sources=(MixtureSource(dataset=str(root)),)))],
            sequence_length=CAPACITY,
            seed=0,
            tokenizer=tokenizer,
            image_processor=processor.image_processor,
            micro_batch=PACKS,
            rank=0,
            world=1,
        )
        return list(islice(loader.batches(), STEPS))
