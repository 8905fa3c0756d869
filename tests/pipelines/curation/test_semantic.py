"""Semantic duplicates by a real, tiny encoder of random weights: what says the same in another order is dropped."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.sample import Sample
from step3vl.pipelines.curation.config import CurationConfig, DecontaminateConfig, SemanticConfig
from step3vl.pipelines.curation.curate import curate
from step3vl.pipelines.curation.evidence import read_report
from step3vl.pipelines.curation.quotas import Quota
from step3vl.pipelines.curation.semantic import k_means, nearest
from step3vl.pipelines.models.embeddings import TextEmbedder

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
COUNT = 400  # words that the encoder knows


def word(number: int) -> str:
    """A word without digits, which benchmarks are masked of."""
    return f"w{chr(97 + number // 26)}{chr(97 + number % 26)}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder without positions, so that texts of the same words have the same embedding."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    path = tmp_path_factory.mktemp("encoder")
    words = ["[PAD]", "[UNK]", *map(word, range(COUNT))]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]"
    ).save_pretrained(path)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    model = transformers.BertModel(config)
    with torch.no_grad():
        model.embeddings.position_embeddings.weight.zero_()
    model.save_pretrained(path)
    return path


def sentence(seed: int, count: int = 30) -> list[str]:
    rng = np.random.default_rng(seed)
    return [word(int(n)) for n in rng.integers(0, COUNT, count)]


@pytest.mark.slow
def test_embeddings_have_length_one_and_do_not_depend_on_their_neighbours(folder: Path) -> None:
    embedder = TextEmbedder(str(folder), 64)
    texts = [" ".join(sentence(n, 5 + n)) for n in range(40)]
    together = embedder.embed(texts).astype(np.float32)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-2)
    alone = np.concatenate([embedder.embed([text]) for text in texts]).astype(np.float32)
    assert np.allclose(together, alone, atol=2e-3)
    with pytest.raises(UserError, match="no sentence encoder"):
        TextEmbedder(str(folder / "none"), 64)


def test_clusters_are_those_of_their_centres() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(8, dtype=np.float32)[:4]
    vectors = np.repeat(centres, 25, axis=0) + rng.normal(0, 0.05, (100, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = nearest(vectors, k_means(vectors, 4))
    assert sorted(len(set(labels[first : first + 25].tolist())) for first in range(0, 100, 25)) == [1, 1, 1, 1]
    assert len(set(labels.tolist())) == 4


@pytest.mark.slow
def test_the_same_in_other_words_is_dropped_for_a_kept_sample_that_is_alike(
    folder: Path, tmp_path: Path, document: Callable[..., Sample], build: Callable[..., Dataset]
) -> None:
    texts = [sentence(number) for number in range(24)]
    turned = [[*text[10:], *text[:10]] for text in texts[:6]]
    samples = [document(" ".join(text), uri=f"n{n}") for n, text in enumerate([*texts, *turned])]
    dataset = build(tmp_path / "in", samples)
    semantic = SemanticConfig(folder=str(folder), similarity=0.999, clusters=3, similar_items=0.999)
    items = tmp_path / "items.jsonl"  # what sample n3 says, from the end to the beginning, and something else
    questions = [" ".join(reversed(texts[3])), " ".join(sentence(1000))]
    items.write_text("".join(json.dumps({"question": question}) + "\n" for question in questions))
    config = CurationConfig(
        semantic=semantic,
        balance=(Quota(by="cluster", cap=5),),
        decontaminate=DecontaminateConfig(benchmarks=(str(items),)),
    )
    curated = curate([dataset.url], tmp_path / "out", config)
    steps = {step.name: step for step in curated.manifest.ledger}
    assert steps["curate.semantic"].dropped == {"semantic_duplicate": 6}
    assert steps["curate.balance"].read == 24
    assert len(list(curated.samples())) == steps["curate.balance"].kept <= 15
    uris = {sample.id: sample.source.uri for sample in samples}
    similar = pq.read_table(tmp_path / "out" / "similar_items").to_pylist()
    assert {(uris[row["id"]], row["item"].rpartition(":")[2]) for row in similar} == {("n3", "0"), ("n27", "0")}
    assert read_report(curated)["similar_items"] == 2
    rows = pq.read_table(tmp_path / "out" / "evidence").to_pylist()
    pairs = {
        frozenset((uris[row["id"]], uris[row["matched_id"]])) for row in rows if row["reason"] == "semantic_duplicate"
    }
    assert pairs == {frozenset((f"n{n}", f"n{24 + n}")) for n in range(6)}
    assert all(row["similarity"] >= 0.999 for row in rows if row["step"] == "curate.semantic")
    assert {row["detail"].split(" of ")[1].split()[0] for row in rows if row["step"] == "curate.balance"} == {
        "cluster"
    }


def test_a_quota_by_cluster_needs_embeddings() -> None:
    with pytest.raises(ValueError, match="needs the embeddings"):
        CurationConfig(balance=(Quota(by="cluster", cap=5),))
