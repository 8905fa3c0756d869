"""Benchmarks of questions on images: items, prompts and scores from a miniature of each release."""

import io
import json
import time
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from step3vl.data.errors import UserError
from step3vl.evaluation.benchmark import JudgedBenchmark
from step3vl.evaluation.item import Score, Scored
from step3vl.evaluation.registry import load_benchmark
from step3vl.evaluation.scoring import load_items

RIGHT = [
    "Final answer: B",
    r"So the final answer is \boxed{B}",
    "<answer>B</answer>",
    "B",
    "`B`",
    "Final answer: 3",
    "Final answer: dog",
]
RIGHT += [
    "(A)",
    "(B)",
    r"\boxed{C}",
    "No",
    "Yes",
    "The text is Centre",
    "x+Y",
    "Final answer: 1.5",
    "Answer: BX",
    "2",
    "A",
    "Answer: J",
]


@cache
def read_items(name, folder):
    return tuple(load_items(load_benchmark(name), folder).values())


def test_the_release_gives_items_with_prompts_and_images(name, releases):
    items = load_items(load_benchmark(name), releases / name, images=True)
    for item in items.values():
        indexes = [part.image for message in item.messages for part in message.content if part.type == "image"]
        assert set(indexes) == set(range(len(item.images)))
        assert item.images or item.fields.get("visual_input") == "0"
        assert item.messages[-1].role == "user" and any(part.type == "text" for part in item.messages[-1].content)
        for image in item.images:
            content = image if isinstance(image, bytes) else image.read_bytes()
            Image.open(io.BytesIO(content)).load()
        json.dumps(item.fields), json.dumps(item.answer)


def test_images_need_not_be_there_where_they_are_not_asked_for(name, releases):
    benchmark = load_benchmark(name)
    bare = load_items(benchmark, releases / name)
    assert bare.keys() == load_items(benchmark, releases / name, images=True).keys()
    assert not any(item.images for item in bare.values())


@pytest.mark.parametrize("rule", ["strict", "official"])
def test_right_wrong_and_unreadable_responses(name, rule, releases):
    benchmark = load_benchmark(name)
    if name == "simplevqa":
        pytest.skip("all of it is for the judge")
    for item in load_items(benchmark, releases / name).values():
        scores = [benchmark.score(item, response, rule) for response in RIGHT]
        assert any(score.verdict == "correct" for score in scores), item
        assert any(score.verdict == "wrong" for score in scores), item
        assert benchmark.score(item, "", rule).verdict in ("unparsable", "wrong")
        assert all(score.trace for score in scores)


def test_missing_files_are_named_with_their_source(name, tmp_path):
    with pytest.raises(UserError, match=r"download|no images"):
        list(load_benchmark(name).items(tmp_path))


ANSWERS = st.text(max_size=200) | st.lists(
    st.sampled_from(
        [
            "A",
            "(B)",
            "C.",
            "yes",
            "no",
            "3",
            "three",
            " ",
            "answer is ",
            "Answer:",
            "\n",
            r"\boxed{",
            "}",
            "<answer>",
            "*",
        ]
    )
).map("".join)


@settings(max_examples=5)
@given(response=ANSWERS)
def test_no_response_makes_a_score_raise(name, releases, response):
    benchmark = load_benchmark(name)
    for item in read_items(name, releases / name)[:2]:
        for rule in ("strict", "official"):
            score = benchmark.score(item, response, rule)
            assert 0 <= score.value <= 1 and (score.verdict == "correct") == (score.value == 1)
        if isinstance(benchmark, JudgedBenchmark):
            benchmark.read_judgement(item, response, response)
            assert benchmark.judge_messages(item, response)


@pytest.mark.parametrize("rule", ["strict", "official"])
def test_scoring_takes_linear_time(name, rule, releases):
    benchmark, item = load_benchmark(name), read_items(name, releases / name)[0]
    for piece in (r"\boxed{", "<answer>", "{", "`", "*", "(A) ", "1", "answer is "):
        start = time.process_time()
        benchmark.score(item, piece * (60_000 // len(piece)), rule)
        assert time.process_time() - start < 1, piece


def test_numbers_are_over_all_repeats(name, releases):
    benchmark, items = load_benchmark(name), read_items(name, releases / name)
    wrong, right = Score.of(False, "x", "test"), Score.of(True, "y", "test")
    half = [Scored(item, score, repeat) for item in items for repeat, score in enumerate((wrong, right))]
    assert benchmark.summarise(half).value == pytest.approx(50)
    assert benchmark.summarise([Scored(item, right) for item in items]).value == pytest.approx(100)
    assert benchmark.summarise([]).value == 0
