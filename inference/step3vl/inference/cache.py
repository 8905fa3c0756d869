"""Keys and values of many rollouts that share their prompts' prefill, in buffers that are written in place."""

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer

BLOCK = 256  # tokens of room that a buffer starts with or grows by


class RolloutLayer(DynamicLayer):
    """One decoder layer. The library's own layer copies everything it holds for each new token; this one does not."""

    def __init__(self, keys: Tensor, values: Tensor, room: int):
        """keys and values [rows, heads, tokens, channels], with room for more tokens."""
        super().__init__()
        self.lazy_initialization(keys, values)
        self.filled = keys.shape[2]
        self.keys = _with_room(keys, room)
        self.values = _with_room(values, room)

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        start, end = self.filled, self.filled + key_states.shape[2]
        if end > self.keys.shape[2]:
            self.keys = _with_room(self.keys[:, :, :start], end - start + BLOCK)
            self.values = _with_room(self.values[:, :, :start], end - start + BLOCK)
        self.keys[:, :, start:end] = key_states
        self.values[:, :, start:end] = value_states
        self.filled = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        return self.filled


def rollout_cache(prefilled: Cache, n: int, room: int) -> Cache:
    """The cache of n rollouts of each prompt: row i*n + j continues prompt i."""
    room = min(room, BLOCK)
    layers = [
        RolloutLayer(layer.keys.repeat_interleave(n, dim=0), layer.values.repeat_interleave(n, dim=0), room)
        for layer in prefilled.layers
    ]
    return Cache(layers=layers)


def _with_room(states: Tensor, room: int) -> Tensor:
    rows, heads, tokens, channels = states.shape
    buffer = torch.empty((rows, heads, tokens + room, channels), dtype=states.dtype, device=states.device)
    buffer[:, :, :tokens] = states
    return buffer
