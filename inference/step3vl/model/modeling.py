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
from step3vl.model.logprobs import LanguageHead, TokenScores, is_sharded, token_scores
from step3vl.model.masks import (
    MAX_DENSE_MASK_TOKENS,
    mask_loss_weights,
    packed_positions,
    padded_positions,
    sample_bounds,
)
from step3vl.model.pretrained import Step3VLPreTrainedModel
from step3vl.model.vision import VisionEncoder

VISION_INPUTS = ("pixel_values", "patch_pixel_values", "num_patches", "image_features")


@dataclass
class Step3VLOutput(ModelOutput):
    """Output of the model for B rows of T tokens, a vocabulary of V and a width of H.

    Args:
        loss: Scalar, the weighted mean of the negative log-likelihood.
        loss_weight: Scalar, the sum of the weights that `loss` was divided by.
        logprobs: float32 [B, T], the log-probability of each label where its weight is not zero; 0 elsewhere.
        logits: [B, T or logits_to_keep, V]; None with labels, since the loss never needs them at once.
        last_hidden_state: [B, T, H], after the final norm.
        past_key_values: The cache, with `use_cache=True`.
        hidden_states: [B, T, H] of each layer, with `output_hidden_states=True`.
        attentions: [B, heads, T, T] of each layer, with `output_attentions=True`.
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
    """Vision tower, projector, Qwen3 decoder and language head.

    Images are passed as the processor returns them, in prompt order over the whole batch.

    Args:
        config: Sizes and token ids.
    """

    def __init__(self, config: Step3VLConfig):
        super().__init__(config)
        self.vision_model = VisionEncoder(config.vision_config)
        self.vit_large_projector = nn.Linear(4 * config.vision_config.width, config.hidden_size, bias=False)
        self.model = Qwen3Model(config.text_config)
        self.lm_head: nn.Linear = LanguageHead(config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.embed_tokens = value

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def encode_images(self, pixel_values: Tensor, patch_pixel_values: Tensor | None, num_patches: Tensor) -> Tensor:
        """Encode n images with m crops in all.

        Args:
            pixel_values: [n, 3, S, S], the global views.
            patch_pixel_values: [m, 3, C, C], the crops.
            num_patches: int64 [n], the crops of each image.

        Returns:
            [image tokens, H], for each image the features of its crops in order, then of its global view.

        Raises:
            ValueError: When the tensors disagree about the number of images or crops.
        """
        counts = num_patches.tolist()
        crop_count = 0 if patch_pixel_values is None else len(patch_pixel_values)
        if len(counts) != len(pixel_values):
            raise ValueError(f"num_patches has {len(counts)} images, pixel_values has {len(pixel_values)}")
        if crop_count != sum(counts):
            raise ValueError(f"num_patches has {sum(counts)} crops, patch_pixel_values has {crop_count}")
        views = self.vit_large_projector(self.vision_model(pixel_values))
        if patch_pixel_values is None or not crop_count:
            return views.flatten(0, 1)
        crops = self.vit_large_projector(self.vision_model(patch_pixel_values)).split(counts)
        features = [
            part for view, image_crops in zip(views, crops, strict=True) for part in (image_crops.flatten(0, 1), view)
        ]
        return torch.cat(features)

    def embed(
        self,
        input_ids: Tensor,
        pixel_values: Tensor | None = None,
        patch_pixel_values: Tensor | None = None,
        num_patches: Tensor | None = None,
        image_features: Tensor | None = None,
    ) -> Tensor:
        """Embed tokens, with image features in place of the `<im_patch>` tokens.

        Args:
            input_ids: int64 [B, T].
            pixel_values: See `encode_images`.
            patch_pixel_values: See `encode_images`.
            num_patches: See `encode_images`.
            image_features: [image tokens, H], instead of pixels, when the images are encoded already.

        Returns:
            [B, T, H].

        Raises:
            ValueError: When the image tokens of the prompt and the features differ in number.
        """
        embeds = self.model.embed_tokens(input_ids)
        if image_features is None and (self.training or (not torch.compiler.is_compiling() and is_sharded(self))):
            # Ranks must run the same modules the same number of times: with sharded parameters or gradients, a rank
            # whose batch has no image, or no crops, would leave the others waiting for ever.
            for pixels in (pixel_values, patch_pixel_values):
                if pixels is None or not len(pixels):
                    embeds = embeds + self._blank_pass(embeds)
        if image_features is None and pixel_values is not None and len(pixel_values):
            if num_patches is None:
                num_patches = torch.zeros(len(pixel_values), dtype=torch.long)
            image_features = self.encode_images(pixel_values, patch_pixel_values, num_patches)
        is_image = input_ids == self.config.image_token_id
        if not torch.compiler.is_compiling():  # a data-dependent check would break the graph
            token_count, feature_count = int(is_image.sum()), 0 if image_features is None else len(image_features)
            if token_count != feature_count:
                raise ValueError(f"the prompt has {token_count} image tokens, the images give {feature_count}")
        if image_features is None:
            return embeds
        if image_features.shape[1:] != embeds.shape[2:]:
            raise ValueError(
                f"image_features must be [tokens, {embeds.shape[2]}], not {list(image_features.shape)}: encode_images "
                "returns them after the projector"
            )
        return embeds.masked_scatter(is_image[..., None], image_features.to(embeds))

    def _blank_pass(self, embeds: Tensor) -> Tensor:
        """A zero, computed by the tower and the projector from a blank image.

        No parameter is read here: DeepSpeed would gather it for this rank alone.
        """
        side = 4 * self.config.vision_config.patch_size
        blank = embeds.new_zeros(1, 3, side, side)
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
        """Run the model over B rows of T tokens.

        Args:
            input_ids: int64 [B, T].
            attention_mask: [B, past + T]; 1 for real tokens, 0 for padding on either side. Not with `sequence_ids`.
            position_ids: int64 [B, T]; by default from `attention_mask` or `sequence_ids`.
            sequence_ids: int64 [B, T]; 0 for padding, 1, 2, ... for the samples of a pack. Attention is causal within
                each sample.
            pixel_values: [n, 3, S, S], the global views of the n images of the batch.
            patch_pixel_values: [m, 3, C, C], their crops.
            num_patches: int64 [n], the crops of each image.
            image_features: [image tokens, H], the output of `encode_images`, instead of pixels.
            labels: int64 [B, T], unshifted like `input_ids`; negative where ignored.
            loss_weights: [B, T], the weight of predicting each token; 1 by default.
            temperature: Divides the logits of `loss` and `logprobs`.
            suppress: int64 [k], ids with probability 0 in `loss` and `logprobs`.
            past_key_values: The cache of earlier tokens. Not with `sequence_ids`.
            use_cache: Whether to return the cache.
            logits_to_keep: Compute logits of this many last positions only; 0 for all.
            **kwargs: For the decoder.

        Returns:
            The output; with labels it has `loss` and `logprobs`, otherwise `logits`.

        Raises:
            ValueError: When image tokens and images do not match, or a tensor has another shape than `input_ids`.
        """
        if sequence_ids is not None and (attention_mask is not None or past_key_values is not None):
            raise ValueError(
                "sequence_ids (packs) cannot be combined with attention_mask (padding) or with past_key_values"
            )
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
        labels = labels.to(hidden.device)  # the head may be on another device than the embeddings
        weights = mask_loss_weights(weights.to(hidden.device), labels, sequence_ids.to(hidden.device))
        selected = weights != 0
        scores = self.token_scores(
            hidden[:, :-1][selected[:, 1:]],
            labels[selected],
            temperature=temperature,
            suppress=suppress,
        )
        output.loss_weight = weights.sum()
        # A batch without a weighted token has loss 0, not the NaN of 0/0.
        output.loss = -(scores.logprobs * weights[selected]).sum() / output.loss_weight.clamp_min(1e-8)
        output.logprobs = torch.zeros_like(weights).masked_scatter(selected, scores.logprobs)
        return output

    def token_scores(self, hidden: Tensor, targets: Tensor, **options: Any) -> TokenScores:
        """`logprobs.token_scores` with this model's language head.

        Args:
            hidden: [n, H].
            targets: int64 [n].
            **options: `temperature`, `suppress`, `entropy`.
        """
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
        if length > MAX_DENSE_MASK_TOKENS and self._needs_dense_mask(attention_mask, sequence_ids):
            raise ValueError(
                f"{self.model.config._attn_implementation} attention needs a mask of {length} x {length} for packs or "
                f"padding, at most {MAX_DENSE_MASK_TOKENS} x {MAX_DENSE_MASK_TOKENS} is allowed: use "
                "flash_attention_2 or flex_attention (engine.attention in a training configuration, "
                "attn_implementation of from_pretrained)"
            )
        if sequence_ids is not None:
            positions = packed_positions(sequence_ids)
            position_ids = positions if position_ids is None else position_ids
            if is_flash_attention_requested(self.model.config):
                # These kernels take bounds instead of a mask, and one row with all samples.
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

    def _needs_dense_mask(self, attention_mask: Tensor | None, sequence_ids: Tensor | None) -> bool:
        """Whether attention to packs, or in training to padded rows, takes a mask of [B, 1, T, T]."""
        config = self.model.config
        if config._attn_implementation == "flex_attention" or is_flash_attention_requested(config):
            return False
        padded = self.training and attention_mask is not None and not bool(attention_mask.all())
        return sequence_ids is not None or padded

    def generate(
        self, inputs: Tensor | None = None, generation_config: GenerationConfig | None = None, **kwargs: Any
    ) -> Any:
        """Generate as the base class does, without image tokens.

        The ids that wrap images are never sampled. `<im_patch>` ends an answer if `eos_token_id` contains it, as in
        the released settings; otherwise it is not sampled either.

        Args:
            inputs: int64 [B, T], the prompts; or `input_ids` as a keyword.
            generation_config: By default that of the checkpoint.
            **kwargs: As for the base class, and the images as for `forward`.
        """
        config = generation_config or self.generation_config
        end_ids = kwargs.get("eos_token_id", config.eos_token_id)
        if kwargs.get("suppress_tokens", config.suppress_tokens) is None:
            ends_answer = self.config.image_token_id in (end_ids if isinstance(end_ids, list | tuple) else [end_ids])
            kwargs["suppress_tokens"] = [
                *self.config.wrapper_token_ids,
                *([] if ends_answer else [self.config.image_token_id]),
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
        """Pass the images with the prompt only; after that they are in the cache.

        An `<im_patch>` after the prompt has ended its row while other rows may continue: no image belongs to it, so it
        is replaced.
        """
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
        """Repeat each prompt with its images, whose number may differ between the rows of a batch."""
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
