import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from step3vl.data.errors import UserError
from step3vl.pipelines.models.concepts import BalanceConfig, ConceptList, ConceptTable, count_concepts, table_lines
from step3vl.pipelines.models.language import identify, is_foreign, spoken
from step3vl.pipelines.models.similarity import detail, lexical_similarity
from step3vl.pipelines.sources.pairs.image_text import PairText, Role


def scores(texts: dict[Role, str], *around: str) -> dict[str, float]:
    pairs = [PairText(role=role, text=text) for role, text in texts.items()]
    return {pair.role: score for pair, score in zip(pairs, lexical_similarity(pairs, around), strict=True)}


def test_words_of_the_file_name_and_the_heading_speak_for_a_text() -> None:
    texts: dict[Role, str] = {
        "above": "The old water mill was built in 1780.",
        "below": "Tickets are sold at the door.",
    }
    by_role = scores(texts, "water mill", "Opening hours")
    assert by_role["above"] > 0.4 > by_role["below"]


@pytest.mark.parametrize(
    ("caption", "other"),
    [
        ("Figure 3: Output of the filter.", "The filter is slow on large inputs."),
        ("图3 滤波器的输出结果示意", "滤波器处理大图像时速度较慢"),
        ("Photo by the author of the old town hall", "We arrived late and slept until the next noon"),
    ],
)
def test_a_text_that_begins_as_captions_do_is_preferred(caption: str, other: str) -> None:
    by_role = scores({"above": other, "below": caption})
    assert by_role["below"] > by_role["above"] + 0.2


def test_the_alternative_text_is_no_witness_of_itself() -> None:
    alone = scores({"alt": "old water mill"})["alt"]
    assert scores({"alt": "old water mill", "below": "An old water mill in the valley."})["alt"] == alone
    assert scores({"alt": "old water mill", "below": "An old water mill in the valley."})["below"] > 0.4


@given(st.lists(st.tuples(st.sampled_from(["alt", "above", "below", "caption"]), st.text(max_size=60)), max_size=4))
def test_scores_are_fractions(texts: list[tuple[Role, str]]) -> None:
    similarities = lexical_similarity([PairText(role=role, text=text) for role, text in texts], ["a name"])
    assert len(similarities) == len(texts)
    assert all(0 <= score <= 1 for score in similarities)


def test_detail_is_the_entropy_of_grey_levels() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8)
    halves = np.repeat(np.array([[0, 255]], dtype=np.uint8), 100, axis=1).repeat(200, axis=0)
    assert detail(PILImage.new("RGB", (300, 200), "white")) == 0
    assert detail(PILImage.fromarray(halves)) == pytest.approx(1 / 8)
    assert detail(PILImage.fromarray(noise)) > 0.99


def test_concepts_are_runs_of_whole_words_in_any_script() -> None:
    concepts = ConceptList(["Water Mill", "mill", "cat", "New York", "水车", "清华大学", "  "])
    assert len(concepts) == 6
    assert concepts.find("A water mill: no cathedral, but CATS.") == ["mill", "Water Mill", "cat"] or concepts.find(
        "A water mill: no cathedral, but CATS."
    ) == ["Water Mill", "mill", "cat"]
    assert concepts.find("new  york,york new") == ["New York"]
    assert concepts.find("河边的水车和清华大学校门") == ["水车", "清华大学"]
    assert concepts.find("") == []


WORDS = ["cat", "dog", "mill", "rocket", "grass"]


@settings(max_examples=50)
@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=4), max_size=30))
def test_counts_are_texts_and_add_up_over_parts(captions: list[list[str]]) -> None:
    texts, concepts = [" ".join(words) for words in captions], ConceptList(WORDS)
    whole = count_concepts(texts, concepts)
    assert whole == {word: n for word in WORDS if (n := sum(word in words for words in captions))}
    assert count_concepts(texts[:7], concepts) + count_concepts(texts[7:], concepts) == whole


def test_common_concepts_are_capped_and_rare_ones_lose_nothing() -> None:
    rng = random.Random(0)
    texts = (
        [f"a cat and a {rng.choice(['box', 'bag', 'hat'])}" for _ in range(6000)]
        + ["one rocket"] * 50
        + ["words"] * 400
    )
    table = ConceptTable(count_concepts(texts, ConceptList(["cat", "rocket", "box"])))
    config = BalanceConfig(counts="x", cap=300, unmatched=0.5)
    kept = Counter(word for text in texts if table.keeps(text, config, rng) for word in text.split())
    # A text with a box is kept for either of its concepts.
    boxes = table.counts["box"]
    expected = 6000 * 0.05 + boxes * (1 - 0.05) * 300 / boxes
    assert kept["cat"] == pytest.approx(expected, rel=0.15)
    assert kept["rocket"] == 50
    assert kept["words"] == pytest.approx(200, rel=0.25)


def test_probabilities_are_those_of_the_rule() -> None:
    table = ConceptTable({"cat": 1000, "box": 200, "hat": 5, "unseen": 0})
    config = BalanceConfig(counts="x", cap=100, unmatched=0.25)
    assert table.probability("cat", config) == pytest.approx(0.1)
    assert table.probability("a cat in a box", config) == pytest.approx(1 - 0.9 * 0.5)
    assert table.probability("a cat with a hat", config) == 1
    assert table.probability("unseen words", config) == 0.25


def test_tables_are_read_as_they_are_written(tmp_path: Path) -> None:
    counts = {"water mill": 3, "水车": 3, "cat": 12}
    path = tmp_path / "counts.tsv"
    path.write_text("".join(table_lines(counts)), "utf-8")
    assert path.read_text("utf-8").splitlines() == ["cat\t12", "water mill\t3", "水车\t3"]
    assert ConceptTable.load(path).counts == counts
    path.write_text("cat 12\n")
    with pytest.raises(UserError, match=r"counts\.tsv:1"):
        ConceptTable.load(path)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The house stands at the end of a long and narrow street.", "en"),
        ("房子在一条又长又窄的街道尽头,门口有一棵大树。", "zh"),
        ("Das Haus steht am Ende einer langen und schmalen Straße.", "de"),
        ("La maison se trouve au bout d'une rue longue et étroite.", "fr"),
        ("この家は細くて長い通りの端に立っています。", "ja"),
    ],
)
def test_languages(text: str, language: str) -> None:
    assert identify(text)[0] == spoken(text) == language
    assert not is_foreign(text, [language, "ko"])
    assert is_foreign(text, ["ko"])
    assert not is_foreign(text, [])


def test_what_is_too_short_to_tell_is_not_foreign() -> None:
    assert not is_foreign("Sony DSC-W120", ["en"])
    assert spoken("Sony DSC-W120") == "und"
