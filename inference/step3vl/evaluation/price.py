"""What tokens cost, those of the model that answers as those of a judge."""

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from step3vl.data.config import Config
from step3vl.inference.batch import AnswerRow


class TokenPrice(Config):
    """The price of tokens, in any currency."""

    prompt: float = Field(default=0.0, ge=0)
    """Of a million prompt tokens."""
    completion: float = Field(default=0.0, ge=0)
    """Of a million sampled tokens, reasoning included."""

    def record(self, rows: Iterable[AnswerRow]) -> dict[str, Any]:
        """Tokens of answers and their price, as results have them: `prompt_tokens`, `completion_tokens`, `price`."""
        usages = [row.get("usage") or {} for row in rows]
        prompt = sum(usage.get("prompt_tokens", 0) for usage in usages)
        completion = sum(usage.get("completion_tokens", 0) for usage in usages)
        price = (prompt * self.prompt + completion * self.completion) / 1e6
        return {"prompt_tokens": prompt, "completion_tokens": completion, "price": price}
