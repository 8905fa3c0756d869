"""The order of prompts."""

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.sample import Image, ImagePart, Message, Sample, Source, ToolCall, image, text
from step3vl.data.tokens import encode_sample, load_tokenizer
from step3vl.training.rl.prompts import MAX_REPLACEMENTS, PromptPool, rollout_prompt


@pytest.fixture(scope="module")
def pool(corpus: Path) -> PromptPool:
    return PromptPool(Dataset.open(corpus), "train", ["vqa.*"], seed=3)


def test_only_conversations_of_the_selected_tasks_and_split(corpus: Path, pool: PromptPool) -> None:
    assert set(pool.tasks) == {"vqa.colour"}
    assert len(pool) == 50
    assert len(PromptPool(Dataset.open(corpus), "heldout", ["*"], seed=0)) == 20  # documents are no prompts
    trained = {pool.read(row).id for row in range(len(pool))}
    heldout = PromptPool(Dataset.open(corpus), "heldout", ["vqa.*"], seed=3)
    assert not trained & {heldout.read(row).id for row in range(len(heldout))}


def test_every_epoch_is_a_different_permutation(corpus: Path, pool: PromptPool) -> None:
    first, second = pool.rows(0, 50), pool.rows(50, 50)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    other = PromptPool(Dataset.open(corpus), "train", ["vqa.*"], seed=4)
    assert other.rows(0, 50) != first


def test_the_order_is_a_function_of_the_position(pool: PromptPool) -> None:
    expected = pool.rows(0, 200)

    @given(st.integers(0, 150), st.integers(0, 50))
    @settings(max_examples=30)
    def resume_anywhere(start: int, count: int) -> None:
        assert pool.rows(start, count) == expected[start : start + count]

    resume_anywhere()


def test_held_out_prompts_are_the_first_of_each_task(corpus: Path) -> None:
    pool = PromptPool(Dataset.open(corpus), "heldout", ["*"], seed=0)
    rows = pool.first_of_each_task(4)
    assert sorted(pool.tasks[row] for row in rows) == ["education.sum"] * 4 + ["vqa.colour"] * 4
    assert rows == pool.first_of_each_task(4)
    assert len(pool.first_of_each_task(1000)) == len(pool)


def test_a_sample_without_truth_is_named(corpus: Path) -> None:
    pool = PromptPool(Dataset.open(corpus), "train", ["education.sum"], seed=0)
    with pytest.raises(ValueError, match=r"has no truth to reward by: drop education\.sum from data\.tasks"):
        pool.read(0)


def test_the_candidates_of_a_position_depend_on_it_alone_and_end(pool: PromptPool) -> None:
    candidates = list(pool.candidates(7, row=3))
    assert candidates[0] == 3
    assert len(candidates) == 1 + MAX_REPLACEMENTS
    assert candidates == list(pool.candidates(7, row=3))
    assert candidates[1:] != list(pool.candidates(8, row=3))[1:]
    assert all(0 <= row < len(pool) for row in candidates)


def test_a_split_without_conversations_is_reported(corpus: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(corpus)
    train_only = tuple(shard for shard in dataset.manifest.shards if shard.split == "train")
    dataset = Dataset(dataset.url, dataset.manifest.model_copy(update={"shards": train_only}))
    with pytest.raises(UserError, match="no heldout conversations; `step3vl corpus split` makes"):
        PromptPool(dataset, "heldout", ["*"], seed=0)


TOOLS = ({"type": "function", "function": {"name": "zoom", "parameters": {"type": "object"}}},)
SYSTEM = Message(role="system", content=(text("Be brief."),))
QUESTION = Message(role="user", content=(image(0), text("Which colour?")))
CALL = Message(role="assistant", content=(), tool_calls=(ToolCall(name="zoom", arguments={"x": 1}),))
RESULT = Message(role="tool", content=(image(1), text("here")))
ANSWER = Message(role="assistant", content=(text("red"),), reasoning_content="It looks red.")


@pytest.mark.parametrize(
    ("messages", "tools"),
    [
        ((QUESTION, ANSWER), ()),
        ((SYSTEM, QUESTION, ANSWER), ()),
        ((QUESTION, ANSWER), TOOLS),
        ((SYSTEM, QUESTION, CALL, RESULT, ANSWER), TOOLS),
        ((SYSTEM, QUESTION, ANSWER, Message(role="user", content=(text("Sure?"),)), ANSWER), TOOLS),
        ((QUESTION, Message(role="assistant", content=(image(1), text("this one")))), TOOLS),
    ],
    ids=["plain", "system", "tools", "system and tool results", "several turns", "an image in the answer"],
)
def test_a_prompt_has_the_tokens_that_fine_tuning_has_before_the_answer(
    corpus: Path, messages: tuple[Message, ...], tools: tuple[dict[str, Any], ...]
) -> None:
    tokenizer = load_tokenizer(Dataset.open(corpus).tokenizer)
    spec = Dataset.open(corpus).manifest.counting.image
    count = sum(isinstance(part, ImagePart) for message in messages for part in message.content)
    sample = Sample.make(
        domain="vqa",
        task="vqa.colour",
        messages=messages,
        tools=tools,
        images=tuple(Image.from_bytes(png((28 + number, 28))) for number in range(count)),
        source=Source(uri="rendered:0", licence="CC0-1.0", collected_by="tests"),
    )
    encoded = encode_sample(sample, tokenizer, spec)
    prompt = rollout_prompt(sample, tokenizer, spec)
    length = len(prompt.token_ids)
    assert list(prompt.token_ids) == encoded.input_ids[:length].tolist()
    assert encoded.loss_weights[length] == 1.0  # the answer's first token comes next
    in_prompt = sum(isinstance(part, ImagePart) for message in messages[:-1] for part in message.content)
    assert prompt.images == sample.images[:in_prompt]


def png(size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", size, "red").save(buffer, "PNG")
    return buffer.getvalue()
