"""How surprising a text is to a small language model: high for lists of keywords and garbled text."""

import math
from collections.abc import Sequence

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.optional import require


class PerplexityConfig(Config):
    """A filter by the perplexity of a causal language model, which runs on Ray or in Beam's workers."""

    folder: str = Field(pattern=r"^/")
    """The model in the format of `transformers`, at the same absolute path on every machine."""
    max: float = Field(default=1500.0, gt=1)
    """Texts above it are dropped. It depends on the model; OBELICS took 1,500 for a 5-gram model."""
    tokens: int = Field(default=512, ge=2)
    """Of the beginning of a text that are looked at."""


class PerplexityModel:
    """The model, loaded; on a GPU where the worker has one.

    Args:
        config: Its folder, and how much of a text it reads.

    Raises:
        UserError: The folder holds no such model.
    """

    def __init__(self, config: PerplexityConfig) -> None:
        self._torch = torch = require("torch", "inference")
        transformers = require("transformers", "inference")
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(config.folder, local_files_only=True)
            self._model = transformers.AutoModelForCausalLM.from_pretrained(config.folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise UserError(f"{config.folder} holds no language model that transformers can load: {error}") from error
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model.eval().to(self._device)
        self._tokens = config.tokens

    def measure(self, texts: Sequence[str]) -> list[float | None]:
        """The perplexity of each text by itself; None for one of fewer than two tokens."""
        return [self._of(text) for text in texts]

    def _of(self, text: str) -> float | None:
        ids = self._tokenizer(text, truncation=True, max_length=self._tokens, return_tensors="pt")["input_ids"]
        if ids.shape[1] < 2:
            return None
        ids = ids.to(self._device)
        with self._torch.inference_mode():
            loss = float(self._model(input_ids=ids, labels=ids).loss)
        return round(math.exp(min(loss, 50.0)), 2)
