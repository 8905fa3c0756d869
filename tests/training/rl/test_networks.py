"""Actor and critic on a real tiny model with images: shared features, alignment, and trained parameters."""

import io

import pytest
import torch
from PIL import Image as PILImage

from step3vl.data.sample import Image, ImageSpec, conversation, image, text
from step3vl.data.tokens import TokenIds, encode_prompt, train_bpe
from step3vl.model.configuration import tiny_config
from step3vl.model.image_processing import Step3VLImageProcessor
from step3vl.model.modeling import Step3VLForConditionalGeneration
from step3vl.training.rl.experience import NetworkInputs, collate, gather
from step3vl.training.rl.image_inputs import encode_images, preprocess_images
from step3vl.training.rl.networks import (
    critic_of,
    entropies,
    response_logprobs,
    response_values,
)
from step3vl.training.rl.rollout import PolicyRollout

SPEC = ImageSpec(image_size=56, crop_size=28, patch_size=7, max_side=112)
TOKENIZER = train_bpe(["what colour is it? red green"], 320)
IDS = TokenIds.of(TOKENIZER)
CPU = torch.device("cpu")
SUPPRESS = torch.tensor([IDS.image_patch, IDS.image_start])


def plain_image(colour: str, size: tuple[int, int]) -> Image:
    buffer = io.BytesIO()
    PILImage.new("RGB", size, colour).save(buffer, "PNG")
    return Image.from_bytes(buffer.getvalue())


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = tiny_config(
        TOKENIZER.get_vocab_size(), SPEC, image_token_id=IDS.image_patch, hidden_size=32, layers=2, vision_width=32,
        vision_layers=1,
    )  # fmt: skip
    return Step3VLForConditionalGeneration(config).eval()


@pytest.fixture(scope="module")
def processor():
    return Step3VLImageProcessor(**SPEC.model_dump())


def rollout(*token_ids: int) -> PolicyRollout:
    return PolicyRollout(token_ids, (0.0,) * len(token_ids), "", "stop", version=0)


IMAGES = [[plain_image("red", (100, 60))], [plain_image("green", (40, 40))], []]


def make_experience(images):
    """Two responses each to a question with a wide image that is cut into crops, a small image, and none."""
    prompts = []
    for prompt_images in IMAGES:
        question = (*(image(i) for i in range(len(prompt_images))), text("what colour is it?"))
        sizes = [(part.width, part.height) for part in prompt_images]
        messages = conversation(question, "red")[:-1]
        prompts.append(torch.from_numpy(encode_prompt(messages, sizes, TOKENIZER, SPEC)).long())
    rollouts = [[rollout(5, 6, 7), rollout(8)], [rollout(9, 10), rollout(11, 12, 13, 14)], [rollout(15), rollout(16)]]
    return gather(prompts, images, rollouts, trained=[True] * 6)


@pytest.fixture(scope="module")
def experience(model, processor):
    return make_experience(encode_images(model, processor, IMAGES))


def scores(model, experience, rows: torch.Tensor, temperature: float = 1.0):
    inputs = collate(experience, rows, IDS.pad, CPU)
    mask = experience.mask[rows, : inputs.responses.shape[1]]
    logprobs, hidden = response_logprobs(model, inputs, mask, temperature, SUPPRESS)
    return logprobs, entropies(model, hidden, mask, temperature, SUPPRESS)


def test_equal_images_are_encoded_once(model, processor) -> None:
    image_a, image_b = plain_image("red", (40, 40)), plain_image("red", (40, 40))
    calls = []
    handle = model.vision_model.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    first, second, none = encode_images(model, processor, [[image_a], [image_b], []])
    handle.remove()
    assert calls == [1]
    assert first[1]["image_features"] is second[1]["image_features"]
    assert [inputs["image_features"].shape for inputs in none] == [(0, 32)]


def test_pixels_of_the_screens_of_an_episode_are_prepared_once(processor, monkeypatch: pytest.MonkeyPatch) -> None:
    screens = [plain_image(colour, (40, 40)) for colour in ("red", "green", "blue")]
    prepared = []
    original = type(processor).preprocess

    def counted(self, images, *args, **kwargs):
        prepared.append(len(images))
        return original(self, images, *args, **kwargs)

    monkeypatch.setattr(type(processor), "preprocess", counted)
    prompts = preprocess_images(processor, [screens[:1], screens[:2], screens])
    assert prepared == [1, 1, 1]
    assert [len(inputs) for inputs in prompts] == [2, 3, 4], "after those of no image"
    assert prompts[2][1]["pixel_values"] is prompts[0][1]["pixel_values"]


