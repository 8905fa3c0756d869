"""Generation in this process: one encode per distinct picture, one prefill per request, n rollouts that share it.

It is for laptops, tests and reinforcement learning at small size. At scale a server such as vLLM takes its place.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL.Image import Image as Picture
from tokenizers.decoders import DecodeStream
from torch import Tensor
from transformers import Cache

from step3vl.data.errors import UserError
from step3vl.data.sample import Image, ImagePart, Message
from step3vl.data.tokens import TokenIds, encode_prompt, split_answer
from step3vl.inference.cache import rollout_cache
from step3vl.inference.sampling import DEFAULT, Sampling, draw
from step3vl.model.checkpoint import unspoken
from step3vl.model.image_processing import upright
from step3vl.model.modeling import Step3VLForConditionalGeneration
from step3vl.model.processing import Step3VLProcessor

ROWS = 512  # rollouts decoded side by side
PICTURES = 64  # encoded pictures that are remembered between calls
COMPACT = 0.75  # finished rollouts leave the batch when no more than this share of it still runs


@dataclass(frozen=True)
class Request:
    """A conversation that waits for an answer. Image parts name `images` by index."""

    messages: Sequence[Message]
    images: Sequence[Picture | Image] = ()


@dataclass(frozen=True)
class Completion:
    """One answer. `token_ids` holds what was drawn, the end token included when `finish_reason` is "stop".

    `logprobs` are those of the distribution at the sampling temperature, one per token; see `sampling.draw`.
    """

    token_ids: list[int]
    text: str
    reasoning: str
    answer: str
    logprobs: list[float] | None
    finish_reason: str
    prompt_tokens: int


class Prefilled(NamedTuple):
    """B prompts of up to T tokens, padded on the left: mask [B, T], logits [B, V] of the next token, lengths [B]."""

    cache: Cache
    mask: Tensor
    logits: Tensor
    lengths: Tensor


class Step(NamedTuple):
    """What one step drew: rows [R] says which rollouts, tokens [R], logprobs [R] or None."""

    rows: Tensor
    tokens: Tensor
    logprobs: Tensor | None


class Engine:
    """Answers requests with a model that it holds on one device."""

    def __init__(
        self, model: Step3VLForConditionalGeneration, processor: Step3VLProcessor, device: str | torch.device = "cpu"
    ):
        self.device = torch.device(device)
        self.model = model.to(self.device)
        self.processor = processor
        self.tokenizer = processor.plain_tokenizer()
        ids = TokenIds.of(self.tokenizer)
        self.suppressed_ids = torch.tensor(unspoken(ids), device=self.device)
        self.end_ids = torch.tensor([ids.chat_end, ids.pad], device=self.device)
        self.pad_id = ids.pad
        self._pictures: OrderedDict[str, Tensor] = OrderedDict()

    def load_state(self, state_dict: dict[str, Tensor]) -> None:
        """Swap the weights in place; what was encoded with the old ones is forgotten."""
        self.model.load_state_dict(state_dict)
        self._pictures.clear()

    @torch.inference_mode()
    def generate(
        self,
        requests: Sequence[Request],
        n: int = 1,
        sampling: Sampling = DEFAULT,
        return_logprobs: bool = False,
    ) -> list[list[Completion]]:
        """n completions for each request, in the order of the requests.

        Raises UserError when a picture cannot be cut or a message names a picture that is not there.
        """
        self.model.eval()
        generator = self._generator(sampling)
        group = max(1, ROWS // n)
        completions: list[list[Completion]] = []
        for start in range(0, len(requests), group):
            prefilled = self._prefill(requests[start : start + group])
            completions += self._complete(prefilled, n, sampling, generator, return_logprobs)
        return completions

    @torch.inference_mode()
    def stream(self, request: Request, sampling: Sampling = DEFAULT) -> Iterator[str]:
        """The reply as pieces of text while it is drawn: the thought, `</think>`, then the answer."""
        self.model.eval()
        decoder = DecodeStream(skip_special_tokens=True)
        prefilled = self._prefill([request])
        for step in self._decode(prefilled, 1, sampling, self._generator(sampling), logprobs=False):
            piece = decoder.step(self.tokenizer, int(step.tokens))
            if piece:
                yield piece

    def _generator(self, sampling: Sampling) -> torch.Generator:
        generator = torch.Generator(device=self.device)
        if sampling.seed is None:
            generator.seed()
        else:
            generator.manual_seed(sampling.seed)
        return generator

    def _prefill(self, requests: Sequence[Request]) -> Prefilled:
        prompts, pictures = [], []
        for request in requests:
            prompt, own = self._prompt(request)
            prompts.append(prompt)
            pictures += own
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self.device)
        longest = int(lengths.max())
        input_ids = torch.full((len(prompts), longest), self.pad_id, device=self.device)
        for row, prompt in zip(input_ids, prompts, strict=True):
            row[longest - len(prompt) :] = torch.from_numpy(prompt)
        mask = torch.arange(longest, device=self.device) >= longest - lengths[:, None]
        output = self.model(
            input_ids,
            attention_mask=mask.long(),
            image_features=self._features(pictures),
            use_cache=True,
            logits_to_keep=1,
        )
        return Prefilled(output.past_key_values, mask, output.logits[:, -1], lengths)

    def _prompt(self, request: Request) -> tuple[np.ndarray, list[Picture]]:
        """Token ids [T] and the pictures in the order in which the prompt shows them."""
        images = [upright(_opened(image)) for image in request.images]
        shown = [part.image for message in request.messages for part in message.content if isinstance(part, ImagePart)]
        if shown and max(shown) >= len(images):
            raise UserError(f"a message shows image {max(shown)}, the request holds {len(images)}; counting is from 0")
        sizes = [image.size for image in images]
        try:
            prompt = encode_prompt(request.messages, sizes, self.tokenizer, self.processor.spec)
        except ValueError as error:
            raise UserError(str(error)) from None
        return prompt, [images[index] for index in shown]

    def _features(self, pictures: Sequence[Picture]) -> Tensor | None:
        """Encoded pictures [tokens, H] in order; each distinct one passes through the tower once."""
        if not pictures:
            return None
        keys = [_key(picture) for picture in pictures]
        fresh = {key: picture for key, picture in zip(keys, pictures, strict=True) if key not in self._pictures}
        if fresh:
            inputs = self.processor.image_processor(list(fresh.values()))
            features = self.model.encode_images(
                inputs["pixel_values"].to(self.device),
                inputs["patch_pixel_values"].to(self.device),
                inputs["num_patches"],
            )
            spec = self.processor.spec
            tokens = inputs["num_patches"] * spec.crop_tokens + spec.image_tokens
            self._pictures.update(zip(fresh, features.split(tokens.tolist()), strict=True))
        for key in keys:
            self._pictures.move_to_end(key)
        features = torch.cat([self._pictures[key] for key in keys])
        while len(self._pictures) > PICTURES:
            self._pictures.popitem(last=False)
        return features

    def _decode(
        self, prefilled: Prefilled, n: int, sampling: Sampling, generator: torch.Generator, logprobs: bool
    ) -> Iterator[Step]:
        """Draw token after token for B*n rollouts until all have ended or reached the limit.

        A rollout that has ended may go on drawing until it leaves the batch; what follows its end token is void.
        """
        logits = prefilled.logits.repeat_interleave(n, dim=0)
        rows = torch.arange(len(logits), device=self.device)
        running = torch.ones_like(rows, dtype=torch.bool)
        positions = prefilled.lengths.repeat_interleave(n)
        mask = prefilled.mask.repeat_interleave(n, dim=0)
        padded = not bool(mask.all())
        cache = rollout_cache(prefilled.cache, n, sampling.max_new_tokens)
        for index in range(sampling.max_new_tokens):
            drawn = draw(logits, sampling, generator, self.suppressed_ids, logprobs)
            tokens = drawn.tokens
            yield Step(rows, tokens, drawn.logprobs)
            running = running & ~torch.isin(tokens, self.end_ids)
            count = int(running.sum())
            if count == 0 or index + 1 == sampling.max_new_tokens:
                return
            if count <= COMPACT * len(rows):
                keep = running.nonzero().squeeze(-1)
                rows, tokens, positions, mask, running = (x[keep] for x in (rows, tokens, positions, mask, running))
                cache.batch_select_indices(keep)
            if padded:
                mask = torch.cat((mask, mask.new_ones(len(mask), 1)), dim=1)
            logits = self.model(
                tokens[:, None],
                attention_mask={"full_attention": mask[:, None, None] if padded else None},
                position_ids=positions[:, None],
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            positions = positions + 1

    def _complete(
        self, prefilled: Prefilled, n: int, sampling: Sampling, generator: torch.Generator, return_logprobs: bool
    ) -> list[list[Completion]]:
        count = len(prefilled.lengths) * n
        tokens: list[Tensor] = []
        logprobs: list[Tensor] = []
        for step in self._decode(prefilled, n, sampling, generator, return_logprobs):
            # Rows that have left the batch are padded; their end token came before.
            tokens.append(step.tokens.new_full((count,), self.pad_id).index_copy(0, step.rows, step.tokens))
            if step.logprobs is not None:
                logprobs.append(step.logprobs.new_zeros(count).index_copy(0, step.rows, step.logprobs))
        drawn = torch.stack(tokens, dim=1)
        ended = torch.isin(drawn, self.end_ids)
        stopped = ended.any(dim=1)
        kept = torch.where(stopped, ended.int().argmax(dim=1) + 1, drawn.shape[1]).tolist()
        token_ids = [row[:length] for row, length in zip(drawn.tolist(), kept, strict=True)]
        texts = self.tokenizer.decode_batch(token_ids, skip_special_tokens=True)
        values = torch.stack(logprobs, dim=1).tolist() if logprobs else None
        prompt_tokens = prefilled.lengths.tolist()
        flat = []
        for row, (ids, text, stop) in enumerate(zip(token_ids, texts, stopped.tolist(), strict=True)):
            reasoning, answer = split_answer(text)
            flat.append(
                Completion(
                    token_ids=ids,
                    text=text,
                    reasoning=reasoning,
                    answer=answer,
                    logprobs=values[row][: len(ids)] if values else None,
                    finish_reason="stop" if stop else "length",
                    prompt_tokens=prompt_tokens[row // n],
                )
            )
        return [flat[start : start + n] for start in range(0, count, n)]


def _opened(image: Picture | Image) -> Picture:
    return image.open() if isinstance(image, Image) else image


def _key(picture: Picture) -> str:
    """What makes two decoded pictures the same."""
    digest = hashlib.sha256(repr(picture.size).encode())
    digest.update(picture.tobytes())
    return digest.hexdigest()
