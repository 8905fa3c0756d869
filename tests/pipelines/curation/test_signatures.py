"""Signatures beside the true similarity and beside datasketch; candidates beside the theory of banding."""

import random

import numpy as np
import pytest

from step3vl.pipelines.curation.config import NearConfig
from step3vl.pipelines.curation.signatures import band_keys, signatures_of, similarities
from step3vl.pipelines.curation.words import hash_words

CONFIG = NearConfig()


def pairs(count: int, edits: float) -> list[tuple[str, str]]:
    """Texts of 200 words, and the same with some of them replaced."""
    rng = random.Random(f"{count} {edits}")
    result = []
    for _ in range(count):
        words = [f"w{rng.randrange(5000)}" for _ in range(200)]
        edited = [f"x{rng.randrange(5000)}" if rng.random() < edits else word for word in words]
        result.append((" ".join(words), " ".join(edited)))
    return result


def shingles(text: str) -> set[str]:
    words = text.split()
    return {" ".join(words[i : i + CONFIG.ngram]) for i in range(len(words) - CONFIG.ngram + 1)}


def jaccard(first: str, second: str) -> float:
    a, b = shingles(first), shingles(second)
    return len(a & b) / len(a | b)


def test_the_estimate_is_as_good_as_that_of_datasketch() -> None:
    from datasketch import MinHash

    texts = [pair for edits in (0.005, 0.02, 0.05) for pair in pairs(40, edits)]
    truth = np.array([jaccard(*pair) for pair in texts])
    first, second = (signatures_of(hash_words(column), CONFIG) for column in zip(*texts, strict=True))
    ours = similarities(first, second) - truth

    def datasketch(text: str) -> MinHash:
        sketch = MinHash(num_perm=CONFIG.slots)
        sketch.update_batch([shingle.encode() for shingle in shingles(text)])
        return sketch

    theirs = np.array([datasketch(a).jaccard(datasketch(b)) for a, b in texts]) - truth
    bound = np.sqrt(np.mean(truth * (1 - truth)) / CONFIG.slots)
    assert abs(ours.mean()) < 3 * bound / np.sqrt(len(texts))
    assert np.sqrt(np.mean(ours**2)) < 1.2 * bound
    assert np.sqrt(np.mean(ours**2)) < 1.2 * np.sqrt(np.mean(theirs**2))


@pytest.mark.parametrize("edits", [0.01, 0.03, 0.05])
def test_candidates_are_found_as_often_as_theory_says(edits: float) -> None:
    texts = pairs(600, edits)
    first, second = (
        band_keys(signatures_of(hash_words(column), CONFIG), CONFIG) for column in zip(*texts, strict=True)
    )
    expected = np.mean([CONFIG.shared_band(jaccard(*pair)) for pair in texts])
    result = np.mean((first == second).any(axis=1))
    assert result == pytest.approx(expected, abs=3 * np.sqrt(expected * (1 - expected) / len(texts)) + 0.01)


def test_a_band_key_depends_on_the_band_and_on_all_its_slots() -> None:
    signature = np.zeros((2, CONFIG.slots), np.uint16)
    signature[1, 3] = 1
    keys = band_keys(signature, CONFIG)
    assert len(set(keys[0].tolist())) == CONFIG.bands
    assert (keys[0] != keys[1]).tolist() == [True] + [False] * (CONFIG.bands - 1)


def test_texts_without_ngrams_have_a_signature_of_their_own() -> None:
    signatures = signatures_of(hash_words(["", "too short", "one two three four five"]), CONFIG)
    assert (signatures[:2] == 0xFFFF).all()
    assert (signatures[2] != 0xFFFF).any()


def test_the_signature_is_frozen() -> None:
    """Indexes of earlier builds hold signatures: a change must raise `FEATURES_VERSION`."""
    signature = signatures_of(hash_words(["the quick brown fox jumps over the lazy dog 你好世界"]), CONFIG)[0]
    assert signature[:2].tolist() == [20021, 40675]
