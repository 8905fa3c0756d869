"""How diverse samples are."""

import math
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.inspect.diversity import diversity_of, entropy, measure_diversity
from step3vl.data.inspect.near_duplicates import SHINGLE, count_near_duplicates, signature


def row(question: str, answer: str, image: str = "", **traits: str) -> dict[str, Any]:
    parts = [{"type": "image", "image": 0}] if image else []
    return {
        "messages": [
            {"role": "user", "content": [*parts, {"type": "text", "text": question}]},
            {"role": "assistant", "content": [{"type": "text", "text": answer}]},
        ],
        "images": [{"sha256": image, "width": 10, "height": 20}] if image else [],
        "source": {"collected_by": "step3vl/t", "traits": traits},
    }


def test_what_repeats_is_counted() -> None:
    rows = [
        row("What is 1 + 2?", "3", "a", font="Lato"),
        row("What is 30 + 4?", "34", "a", font="Lato"),
        row('Where is "x"?', "3", "b", font="Tinos"),
    ]
    measured = diversity_of("t", rows)
    assert (measured.sampled, measured.questions, measured.phrasings, measured.answers) == (3, 3, 2, 2)
    assert (measured.images, measured.distinct_images, measured.sizes) == (3, 2, 1)
    assert measured.frequent == 1.0 and measured.near_duplicates is None
    (font,) = (trait for trait in measured.traits if trait.name == "font")
    assert (font.values, font.most) == (2, "Lato") and font.share == pytest.approx(2 / 3)
    assert font.effective == pytest.approx(2 ** entropy(Counter({"a": 2, "b": 1})))


def test_documents_have_texts_and_no_questions() -> None:
    measured = diversity_of(
        "t", [{"content": [{"type": "text", "text": "年年有余"}], "source": {"collected_by": "step3vl/t"}}]
    )
    assert (measured.questions, measured.frequent, measured.answers) == (0, None, 1)
    assert measured.word_entropy == pytest.approx(1.5)  # 年 twice, 有, 余


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_entropy_is_at_most_that_of_equal_shares(counts: list[int]) -> None:
    measured = entropy(Counter(dict(enumerate(counts))))
    assert -1e-9 <= measured <= math.log2(len(counts)) + 1e-9
    assert entropy(Counter(dict.fromkeys(range(len(counts)), 3))) == pytest.approx(math.log2(len(counts)))


def text(rng: random.Random, length: int) -> str:
    return "".join(rng.choice("abcdefghij klmno") for _ in range(length))


def test_signatures_estimate_the_similarity_of_shingles() -> None:
    rng = random.Random(0)
    for changed in (0, 40, 150):
        first = text(rng, 400)
        second = first[: 400 - changed] + text(rng, changed)
        shingles = [{t[i : i + SHINGLE] for i in range(len(t) - SHINGLE + 1)} for t in (first, second)]
        exact = len(shingles[0] & shingles[1]) / len(shingles[0] | shingles[1])
        assert (signature(first) == signature(second)).mean() == pytest.approx(exact, abs=0.15)


def test_texts_with_a_changed_word_are_near_duplicates_and_others_are_not() -> None:
    rng = random.Random(1)
    texts = [text(rng, 300) for _ in range(40)]
    copies = [t[:150] + "#" + t[151:] for t in texts[:12]]
    assert count_near_duplicates(texts) == 0
    assert count_near_duplicates([*texts, *copies]) == 12
    assert count_near_duplicates([texts[0]] * 5) == 4
    assert count_near_duplicates(["\ud800 lone surrogate", "emoji 🙂🙂🙂🙂"]) == 0


def test_diversity_of_a_dataset_is_measured_on_a_sample(dataset: Dataset) -> None:
    measured = {task.task: task for task in measure_diversity(dataset, sampled=30)}
    assert {name: task.sampled for name, task in measured.items()} == {"counting.icons": 30, "education.sum": 30}
    assert measured["counting.icons"].images == 30
