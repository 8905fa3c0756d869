"""From requests to the first logits: rendering, pictures through the tower, prompts through the decoder."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL.Image import Image as Picture
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache

from step3vl.data.crops import plan_crops
from step3vl.data.errors import UserError
from step3vl.data.geometry import Size
from step3vl.data.pictures import upright
from step3vl.data.sample import Image, ImagePart
from step3vl.data.tokens import TokenIds, encode_prompt, encode_text
from step3vl.inference.cache import PictureCache, Prefix, PrefixCache
from step3vl.inference.cohort import KeyValues
from step3vl.inference.jobs import Prompt, Request
from step3vl.inference.memory import MemoryPlan
from step3vl.model.modeling import Step3VLForConditionalGeneration
from step3vl.model.processing import Step3VLProcessor

# A prompt of which so much is known, as a share or in tokens, is read from there, by itself.
KNOWN, KNOWN_TOKENS = 0.5, 128
LONG = 4096  # a longer prompt is read by itself, in pieces of so many tokens: masks and activations stay small


class Prefilled(NamedTuple):
    """B prompts of up to T tokens, padded on the left: keys and values by layer, mask [B, T] or None where nothing is
    padded, logits [B, V] of the next token."""

    layers: list[KeyValues]
    mask: Tensor | None
    logits: Tensor


class Prefill:
    """Reads prompts, and remembers what it has read."""

    def __init__(
        self,
        model: Step3VLForConditionalGeneration,
        processor: Step3VLProcessor,
        tokenizer: Tokenizer,
        device: torch.device,
        plan: MemoryPlan,
    ):
        self.model = model
        self.processor = processor
        self.tokenizer = tokenizer
        self.device = device
        self.ids = TokenIds.of(tokenizer)
        self.pictures = PictureCache(plan.picture_bytes)
        self.prefixes = PrefixCache(plan.prefix_bytes)

    def forget(self) -> None:
        """To be called when the weights have changed."""
        self.pictures.clear()
        self.prefixes.clear()

    def prompt(self, request: Request) -> Prompt:
        """Render a request. Raises UserError when its pictures cannot be cut or do not fit its text."""
        spec = self.processor.spec
        images = [upright(image.read() if isinstance(image, Image) else image, spec) for image in request.images]
        ids = self._ids(request, [image.size for image in images])
        if request.token_ids is None:
            images = [images[index] for index in _shown(request)]
        names = [_identity(image) for image in images]
        tokens = [self._tokens(image) for image in images]
        slots = ids == self.ids.image_patch
        if sum(tokens) != slots.sum():
            raise UserError(f"the prompt has {slots.sum()} image tokens, its pictures need {sum(tokens)}")
        key = ids.copy()
        key[slots] = np.repeat(np.array(names, np.int64), tokens)
        return Prompt(ids, key, tuple(zip(names, images, strict=True)))

    def tokenize(self, request: Request) -> list[int]:
        """The prompt's ids. A picture file need not be decoded for its size."""
        spec = self.processor.spec
        sizes = [
            (image.width, image.height) if isinstance(image, Image) else upright(image, spec).size
            for image in request.images
        ]
        return self._ids(request, sizes).tolist()

    def _ids(self, request: Request, sizes: Sequence[Size]) -> np.ndarray:
        """The prompt's ids [T], with pictures of these sizes."""
        shown = _shown(request)
        if shown and max(shown) >= len(sizes):
            raise UserError(f"a message shows image {max(shown)}, the request holds {len(sizes)}; counting is from 0")
        try:
            if request.token_ids is not None:
                ids = np.array(request.token_ids, np.int64)
            elif request.text is not None:
                ids = np.array(encode_text(request.text, self.tokenizer), np.int64)
            else:
                spec = self.processor.spec
                ids = encode_prompt(request.messages, sizes, self.tokenizer, spec, request.tools).astype(np.int64)
        except ValueError as error:
            raise UserError(str(error)) from None
        if not len(ids) or ids.min() < 0 or ids.max() >= self.model.lm_head.out_features:
            raise UserError(f"a prompt needs at least one token id, all of 0..{self.model.lm_head.out_features - 1}")
        return ids

    def _tokens(self, picture: Picture) -> int:
        """How many `<im_patch>` tokens stand for a picture."""
        spec = self.processor.spec
        plan = plan_crops(*picture.size, spec)
        return len(plan.newlines) * spec.crop_tokens + spec.image_tokens

    def run(self, prompts: Sequence[Prompt]) -> Prefilled:
        """Each distinct prompt passes through the decoder once, and only from where it is not known.

        Short ones of which little is known are read side by side.
        """
        distinct = {prompt.key.tobytes(): prompt for prompt in prompts}
        alone: dict[bytes, Prompt] = {}
        together: dict[bytes, Prompt] = {}
        for name, prompt in distinct.items():
            worth = min(KNOWN_TOKENS, KNOWN * len(prompt.ids))
            single = len(prompt.ids) > LONG or self.prefixes.length(prompt.key) >= worth
            (alone if single else together)[name] = prompt
        if len(together) == 1:
            alone, together = alone | together, {}
        parts = [self._several(list(together.values()))] if together else []
        parts += [self._one(prompt) for prompt in alone.values()]
        prefilled = joined(parts)
        places = {name: place for place, name in enumerate((*together, *alone))}
        order = [places[prompt.key.tobytes()] for prompt in prompts]
        if order == list(range(len(distinct))):
            return prefilled
        rows = torch.tensor(order, device=self.device)
        layers = [KeyValues(*(states[rows] for states in layer)) for layer in prefilled.layers]
        mask = None if prefilled.mask is None else prefilled.mask[rows]
        return Prefilled(layers, mask, prefilled.logits[rows])

    def _one(self, prompt: Prompt) -> Prefilled:
        known = self.prefixes.longest(prompt.key) or Prefix(0, ())
        cache = DynamicCache(known.layers) if known.length else DynamicCache()
        shown = int((prompt.ids[known.length :] == self.ids.image_patch).sum())
        features = self._features([prompt], shown)
        for start in range(known.length, len(prompt.ids), LONG):
            ids = torch.from_numpy(prompt.ids[start : start + LONG]).to(self.device)[None]
            own = None
            if features is not None and (patches := int((ids == self.ids.image_patch).sum())):
                own, features = features[:patches], features[patches:]
            output = self.model(
                ids,
                position_ids=torch.arange(start, start + ids.shape[1], device=self.device)[None],
                image_features=own,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        layers = [KeyValues(layer.keys, layer.values) for layer in cache.layers]
        self.prefixes.put(prompt.key, layers)
        return Prefilled(layers, None, output.logits[:, -1])

    def _several(self, prompts: Sequence[Prompt]) -> Prefilled:
        lengths = [len(prompt.ids) for prompt in prompts]
        longest = max(lengths)
        ids = np.full((len(prompts), longest), self.ids.pad)
        for line, prompt in zip(ids, prompts, strict=True):
            line[longest - len(prompt.ids) :] = prompt.ids
        starts = longest - torch.tensor(lengths, device=self.device)
        mask = torch.arange(longest, device=self.device) >= starts[:, None]
        output = self.model(
            torch.from_numpy(ids).to(self.device),
            attention_mask=mask.long(),
            image_features=self._features(prompts, int((ids == self.ids.image_patch).sum())),
            use_cache=True,
            logits_to_keep=1,
        )
        layers = [KeyValues(layer.keys, layer.values) for layer in output.past_key_values.layers]
        for row, (prompt, length) in enumerate(zip(prompts, lengths, strict=True)):
            own = [KeyValues(*(states[row : row + 1, :, -length:].clone() for states in layer)) for layer in layers]
            self.prefixes.put(prompt.key, own)
        return Prefilled(layers, mask if min(lengths) < longest else None, output.logits[:, -1])

    def _features(self, prompts: Sequence[Prompt], wanted: int) -> Tensor | None:
        """The last `wanted` rows of the prompts' encoded pictures [tokens, H]; each picture passes the tower once."""
        if not wanted:
            return None
        shown = [shown for prompt in prompts for shown in prompt.pictures]
        found = {name: self.pictures.get(name) for name, _ in shown}
        fresh = {name: picture for name, picture in shown if found[name] is None}
        if fresh:
            inputs = self.processor.image_processor(list(fresh.values()))
            encoded = self.model.encode_images(
                inputs["pixel_values"].to(self.device),
                inputs["patch_pixel_values"].to(self.device),
                inputs["num_patches"],
            )
            spec = self.processor.spec
            tokens = inputs["num_patches"] * spec.crop_tokens + spec.image_tokens
            for name, own in zip(fresh, encoded.split(tokens.tolist()), strict=True):
                found[name] = own
                self.pictures.put(name, own)
        return torch.cat([features for name, _ in shown if (features := found[name]) is not None])[-wanted:]


def joined(parts: Sequence[Prefilled]) -> Prefilled:
    """The prompts of all parts, padded on the left to the longest one."""
    if len(parts) == 1:
        return parts[0]
    lengths = [part.layers[0].keys.shape[2] for part in parts]
    gaps = [max(lengths) - length for length in lengths]
    layers = [
        KeyValues(
            torch.cat([pad(layer.keys, (0, 0, gap, 0)) for layer, gap in zip(same, gaps, strict=True)]),
            torch.cat([pad(layer.values, (0, 0, gap, 0)) for layer, gap in zip(same, gaps, strict=True)]),
        )
        for same in zip(*(part.layers for part in parts), strict=True)
    ]
    masks = []
    for part, gap in zip(parts, gaps, strict=True):
        rows, _, length, _ = part.layers[0].keys.shape
        own = torch.ones(rows, length, dtype=torch.bool, device=part.logits.device) if part.mask is None else part.mask
        masks.append(pad(own, (gap, 0), value=False))
    mask = torch.cat(masks)
    return Prefilled(layers, None if mask.all() else mask, torch.cat([part.logits for part in parts]))


def _shown(request: Request) -> list[int]:
    """Numbers of the pictures, in the order in which the messages show them."""
    return [part.image for message in request.messages for part in message.content if isinstance(part, ImagePart)]


def _identity(picture: Picture) -> int:
    """A negative number that two decoded pictures share only when they are the same: 62 bits of a digest."""
    digest = hashlib.sha256(repr(picture.size).encode())
    digest.update(picture.tobytes())
    return -1 - (int.from_bytes(digest.digest()[:8], "big") >> 2)