def test_responses_are_scored_as_by_the_plain_model(model, processor, experience) -> None:
    rows = torch.arange(6)
    logprobs, entropy = scores(model, experience, rows, temperature=0.7)
    for row in range(6):
        images = IMAGES[int(experience.prompt[row])]
        prompt = experience.prompt_ids[experience.prompt[row]]
        response = experience.tokens[row, : experience.lengths[row]]
        pixels = {}
        if images:
            pixels = processor([images[0].open()])
            pixels.pop("patch_newline_mask")
        with torch.no_grad():
            logits = model(input_ids=torch.cat([prompt, response])[None], **pixels).logits[0] / 0.7
        logits[:, SUPPRESS] = -torch.inf
        expected = logits.log_softmax(-1)[len(prompt) - 1 : -1]
        chosen = expected.gather(-1, response[:, None]).squeeze(-1)
        torch.testing.assert_close(logprobs[row, : len(response)], chosen, atol=1e-5, rtol=0)
        spread = -(expected.exp() * expected.clamp(min=-1e9)).sum(-1)
        torch.testing.assert_close(entropy[row, : len(response)], spread, atol=1e-5, rtol=0)
    assert (logprobs[~experience.mask] == 0).all()
    assert not entropy.requires_grad


def test_pixels_and_features_of_images_give_the_same_scores(model, processor, experience) -> None:
    pixels = make_experience(preprocess_images(processor, IMAGES))
    rows = torch.tensor([5, 0, 2, 1])
    with torch.no_grad():
        torch.testing.assert_close(scores(model, pixels, rows), scores(model, experience, rows), atol=1e-5, rtol=0)


def test_another_image_changes_the_score_and_the_order_of_rows_does_not(model, experience) -> None:
    rows = torch.tensor([0, 3, 4])
    with torch.no_grad():
        forward, _ = scores(model, experience, rows)
        back, _ = scores(model, experience, rows.flip(0))
        torch.testing.assert_close(forward, back.flip(0), atol=1e-5, rtol=0)
        blank = make_experience(
            [[{"image_features": 0 * each["image_features"]} for each in inputs] for inputs in experience.images]
        )
        changed, _ = scores(model, blank, rows)
    assert (changed - forward)[:2].abs().amax(1).min() > 1e-4


def test_neither_padding_nor_micro_batch_changes_a_gradient(model, experience) -> None:
    def gradient(*parts: torch.Tensor) -> torch.Tensor:
        model.zero_grad()
        for rows in parts:
            scores(model, experience, rows)[0].sum().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    whole = gradient(torch.arange(6))
    torch.testing.assert_close(gradient(*torch.arange(6).split(1)), whole, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(gradient(*torch.arange(6).flip(0).split(4)), whole, atol=1e-4, rtol=1e-3)


def test_critic_starts_at_zero_and_values_the_state_before_each_token(model, experience) -> None:
    critic = critic_of(model, keep_vision=False)
    inputs = collate(experience, torch.tensor([3]), IDS.pad, CPU)
    assert torch.equal(response_values(critic, inputs), torch.zeros(1, 4))
    torch.nn.init.normal_(critic.lm_head.weight)
    values = response_values(critic, inputs)
    # The value before a token must not know it: changing the last response token changes no value.
    changed = inputs.input_ids.clone()
    changed[0, -1] = 77
    after = response_values(critic, NetworkInputs(changed, inputs.attention_mask, inputs.images, inputs.start))
    torch.testing.assert_close(values, after)
    changed[0, -2] = 77
    after = response_values(critic, NetworkInputs(changed, inputs.attention_mask, inputs.images, inputs.start))
    assert ((values - after).abs() > 1e-6).tolist() == [[False, False, False, True]]


def test_critic_shares_no_weights_and_keeps_the_encoder_only_where_it_is_trained(model, processor, experience) -> None:
    critic = critic_of(model, keep_vision=False)
    assert not {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in critic.parameters()}
    assert not any(name.startswith("vision_model.") for name, _ in critic.named_parameters())
    whole = critic_of(model, keep_vision=True)
    torch.nn.init.ones_(critic.lm_head.weight)
    torch.nn.init.ones_(whole.lm_head.weight)
    rows = torch.arange(6)
    pixels = collate(make_experience(preprocess_images(processor, IMAGES)), rows, IDS.pad, CPU)
    features = collate(experience, rows, IDS.pad, CPU)
    torch.testing.assert_close(response_values(whole, pixels), response_values(critic, features), atol=1e-5, rtol=1e-5)
