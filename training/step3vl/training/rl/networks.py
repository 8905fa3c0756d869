"""Actor and critic: log-probabilities and values of response tokens.

Both are `Step3VLForConditionalGeneration` under a DeepSpeed engine. The encoder is frozen in RL (STEP3-VL-10B report,
section 3.2), so each distinct image is encoded once an iteration and its features serve all rollouts of its prompt,
both networks, and every mini-batch. Where that is impossible (`RLConfig.shares_features`), both take pixels instead.
"""

import copy

import torch
from torch import Tensor, nn

from step3vl.model.logprobs import ValueHead
from step3vl.model.modeling import Step3VLForConditionalGeneration
from step3vl.training.rl.experience import NetworkInputs


def critic_of(policy: Step3VLForConditionalGeneration, keep_vision: bool) -> Step3VLForConditionalGeneration:
    """Make a critic: a copy of the policy with a value head, one output and no bias, in place of the language head.

    The head starts at zero, and so does every value.

    Args:
        policy: The model to copy.
        keep_vision: Keep the vision encoder; without it the critic takes images as features only.
    """
    critic = copy.deepcopy(policy)
    critic.lm_head = ValueHead(policy.config.hidden_size)
    nn.init.zeros_(critic.lm_head.weight)
    if not keep_vision:
        del critic.vision_model
    return critic


def response_logprobs(
    actor: nn.Module, inputs: NetworkInputs, mask: Tensor, temperature: float, suppress: Tensor
) -> tuple[Tensor, Tensor]:
    """Log-probability of each response token, by the same distribution as the rollout engine's.

    Args:
        actor: The policy, or its DeepSpeed engine.
        inputs: A micro-batch of b rows with r response columns.
        mask: `(b, r)` bool; the tokens to score.
        temperature: That of sampling.
        suppress: Ids that are never sampled.

    Returns:
        Log-probabilities, fp32 `(b, r)`, zero outside the mask; and the hidden states `(b, r, H)` that they are
        predicted from.
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
        **inputs.images,
    )
    return output.logprobs[:, inputs.start :], inputs.before_responses(output.last_hidden_state)


@torch.no_grad()
def entropies(
    model: Step3VLForConditionalGeneration, hidden: Tensor, mask: Tensor, temperature: float, suppress: Tensor
) -> Tensor:
    """Entropy of the distribution that each response token was sampled from.

    Args:
        model: The policy.
        hidden: `(b, r, H)` states that response tokens are predicted from.
        mask: `(b, r)` bool; the tokens to score.
        temperature: That of sampling.
        suppress: Ids that are never sampled.

    Returns:
        Nats `(b, r)`, zero outside the mask.
    """
    states = hidden[mask]
    labels = torch.zeros(states.shape[0], dtype=torch.int64, device=states.device)  # the entropy needs none
    scores = model.token_scores(states, labels, temperature=temperature, suppress=suppress, entropy=True)
    assert scores.entropy is not None  # it was asked for
    return torch.zeros(mask.shape, device=mask.device).masked_scatter(mask, scores.entropy)


def response_values(critic: nn.Module, inputs: NetworkInputs) -> Tensor:
    """Value of the state before each response token, fp32 `(b, r)`; it does not depend on the temperature.

    Args:
        critic: The critic, or its DeepSpeed engine.
        inputs: A micro-batch of b rows with r response columns.
    """
    output = critic(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask, **inputs.images)
    return inputs.before_responses(output.logits).squeeze(-1).float()


def trainable_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights that training changes, by the model's names."""
    return {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad}
