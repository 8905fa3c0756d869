"""The model: vision tower, projector, Qwen3 decoder and language head.

`state_dict()` carries exactly the names of the released safetensors, so no key is mapped on the way in or out.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, GenerationConfig, GenerationMixin, Qwen3Model
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.utils import ModelOutput
from transformers.utils.generic import is_flash_attention_requested

from step3vl.model.configuration import Step3VLConfig
from step3vl.model.head import LOGITS_AT_ONCE, TokenScores, token_scores
from step3vl.model.masks import packed_positions, padded_positions, predicted, sample_bounds
from step3vl.model.pretrained import Step3VLPreTrainedModel
from step3vl.model.vision import VisionEncoder

VISION_INPUTS = ("pixel_values", "patch_pixel_values", "num_patches", "image_features")


@dataclass
class Step3VLOutput(ModelOutput):
    """Shapes: batch B, tokens T, vocabulary V, width H.

    loss: weighted mean of the negative log-likelihood. loss_weight: the sum of the weights that it was divided by.
    logprobs: [B, T], of each label given what precedes it, where its weight is not zero; 0 elsewhere.
    logits: [B, kept, V]; None when labels were given, since the loss never needs them whole.
    last_hidden_state: [B, T, H] after the final norm.
    """

    loss: Tensor | None = None
    loss_weight: Tensor | None = None
    logprobs: Tensor | None = None
    logits: Tensor | None = None
    last_hidden_state: Tensor | None = None
    past_key_values: Cache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class Step3VLForConditionalGeneration(Step3VLPreTrainedModel, GenerationMixin):
    """See `forward`. Pictures are given as the processor makes them, in prompt order over the whole batch."""

    def __init__(self, config: Step3VLConfig):
        super().__init__(config)
        self.vision_model = VisionEncoder(config.vision_config)
        self.vit_large_projector = nn.Linear(4 * config.vision_config.width, config.hidden_size, bias=False)
        self.model = Qwen3Model(config.text_config)
        self.lm_head = nn.Linear(config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.embed_tokens = value

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def encode_images(self, pixel_values: Tensor, patch_pixel_values: Tensor | None, num_patches: Tensor) -> Tensor:
        """Features [tokens, H] of n pictures: for each one its crops in order, then its global view.

        pixel_values [n, 3, S, S], patch_pixel_values [sum(num_patches), 3, C, C], num_patches [n].
        """
        counts = num_patches.tolist()
        given = 0 if patch_pixel_values is None else len(patch_pixel_values)
        if len(counts) != len(pixel_values):
            raise ValueError(f"num_patches speaks of {len(counts)} pictures, pixel_values holds {len(pixel_values)}")
        if given != sum(counts):
            raise ValueError(f"num_patches promises {sum(counts)} crops, patch_pixel_values holds {given}")
        views = self.vit_large_projector(self.vision_model(pixel_values))
        if patch_pixel_values is None or not given:
            return views.flatten(0, 1)
        crops = self.vit_large_projector(self.vision_model(patch_pixel_values)).split(counts)
        pieces = [piece for view, own in zip(views, crops, strict=True) for piece in (own.flatten(0, 1), view)]
        return torch.cat(pieces)

    def embed(
        self,
        input_ids: Tensor,
        pixel_values: Tensor | None = None,
        patch_pixel_values: Tensor | None = None,
        num_patches: Tensor | None = None,
        image_features: Tensor | None = None,
    ) -> Tensor:
        """Token embeddings [B, T, H] with picture features in place of the `<im_patch>` tokens.

        `image_features` [tokens, H] stands in for the pixels when the pictures were encoded before.
        """
        embeds = self.model.embed_tokens(input_ids)
        if self.training and image_features is None:
            # Ranks must run the same modules the same number of times: with sharded parameters or gradients, one
            # whose batch has no picture, or none with crops, would leave the others waiting for ever.
            for pixels in (pixel_values, patch_pixel_values):
                if pixels is None or not len(pixels):
                    embeds = embeds + self._idle_pass()
        if image_features is None and pixel_values is not None and len(pixel_values):
            if num_patches is None:
                num_patches = torch.zeros(len(pixel_values), dtype=torch.long)
            image_features = self.encode_images(pixel_values, patch_pixel_values, num_patches)
        slots = input_ids == self.config.image_token_id
        if not torch.compiler.is_compiling():  # a number that decides what happens next would cut the graph in two
            wanted, given = int(slots.sum()), 0 if image_features is None else len(image_features)
            if wanted != given:
                raise ValueError(f"the prompt has {wanted} image tokens, the pictures give {given}")
        if image_features is None:
            return embeds
        if image_features.shape[1:] != embeds.shape[2:]:
            raise ValueError(
                f"image_features must be [tokens, {embeds.shape[2]}], not {list(image_features.shape)}: encode_images "
                "gives them behind the projector"
            )
        return embeds.masked_scatter(slots[..., None], image_features.to(embeds))

    def _idle_pass(self) -> Tensor:
        """A zero that passes through the tower and the projector."""
        side = 4 * self.config.vision_config.patch_size
        blank = self.vision_model.conv1.weight.new_zeros(1, 3, side, side)
        return 0 * self.vit_large_projector(self.vision_model(blank)).sum()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        sequence_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        patch_pixel_values: Tensor | None = None,
        num_patches: Tensor | None = None,
        image_features: Tensor | None = None,
        labels: Tensor | None = None,
        loss_weights: Tensor | None = None,
        temperature: float = 1.0,
        suppress: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        **kwargs: Any,
    ) -> Step3VLOutput:
        """One pass over input_ids [B, T].

        sequence_ids [B, T]: 0 for padding, 1, 2, ... for the samples of a pack; attention is causal inside each.
        attention_mask [B, past + T]: 1 for real tokens; padding may stand on the left. Not both.
        pixel_values, patch_pixel_values, num_patches: see `encode_images`; or image_features, already encoded.
        labels [B, T]: as input_ids, unshifted; negative where ignored. loss_weights [B, T]: weight of predicting that
        very token, 1 if absent. temperature and suppress shape the distribution that `logprobs` and `loss` speak of.
        logits_to_keep: how many last positions get logits, 0 for all.
        Raises ValueError when image tokens and pictures do not match, or a tensor has another shape than input_ids.
        """
        if sequence_ids is not None and (attention_mask is not None or past_key_values is not None):
            raise ValueError("sequence_ids (packs) go without attention_mask (padding) and without past_key_values")
        _check_shapes(input_ids, sequence_ids=sequence_ids, labels=labels, loss_weights=loss_weights)
        embeds = self.embed(input_ids, pixel_values, patch_pixel_values, num_patches, image_features)
        decoded = self._decode(embeds, attention_mask, position_ids, sequence_ids, past_key_values, use_cache, kwargs)
        hidden = decoded.last_hidden_state
        output = Step3VLOutput(
            last_hidden_state=hidden,
            past_key_values=decoded.past_key_values,
            hidden_states=decoded.hidden_states,
            attentions=decoded.attentions,
        )
        if labels is None:
            output.logits = self.lm_head(hidden[:, -logits_to_keep:] if logits_to_keep else hidden)
            return output
        if sequence_ids is None:
            sequence_ids = torch.ones_like(input_ids) if attention_mask is None else attention_mask.long()
        weights = torch.ones_like(labels, dtype=torch.float32) if loss_weights is None else loss_weights
        labels = labels.to(hidden.device)  # the head may stand on another device than the embeddings
        weights = predicted(weights.to(hidden.device), labels, sequence_ids.to(hidden.device))
        chosen = weights != 0
        scores = self.token_scores(
            hidden[:, :-1][chosen[:, 1:]],
            labels[chosen],
            temperature=temperature,
            suppress=suppress,
            chunks=-(-labels.numel() * self.lm_head.out_features // LOGITS_AT_ONCE),
        )
        output.loss_weight = weights.sum()
        # A batch in which nothing is predicted has loss 0, not the NaN of 0/0.
        output.loss = -(scores.logprobs * weights[chosen]).sum() / output.loss_weight.clamp_min(1e-8)
        output.logprobs = torch.zeros_like(weights).masked_scatter(chosen, scores.logprobs)
        return output

    def token_scores(self, hidden: Tensor, targets: Tensor, **options: Any) -> TokenScores:
        """See `head.token_scores`."""
        return token_scores(self.lm_head, hidden, targets, **options)

    def _decode(
        self,
        embeds: Tensor,
        attention_mask: Tensor | None,
        position_ids: Tensor | None,
        sequence_ids: Tensor | None,
        past_key_values: Cache | None,
        use_cache: bool | None,
        kwargs: dict[str, Any],
    ) -> BaseModelOutputWithPast:
        mask: Tensor | dict[str, Any] | None = attention_mask
        rows, length = embeds.shape[:2]
        if sequence_ids is not None:
            positions = packed_positions(sequence_ids)
            position_ids = positions if position_ids is None else position_ids
            if is_flash_attention_requested(self.model.config):
                # These kernels take no mask but bounds, and one row: samples lie in it one behind the other.
                embeds, position_ids = embeds.reshape(1, rows * length, -1), position_ids.reshape(1, -1)
                kwargs = {**kwargs, **sample_bounds(positions)}
            else:
                mask = {"full_attention": create_causal_mask(self.model.config, embeds, None, None, positions)}
        elif position_ids is None and isinstance(attention_mask, Tensor) and attention_mask.ndim == 2:
            position_ids = padded_positions(attention_mask)[:, -length:]
        decoded = self.model(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=bool(use_cache),
            **kwargs,
        )
        decoded.last_hidden_state = decoded.last_hidden_state.reshape(rows, length, -1)
        return decoded

    def generate(
        self, inputs: Tensor | None = None, generation_config: GenerationConfig | None = None, **kwargs: Any
    ) -> Any:
        """As in the library, where pictures are placed but never spoken: the ids that wrap them are not sampled, and
        `<im_patch>` ends an answer where `eos_token_id` holds it, as the released one does; else it is not sampled."""
        told = generation_config or self.generation_config
        ends = kwargs.get("eos_token_id", told.eos_token_id)
        if kwargs.get("suppress_tokens", told.suppress_tokens) is None:
            spoken = self.config.image_token_id in (ends if isinstance(ends, list | tuple) else [ends])
            kwargs["suppress_tokens"] = [
                *self.config.wrapper_token_ids,
                *([] if spoken else [self.config.image_token_id]),
            ]
        prompt = inputs if inputs is not None else kwargs["input_ids"]
        kwargs.setdefault("prompt_length", prompt.shape[1])
        return super().generate(inputs, generation_config, **kwargs)

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        *args: Any,
        is_first_iteration: bool = False,
        prompt_length: int | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Pictures enter once, with the prompt; afterwards the cache remembers them. An `<im_patch>` behind the prompt
        has ended its row, which others of the batch may outlive: no picture belongs to it."""
        if prompt_length is not None:
            answer = input_ids[:, prompt_length:]
            answer = answer.masked_fill(answer == self.config.image_token_id, 0)
            input_ids = torch.cat([input_ids[:, :prompt_length], answer], dim=1)
        inputs = super().prepare_inputs_for_generation(
            input_ids, *args, is_first_iteration=is_first_iteration, **kwargs
        )
        if not is_first_iteration and kwargs.get("use_cache", True):
            for name in VISION_INPUTS:
                inputs.pop(name, None)
        return inputs

    def _expand_inputs_for_generation(
        self, expand_size: int = 1, is_encoder_decoder: bool = False, input_ids: Tensor | None = None, **kwargs: Any
    ) -> tuple[Tensor, dict[str, Any]]:
        """Repeat each prompt with its own pictures, which the rows of a batch may hold in different numbers."""
        vision = {name: kwargs.pop(name) for name in VISION_INPUTS if kwargs.get(name) is not None}
        if expand_size > 1 and vision and input_ids is not None:
            features = vision.get("image_features")
            if features is None:
                features = self.encode_images(
                    vision["pixel_values"], vision.get("patch_pixel_values"), vision["num_patches"]
                )
            rows = features.split((input_ids == self.config.image_token_id).sum(dim=1).tolist())
            vision = {"image_features": torch.cat([row.repeat(expand_size, 1) for row in rows])}
        input_ids, kwargs = super()._expand_inputs_for_generation(expand_size, is_encoder_decoder, input_ids, **kwargs)
        return input_ids, {**kwargs, **vision}


def _check_shapes(input_ids: Tensor, **others: Tensor | None) -> None:
    if input_ids.ndim != 2:
        raise ValueError(f"input_ids must be [batch, tokens], not {list(input_ids.shape)}")
    for name, tensor in others.items():
        if tensor is not None and tensor.shape != input_ids.shape:
            raise ValueError(f"{name} {list(tensor.shape)} must have the shape of input_ids, {list(input_ids.shape)}")
