"""Which pipeline runs which segments of entries with several, one or no models."""

from collections.abc import Callable
from typing import Any, Literal

import pytest
from pydantic import create_model

from step3vl.data.config import Config
from step3vl.data.sample import Sample
from step3vl.pipelines.core.domain import BeamStep, Domain, GeneratedEntry, ModelStep, Step
from step3vl.pipelines.core.segment import segments_of
from step3vl.pipelines.core.waves import Chains

MakeChains = Callable[..., Chains]


class Row(Config):
    value: int


def step(symbol: str, index: int) -> Step:
    """`m` is a model, `b` a step, `s` a step before which records are spread, `e` the last step."""
    if symbol == "m":
        return ModelStep(f"m{index}", 1, lambda entry: None, Row)  # type: ignore[arg-type, return-value]
    output = Sample if symbol == "e" else Row
    return BeamStep(f"{symbol}{index}", 1, lambda entry, context: None, output, spread=symbol == "s")  # type: ignore[arg-type, return-value]


@pytest.fixture
def make_chains(use_domain: Callable[[Domain[Any]], None]) -> MakeChains:
    def make(*patterns: str, models_on_ray: bool = True) -> Chains:
        segments = []
        for index, pattern in enumerate(patterns):
            name = f"d{index}"
            entry = create_model("Entry", __base__=GeneratedEntry, domain=(Literal[name], ...))
            use_domain(Domain(entry, tuple(step(symbol, place) for place, symbol in enumerate(pattern))))
            segments += segments_of(entry(domain=name, name=name, count=1), 0, "")
        return Chains(tuple(segments), models_on_ray)

    return make


def levels(chains: Chains) -> list[list[list[str]]]:
    return [[[chains.segments[number].name for number in level] for level in wave.levels] for wave in chains.waves()]


def test_an_entry_without_models_is_done_in_one_wave(make_chains: MakeChains) -> None:
    assert levels(make_chains("e", "bse")) == [[["d0.e0", "d1.b0"], ["d1.s1"]]]


def test_every_model_on_ray_begins_a_wave(make_chains: MakeChains) -> None:
    assert levels(make_chains("bme", "bmsmse", "e")) == [
        [["d0.b0", "d1.b0", "d2.e0"]],
        [["d0.m1", "d1.m1"], ["d0.e2", "d1.s2"]],
        [["d1.m3"], ["d1.s4"]],
    ]


def test_a_model_may_read_the_inputs(make_chains: MakeChains) -> None:
    assert levels(make_chains("me")) == [[], [["d0.m0"], ["d0.e1"]]]


def test_models_in_beam_need_no_wave_of_their_own(make_chains: MakeChains) -> None:
    assert levels(make_chains("bme", "e", models_on_ray=False)) == [[["d0.b0", "d1.e0"], ["d0.m1"], ["d0.e2"]]]


def test_the_steps_of_an_entry_are_named_in_order(make_chains: MakeChains) -> None:
    assert make_chains("bbme", "e").step_names() == [["d0", "d0.b0", "d0.b1", "d0.m2", "d0.e3"], ["d1", "d1.e0"]]
