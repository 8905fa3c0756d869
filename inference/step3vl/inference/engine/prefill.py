"""From requests to the first logits: tokenisation, images through the encoder, prompts through the decoder."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL.Image import Image as PILImage
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache

from step3vl.data.errors import UserError
from step3vl.data.sample import Image, ImagePart, Size, plan_crops, upright
from step3vl.data.tokens import TokenIds, encode_prompt, encode_text
from step3vl.inference.client.requests import Request
from step3vl.inference.engine.cache import DecodedFiles, DecodedImage, ImageCache, Prefix, PrefixCache
from step3vl.inference.engine.cohort import KeyValues
from step3vl.inference.engine.job import EncodedPrompt
from step3vl.inference.engine.memory import MemoryPlan
from step3vl.model.modeling import Step3VLForConditionalGeneration
from step3vl.model.processing import Step3VLProcessor

# A prompt with a cached prefix of this share or of so many tokens is prefilled from there, alone.
CACHED_SHARE, CACHED_TOKENS = 0.5, 128
CHUNK_TOKENS = 4096  # a longer prompt is prefilled alone, in chunks: masks and activations stay small


class Prefilled(NamedTuple):
    """B prompts of up to T tokens, padded on the left.

    Attributes:
        layers: Keys and values [B, H, T, D] by layer.
        mask: [B, T], false on padding; None where nothing is padded.
        logits: [B, V] of the next token.
    """

    layers: list[KeyValues]
    mask: Tensor | None
    logits: Tensor


class Prefill:
    """Encodes and prefills prompts, and caches what it has computed."""

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
        self.images = ImageCache(plan.image_bytes)
        self._files = DecodedFiles()
        self.prefixes = PrefixCache(plan.prefix_bytes)

    def clear_caches(self) -> None:
        """Forget what was computed with weights that have changed."""
        self.images.clear()
        self.prefixes.clear()

    def encode(self, request: Request) -> EncodedPrompt:
        """Tokenize a request and decode its images, but for files that were decoded before.

        Raises:
            UserError: Its images cannot be cropped or do not match its text.
        """
        images = [self._decode(image) for image in request.images]
        ids = self._ids(request, [decoded.size for decoded, _ in images])
        if request.token_ids is None:
            images = [images[index] for index in _image_indices(request)]
        identities = [decoded.identity for decoded, _ in images]
        tokens = [self._image_tokens(decoded.size) for decoded, _ in images]
        slots = ids == self.ids.image_patch
        if sum(tokens) != slots.sum():
            raise UserError(f"the prompt has {slots.sum()} image tokens, its images need {sum(tokens)}")
        key = ids.copy()
        key[slots] = np.repeat(np.array(identities, np.int64), tokens)
        return EncodedPrompt(ids, key, tuple((decoded.identity, image) for decoded, image in images))

    def _decode(self, source: Image | PILImage) -> tuple[DecodedImage, Image | PILImage]:
        """What is known of an image, and its pixels; of a file that was decoded before, the file."""
        # Not of a file in a store, which may be gone when its pixels are needed.
        file = source if isinstance(source, Image) and source.data is not None else None
        decoded = None if file is None else self._files.get(file.sha256)
        if file is not None and decoded is not None:
            return decoded, file
        pixels = self._pixels(source)
        decoded = DecodedImage(_identity(pixels), pixels.size)
        if file is not None:
            self._files.put(file.sha256, decoded)
        return decoded, pixels

    def _pixels(self, source: Image | PILImage) -> PILImage:
        return upright(source.read() if isinstance(source, Image) else source, self.processor.spec)

    def tokenize(self, request: Request) -> list[int]:
        """Return the prompt's ids. An image file is not decoded, only its size is read."""
        spec = self.processor.spec
        sizes = [
            (image.width, image.height) if isinstance(image, Image) else upright(image, spec).size
            for image in request.images
        ]
        return self._ids(request, sizes).tolist()

    def run(self, prompts: Sequence[EncodedPrompt]) -> Prefilled:
        """Prefill prompts: each distinct prompt passes through the decoder once, from the end of its cached prefix.

        Short prompts without a long cached prefix are batched.
        """
        distinct = {prompt.key.tobytes(): prompt for prompt in prompts}
        single: dict[bytes, EncodedPrompt] = {}
        batched: dict[bytes, EncodedPrompt] = {}
        for key, prompt in distinct.items():
            worthwhile = min(CACHED_TOKENS, CACHED_SHARE * len(prompt.ids))
            alone = len(prompt.ids) > CHUNK_TOKENS or self.prefixes.length(prompt.key) >= worthwhile
            (single if alone else batched)[key] = prompt
        if len(batched) == 1:
            single, batched = single | batched, {}
        parts = [self._run_batched(list(batched.values()))] if batched else []
        parts += [self._run_single(prompt) for prompt in single.values()]
        prefilled = concatenate(parts)
        rows_by_key = {key: row for row, key in enumerate((*batched, *single))}
        order = [rows_by_key[prompt.key.tobytes()] for prompt in prompts]
        if order == list(range(len(distinct))):
            return prefilled
        rows = torch.tensor(order, device=self.device)
        layers = [KeyValues(*(states[rows] for states in layer)) for layer in prefilled.layers]
        mask = None if prefilled.mask is None else prefilled.mask[rows]
        return Prefilled(layers, mask, prefilled.logits[rows])

    def _ids(self, request: Request, sizes: Sequence[Size]) -> np.ndarray:
        """Return the prompt's ids [T], with images of these sizes."""
        indices = _image_indices(request)
        if indices and max(indices) >= len(sizes):
            raise UserError(f"a message shows image {max(indices)}, the request has {len(sizes)}; counting is from 0")
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

    def _image_tokens(self, size: Size) -> int:
        """Return how many `<im_patch>` tokens stand for an image."""
        spec = self.processor.spec
        plan = plan_crops(*size, spec)
        return len(plan.newlines) * spec.crop_tokens + spec.image_tokens

    def _run_single(self, prompt: EncodedPrompt) -> Prefilled:
        prefix = self.prefixes.longest(prompt.key) or Prefix(0, ())
        cache = DynamicCache(prefix.layers) if prefix.length else DynamicCache()
        uncached_patches = int((prompt.ids[prefix.length :] == self.ids.image_patch).sum())
        features = self._features([prompt], uncached_patches)
        for start in range(prefix.length, len(prompt.ids), CHUNK_TOKENS):
            ids = torch.from_numpy(prompt.ids[start : start + CHUNK_TOKENS]).to(self.device)[None]
            chunk_features = None
            if features is not None and (patches := int((ids == self.ids.image_patch).sum())):
                chunk_features, features = features[:patches], features[patches:]
            output = self.model(
                ids,
                position_ids=torch.arange(start, start + ids.shape[1], device=self.device)[None],
                image_features=chunk_features,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        layers = [KeyValues(layer.keys, layer.values) for layer in cache.layers]
        self.prefixes.put(prompt.key, layers)
        return Prefilled(layers, None, output.logits[:, -1])

    def _run_batched(self, prompts: Sequence[EncodedPrompt]) -> Prefilled:
        lengths = [len(prompt.ids) for prompt in prompts]
        longest = max(lengths)
        ids = np.full((len(prompts), longest), self.ids.pad)
        for row_ids, prompt in zip(ids, prompts, strict=True):
            row_ids[longest - len(prompt.ids) :] = prompt.ids
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
            unpadded = [
                KeyValues(*(states[row : row + 1, :, -length:].clone() for states in layer)) for layer in layers
            ]
            self.prefixes.put(prompt.key, unpadded)
        return Prefilled(layers, mask if min(lengths) < longest else None, output.logits[:, -1])

    def _features(self, prompts: Sequence[EncodedPrompt], count: int) -> Tensor | None:
        """Return the last `count` rows of the prompts' image features [tokens, H]; each image is encoded once."""
        if not count:
            return None
        images = [image for prompt in prompts for image in prompt.images]
        features = {identity: self.images.get(identity) for identity, _ in images}
        uncached = {identity: image for identity, image in images if features[identity] is None}
        if uncached:
            pixels = [self._pixels(image) if isinstance(image, Image) else image for image in uncached.values()]
            inputs = self.processor.image_processor(pixels)
            encoded = self.model.encode_images(
                inputs["pixel_values"].to(self.device),
                inputs["patch_pixel_values"].to(self.device),
                inputs["num_patches"],
            )
            spec = self.processor.spec
            tokens = inputs["num_patches"] * spec.crop_tokens + spec.image_tokens
            for identity, image_features in zip(uncached, encoded.split(tokens.tolist()), strict=True):
                features[identity] = image_features
                self.images.put(identity, image_features)
        return torch.cat([states for identity, _ in images if (states := features[identity]) is not None])[-count:]


def concatenate(parts: Sequence[Prefilled]) -> Prefilled:
    """Concatenate the prompts of all parts, padded on the left to the longest."""
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
        unpadded = part.mask
        if unpadded is None:
            unpadded = torch.ones(rows, length, dtype=torch.bool, device=part.logits.device)
        masks.append(pad(unpadded, (gap, 0), value=False))
    mask = torch.cat(masks)
    return Prefilled(layers, None if mask.all() else mask, torch.cat([part.logits for part in parts]))


def _image_indices(request: Request) -> list[int]:
    """Return the indices of the images in the order in which the messages show them."""
    return [part.image for message in request.messages for part in message.content if isinstance(part, ImagePart)]


def _identity(image: PILImage) -> int:
    """Return a negative number that only equal decoded images share: 62 bits of a digest."""
    digest = hashlib.sha256(repr(image.size).encode())
    digest.update(image.tobytes())
    return -1 - (int.from_bytes(digest.digest()[:8], "big") >> 2)
