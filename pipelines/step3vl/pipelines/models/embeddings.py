"""Embeddings of texts by a sentence encoder of `transformers`, such as all-MiniLM-L6-v2."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from step3vl.data.errors import UserError
from step3vl.data.optional import require

_BATCH = 32  # texts of similar length that pass the model together


class TextEmbedder:
    """The model, loaded; on a GPU where the worker has one.

    Args:
        folder: Of the model and its tokenizer.
        tokens: Of the beginning of a text that are looked at.

    Raises:
        UserError: The folder holds no such model.
    """

    def __init__(self, folder: str, tokens: int) -> None:
        self._torch = torch = require("torch", "inference")
        transformers = require("transformers", "inference")
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._model = transformers.AutoModel.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise UserError(f"{folder} holds no sentence encoder that transformers can load: {error}") from error
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model.eval().to(self._device)
        self._tokens = min(tokens, getattr(self._model.config, "max_position_embeddings", tokens))
        self.size = int(self._model.config.hidden_size)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float16]:
        """The mean of the last hidden states of each text, of length 1, [texts, size].

        Texts pass one by one or beside those of nearly their length; a value moves by rounding alone with its batch.
        """
        result = np.zeros((len(texts), self.size), np.float16)
        order = sorted(range(len(texts)), key=lambda index: (len(texts[index]), index))
        for first in range(0, len(order), _BATCH):
            batch = order[first : first + _BATCH]
            result[batch] = self._embed([texts[index] for index in batch])
        return result

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float16]:
        torch = self._torch
        tokens = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._tokens, return_tensors="pt"
        ).to(self._device)
        with torch.inference_mode():
            states = self._model(**tokens).last_hidden_state.float()
        mask = tokens["attention_mask"][:, :, None].float()
        means = (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        normalised = torch.nn.functional.normalize(means, dim=-1)
        return np.asarray(normalised.cpu().numpy(), np.float16)
