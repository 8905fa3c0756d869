"""Perplexity by a real, tiny model of random weights, beside the same by log-probabilities."""

import math
from pathlib import Path

import pytest
from tests.pipelines.domains.test_knowledge_pairs import ROOT, build

from step3vl.data.errors import UserError
from step3vl.pipelines.models.perplexity import PerplexityConfig, PerplexityModel

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.slow

WORDS = ["<unk>", "the", "image", "is", "a", "filter", "edge", "of"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers

    path = tmp_path_factory.mktemp("lm")
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(path)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    )
    transformers.LlamaForCausalLM(config).save_pretrained(path)
    return path


def test_it_is_the_exponential_of_the_mean_surprise(folder: Path) -> None:
    text = "the edge of a filter is the image of a filter"
    (measured,) = PerplexityModel(PerplexityConfig(folder=str(folder))).measure([text])
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = torch.tensor([[WORDS.index(word) for word in text.split()]])
    with torch.no_grad():
        logs = model(input_ids=ids).logits.log_softmax(-1)
    surprise = [-float(logs[0, place, ids[0, place + 1]]) for place in range(ids.shape[1] - 1)]
    assert measured == pytest.approx(math.exp(sum(surprise) / len(surprise)), abs=0.01)


def test_only_the_beginning_of_a_text_is_read_and_a_word_says_nothing(folder: Path) -> None:
    model = PerplexityModel(PerplexityConfig(folder=str(folder), tokens=4))
    first, second, *short = model.measure(["the image is a filter", "the image is a edge of of of", "the", ""])
    assert first == second
    assert short == [None, None]


def test_pages_that_surprise_the_model_are_dropped(folder: Path) -> None:
    fields = {"sources": [{"files": ["data/samples/web/*.warc.gz"], "licence": "BSD-3-Clause"}]}
    kept = build({**fields, "perplexity": {"folder": str(folder), "max": 1e9}}, ROOT, domain="knowledge.interleaved")
    assert kept.samples
    assert all(sample.scores["perplexity"] > 1 for sample in kept.samples)
    dropped = build(
        {**fields, "perplexity": {"folder": str(folder), "max": 1.01}}, ROOT, domain="knowledge.interleaved"
    )
    assert dropped.samples == []
    assert dropped.reasons["perplexity"] > 0


def test_a_folder_without_a_model_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no language model"):
        PerplexityModel(PerplexityConfig(folder=str(tmp_path)))
