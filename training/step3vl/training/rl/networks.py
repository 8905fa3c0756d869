"""Actor and critic: the model as RL uses it, and the pictures that both look at.

Both are `Step3VLForConditionalGeneration` under a DeepSpeed engine. The encoder is frozen in RL (STEP3-VL-10B report,
section 3.2), so each distinct picture is encoded once an iteration and its features serve all rollouts of its prompt,
both networks, and every mini-batch. Where that cannot be (`RLConfig.shares_features`), both are handed pixels instead.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from step3vl.data.sample import Image
from step3vl.model.head import LOGITS_AT_ONCE
from step3vl.model.image_processing import Step3VLImageProcessor
from step3vl.model.modeling import Step3VLForConditionalGeneration
from step3vl.training.rl.experience import Inputs, Pictures


def critic_of(policy: Step3VLForConditionalGeneration, keep_vision: bool) -> Step3VLForConditionalGeneration:
    """A copy of the policy with a value head, one output and no bias, in place of the language head.

    The head starts at zero, and so does every value. Without `keep_vision` the copy has no encoder and takes pictures
    as features only.
    """
    critic = copy.deepcopy(policy)
    critic.lm_head = nn.Linear(policy.config.hidden_size, 1, bias=False, dtype=policy.lm_head.weight.dtype)
    nn.init.zeros_(critic.lm_head.weight)
    if not keep_vision:
        del critic.vision_model
    return critic


def response_logprobs(
    actor: Any, inputs: Inputs, mask: Tensor, temperature: float, suppress: Tensor
) -> tuple[Tensor, Tensor]:
    """Log-probability of each response token, fp32 `(b, r)`, zero outside `mask`; and the hidden states `(b, r, H)`
    that they are predicted from.

    The distribution is the rollout engine's: softmax(logits / temperature) without the ids in `suppress`.
    """
    weights = torch.zeros(inputs.input_ids.shape, device=mask.device)
    weights[:, inputs.start :] = mask.float()
    output = actor(
        input_ids=inputs.input_ids,
        attention_mask=inputs.attention_mask,
        labels=inputs.input_ids,
        loss_weights=weights,
        temperature=temperature,
        suppress=suppress,
        **inputs.pictures,
    )
    return output.logprobs[:, inputs.start :], inputs.before_responses(output.last_hidden_state)


@torch.no_grad()
def entropies(
    model: Step3VLForConditionalGeneration, hidden: Tensor, mask: Tensor, temperature: float, suppress: Tensor
) -> Tensor:
    """Entropy in nats `(b, r)` of the distribution that each response token was drawn from, zero outside `mask`."""
    states = hidden[mask]
    chunks = max(1, -(-states.shape[0] * model.lm_head.out_features // LOGITS_AT_ONCE))
    nobody = torch.zeros(states.shape[0], dtype=torch.int64, device=states.device)  # the entropy is of no one token
    scores = model.token_scores(
        states, nobody, temperature=temperature, suppress=suppress, entropy=True, chunks=chunks
    )
    assert scores.entropy is not None  # it was asked for
    return torch.zeros(mask.shape, device=mask.device).masked_scatter(mask, scores.entropy)


def response_values(critic: Any, inputs: Inputs) -> Tensor:
    """Value `(b, r)`, fp32, of the state before each response token; temperature has no part in it."""
    output = critic(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask, **inputs.pictures)
    return inputs.before_responses(output.logits).squeeze(-1).float()


def trainable_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights that training changes, by the model's own names."""
    return {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad}


@torch.no_grad()
def encode_pictures(
    model: Step3VLForConditionalGeneration,
    processor: Step3VLImageProcessor,
    pictures: Sequence[Sequence[Image]],
) -> list[Pictures]:
    """For each prompt, the features of its pictures as `image_features`; each distinct picture is encoded once."""
    distinct = {picture.sha256: picture for own in pictures for picture in own}
    encoded: dict[str, Tensor] = {}
    if distinct:
        pixels = processor([picture.open() for picture in distinct.values()])
        device = model.vit_large_projector.weight.device
        counts = pixels["num_patches"]
        training = model.training
        model.eval()  # in training the encoder would hold the activations of all pictures at once
        features = model.encode_images(
            pixels["pixel_values"].to(device), pixels["patch_pixel_values"].to(device), counts
        )
        model.train(training)
        tokens = counts * processor.spec.crop_tokens + processor.spec.image_tokens
        encoded = dict(zip(distinct, features.split(tokens.tolist()), strict=True))
    nothing = model.vit_large_projector.weight.new_zeros(0, model.config.hidden_size)
    return [{"image_features": torch.cat([nothing, *(encoded[one.sha256] for one in own)])} for own in pictures]


def pixels_of(processor: Step3VLImageProcessor, pictures: Sequence[Sequence[Image]]) -> list[Pictures]:
    """For each prompt, the pixels of its pictures."""
    spec, result = processor.spec, []
    for own in pictures:
        if own:
            pixels = processor([picture.open() for picture in own])
            result.append({name: pixels[name] for name in ("pixel_values", "patch_pixel_values", "num_patches")})
        else:
            result.append(
                {
                    "pixel_values": torch.zeros(0, 3, spec.image_size, spec.image_size),
                    "patch_pixel_values": torch.zeros(0, 3, spec.crop_size, spec.crop_size),
                    "num_patches": torch.zeros(0, dtype=torch.int64),
                }
            )
    return result
