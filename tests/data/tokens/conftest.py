"""The released vocabulary, loaded once."""

import pytest
from tokenizers import Tokenizer

from step3vl.data.tokens.vocabulary import load_tokenizer


@pytest.fixture(scope="session")
def qwen3() -> Tokenizer:
    return load_tokenizer("qwen3")
