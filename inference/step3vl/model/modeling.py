"""The model: vision tower, projector, Qwen3 decoder and language head.

`state_dict()` carries exactly the names of the released safetensors, so no key is mapped on the way in or out.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import Cache, GenerationMixin, PreTrainedModel, Qwen3Model
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.utils import ModelOutput

from step3vl.model.configuration import Step3VLConfig
from step3vl.model.head import LOGITS_AT_ONCE, TokenScores, token_scores
from step3vl.model.masks import packed_mask, packed_positions, padded_positions, predicted
from step3vl.model.vision import LayerScale, VisionAttention, VisionEncoder

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


class Step3VLPreTrainedModel(PreTrainedModel):
    config_class = Step3VLConfig
    base_model_prefix = ""  # the parts hang side by side, as in the released file
    main_input_name = "input_ids"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["Qwen3DecoderLayer", "VisionBlock"]
    _skip_keys_device_placement: ClassVar[list[str]] = ["past_key_values"]
    _supports_sdpa = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """For training from random weights. Outside the decoder, whose own rule applies, a layer keeps the variance
        of its input: a spread that suits 4,096 channels would fade in 128."""
        if isinstance(module, VisionEncoder):
            init.normal_(module.positional_embedding, std=module.positional_embedding.shape[1] ** -0.5)
        elif isinstance(module, VisionAttention):
            init.normal_(module.in_proj_weight, std=module.in_proj_weight.shape[1] ** -0.5)
            init.zeros_(module.in_proj_bias)
        elif isinstance(module, LayerScale):
            init.constant_(module.gamma, module.initial)
        elif isinstance(module, nn.Linear | nn.Conv2d):
            init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        else:
            super()._init_weights(module)


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
        views = self.vit_large_projector(self.vision_model(pixel_values))
        counts = num_patches.tolist()
        given = 0 if patch_pixel_values is None else len(patch_pixel_values)
        if given != sum(counts):
            raise ValueError(f"num_patches promises {sum(counts)} crops, patch_pixel_values holds {given}")
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
        wanted, given = int(slots.sum()), 0 if image_features is None else len(image_features)
        if wanted != given:
            raise ValueError(f"the prompt has {wanted} image tokens, the pictures give {given}")
        if image_features is None:
            return embeds
        return embeds.masked_scatter(slots[..., None], image_features.to(embeds.dtype))

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
        Raises ValueError when image tokens and pictures do not match.
        """
        if sequence_ids is not None and attention_mask is not None:
            raise ValueError("give sequence_ids (packs) or attention_mask (padding), not both")
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
        weights = predicted(weights, labels, sequence_ids)
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
        mask: Tensor | dict[str, Tensor] | None = attention_mask
        if sequence_ids is not None:
            mask = {"full_attention": packed_mask(sequence_ids)}
            if position_ids is None:
                position_ids = packed_positions(sequence_ids)
        elif position_ids is None and isinstance(attention_mask, Tensor) and attention_mask.ndim == 2:
            position_ids = padded_positions(attention_mask)[:, -embeds.shape[1] :]
        return self.model(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=bool(use_cache),
            **kwargs,
        )

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, *args: Any, is_first_iteration: bool = False, **kwargs: Any
    ) -> dict[str, Any]:
        """Pictures enter once, with the prompt; afterwards the cache remembers them."""
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
