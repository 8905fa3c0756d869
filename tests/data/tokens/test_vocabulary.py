"""Tokenizers: the released vocabulary, and small ones trained from texts."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from step3vl.data.errors import UserError
from step3vl.data.storage.store import Store
from step3vl.data.storage.store_config import DEFAULT_STORE
from step3vl.data.tokens.vocabulary import STEP_TOKENS, TokenIds, load_tokenizer, train_bpe


def test_qwen3_has_the_released_ids(qwen3: Tokenizer) -> None:
    assert qwen3.encode("Hello world").ids == [9707, 1879]
    assert [qwen3.token_to_id(token) for token in STEP_TOKENS] == list(range(151669, 151692))
    ids = TokenIds.of(qwen3)
    assert (ids.pad, ids.chat_start, ids.chat_end, ids.image_patch) == (151643, 151644, 151645, 151679)


def test_trained_vocabulary_does_not_depend_on_the_order_of_texts() -> None:
    texts = [f"How many stars are there? {n}" for n in range(50)] + ["你好 世界", "naïve café"]
    first, second = train_bpe(texts, 420), train_bpe(reversed(texts), 420)
    assert first.to_str() == second.to_str()
    assert first.decode(first.encode("naïve 12 世界").ids) == "naïve 12 世界"
    assert len(first.encode("12").ids) == 2, "digits are separate tokens"


def test_too_small_a_vocabulary_is_refused() -> None:
    with pytest.raises(UserError, match="too small"):
        train_bpe(["a"], 300)


def test_tokenizer_is_loaded_from_a_path_or_url_of_the_file_or_its_folder(tmp_path: Path) -> None:
    text = train_bpe(["a b c"], 400).to_str()
    for url in (str(tmp_path), "memory://bpe"):
        Store(url, DEFAULT_STORE).put("tokenizer/tokenizer.json", text.encode())
        loaded = [load_tokenizer(f"{url}/tokenizer{name}") for name in ("", "/", "/tokenizer.json")]
        assert {tokenizer.to_str() for tokenizer in loaded} == {loaded[0].to_str()}
        assert loaded[0].encode("a b").ids == Tokenizer.from_str(text).encode("a b").ids


def test_missing_tokenizer_is_a_user_error(tmp_path: Path) -> None:
    for name in (f"{tmp_path}/nowhere", "memory://nowhere/bpe"):
        with pytest.raises(UserError, match=f"no tokenizer at {name}"):
            load_tokenizer(name)
