"""Which answers of a conversation are trained: all of them, those after the last question, or as their turns say.

The expected masks are those of other trainers on the same chats: TRL's `assistant_only_loss` and LLaMA-Factory train
every answer of a conversation, and leave out turns of weight 0.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from tokenizers import Tokenizer

from step3vl.data.convert import RecordDefaults
from step3vl.data.convert.answers import count_untrained, spans_of
from step3vl.data.convert.record_source import read_records
from step3vl.data.convert.turns import Trained
from step3vl.data.sample.crops import ImageSpec
from step3vl.data.sample.sample import Sample
from step3vl.data.tokens.encoding import count_sample, encode_sample

SPEC = ImageSpec()
QUESTIONS = ("one?", "two?", "three?")


def chat(*answers: str, **weights: dict) -> list[dict]:
    """Turns of ShareGPT with these answers, in which some turns have further fields by their number."""
    pairs = zip(QUESTIONS, answers, strict=False)
    turns = [turn for q, a in pairs for turn in ({"from": "human", "value": q}, {"from": "gpt", "value": a})]
    return [{**turn, **weights.get(f"turn_{number}", {})} for number, turn in enumerate(turns)]


@pytest.fixture
def trained_texts(tmp_path: Path, qwen3: Tokenizer) -> Callable[..., list[str]]:
    """trained_texts(turns, format, trained): the texts with a weight in the loss, without markup."""

    def trained_texts(turns: list[dict], format_name: str = "sharegpt", trained: Trained | None = None) -> list[str]:
        path = tmp_path / "data.jsonl"
        path.write_text(json.dumps({"messages" if format_name == "openai" else "conversations": turns}))
        (sample,) = read_records(path, format_name, RecordDefaults(trained=trained))
        assert isinstance(sample, Sample), sample
        spans = [span.text for span in spans_of(sample, qwen3, SPEC) if span.weight]
        return [span.removeprefix("\n</think>\n").removesuffix("<|im_end|>") for span in spans]

    return trained_texts


def test_every_answer_is_trained(trained_texts: Callable[..., list[str]]) -> None:
    turns = chat("a", "b", "c")
    assert trained_texts(turns) == ["a", "b", "c"]
    assert trained_texts(turns, trained="last") == ["c"]
    messages = [{"role": turn["from"], "content": turn["value"]} for turn in turns]
    assert trained_texts(messages, "openai") == ["a", "b", "c"]


def test_records_of_steptron_train_the_last_answer(trained_texts: Callable[..., list[str]]) -> None:
    turns = [{"role": turn["from"], "content": turn["value"], "loss_mask": 1} for turn in chat("a", "b")]
    assert trained_texts(turns, "step") == ["b"], "as there, whatever the mask of earlier turns"
    assert trained_texts(turns, "step", trained="all") == ["a", "b"]


def test_reasoning_that_the_template_strips_is_not_trained_away(trained_texts: Callable[..., list[str]]) -> None:
    turns = chat("<think>hm</think>a", "b")
    assert trained_texts(turns) == ["b"], "training the first answer would teach to answer without reasoning"
    assert trained_texts(turns, trained="all") == ["a", "b"]
    assert trained_texts(chat("a", "<think>hm</think>b"))[0] == "a"


@pytest.mark.parametrize("key", ["weight", "loss_weight", "loss", "train"])
def test_a_turn_says_its_weight(key: str, trained_texts: Callable[..., list[str]]) -> None:
    zero: object = False if key in ("loss", "train") else 0
    turns = chat("a", "b", "c", turn_0={key: zero}, turn_1={key: zero}, turn_4={key: zero})
    assert trained_texts(turns) == ["b", "c"], "SlimOrca has weight 0 at questions too"
    assert trained_texts(chat("a", "b", turn_1={key: 1}), trained="last") == ["a", "b"]


def test_the_share_of_trained_answers(tmp_path: Path, qwen3: Tokenizer) -> None:
    (tmp_path / "data.jsonl").write_text(json.dumps({"conversations": chat("a b c", "d e")}))
    counts: dict[Trained, list[int]] = {}
    for trained in get_args(Trained):
        (sample,) = read_records(tmp_path / "data.jsonl", "sharegpt", RecordDefaults(trained=trained))
        assert isinstance(sample, Sample)
        encoded = encode_sample(sample, qwen3, SPEC)
        counts[trained] = [count_sample(sample, qwen3, SPEC).trained, count_untrained(sample, qwen3)]
        assert counts[trained][0] == np.count_nonzero(encoded.loss_weights)
    assert sum(counts["all"]) == sum(counts["last"])
    assert counts["all"][1] == 0
    assert counts["last"][1] == 4, "three words and the end of the turn"
