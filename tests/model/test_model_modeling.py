"""The whole model: against the library's decoder, packed and padded, cached, trained."""

import pytest
import torch
from torch import Tensor
from transformers import Qwen3ForCausalLM

from step3vl.model import Step3VLForConditionalGeneration
from step3vl.model.head import token_scores


def pictured(model, spec, rows: int, length: int, seed: int = 0) -> dict[str, Tensor]:
    """Rows of random text, each with a picture of one global view and two crops after its third token."""
    generator = torch.Generator().manual_seed(seed)
    input_ids = torch.randint(0, 256, (rows, length), generator=generator)
    patches = 2 * spec.crop_tokens + spec.image_tokens
    input_ids[:, 3 : 3 + patches] = model.config.image_token_id
    return {
        "input_ids": input_ids,
        "pixel_values": torch.randn(rows, 3, spec.image_size, spec.image_size, generator=generator),
        "patch_pixel_values": torch.randn(2 * rows, 3, spec.crop_size, spec.crop_size, generator=generator),
        "num_patches": torch.full((rows,), 2),
    }


def one_row(inputs: dict[str, Tensor], row: int) -> dict[str, Tensor]:
    return {
        "input_ids": inputs["input_ids"][row : row + 1],
        "pixel_values": inputs["pixel_values"][row : row + 1],
        "patch_pixel_values": inputs["patch_pixel_values"][2 * row : 2 * row + 2],
        "num_patches": inputs["num_patches"][row : row + 1],
    }


@torch.inference_mode()
def test_the_decoder_agrees_with_the_librarys_on_the_same_embeddings(model, spec) -> None:
    reference = Qwen3ForCausalLM(model.config.text_config).eval()
    state = {f"model.{name}": tensor for name, tensor in model.model.state_dict().items()}
    reference.load_state_dict({**state, "lm_head.weight": model.lm_head.weight})
    inputs = pictured(model, spec, rows=2, length=30)
    expected = reference(inputs_embeds=model.embed(**inputs)).logits
    assert (model(**inputs).logits - expected).abs().max() < 1e-4


@torch.inference_mode()
def test_crops_come_before_the_global_view_of_their_own_picture(model, spec) -> None:
    inputs = pictured(model, spec, rows=2, length=30)
    features = model.encode_images(inputs["pixel_values"], inputs["patch_pixel_values"], torch.tensor([0, 4]))

    def encode(pixels: Tensor) -> Tensor:
        return model.vit_large_projector(model.vision_model(pixels)).flatten(0, 1)

    views = inputs["pixel_values"]
    expected = torch.cat([encode(views[:1]), encode(inputs["patch_pixel_values"]), encode(views[1:])])
    assert torch.allclose(features, expected, atol=1e-4)


@torch.inference_mode()
def test_packed_samples_get_the_logits_that_they_get_alone(model, spec) -> None:
    inputs = pictured(model, spec, rows=3, length=24)
    packed = {name: tensor for name, tensor in inputs.items() if name != "input_ids"}
    ids = torch.cat([inputs["input_ids"].flatten(), torch.zeros(5, dtype=torch.long)])[None]
    sequence_ids = torch.cat([torch.arange(1, 4).repeat_interleave(24), torch.zeros(5, dtype=torch.long)])[None]
    together = model(ids, sequence_ids=sequence_ids, **packed).logits
    assert together.isfinite().all()
    for row in range(3):
        alone = model(**one_row(inputs, row)).logits
        assert (together[:, 24 * row : 24 * (row + 1)] - alone).abs().max() < 1e-4
    crossing = model(ids, **packed).logits
    assert (crossing[:, 24:48] - together[:, 24:48]).abs().max() > 1e-2, "without the mask, samples see each other"


@torch.inference_mode()
@pytest.mark.parametrize("padding", [0, 5, 17])
def test_padding_on_the_left_changes_nothing(model, spec, padding) -> None:
    inputs = pictured(model, spec, rows=2, length=26)
    expected = model(**inputs).logits
    ids = torch.nn.functional.pad(inputs.pop("input_ids"), (padding, 0), value=0)
    mask = torch.nn.functional.pad(torch.ones(2, 26, dtype=torch.long), (padding, 0), value=0)
    logits = model(ids, attention_mask=mask, **inputs).logits[:, padding:]
    assert (logits - expected).abs().max() < 1e-4


@torch.inference_mode()
def test_with_a_cache_the_logits_stay_the_same(model, spec) -> None:
    inputs = pictured(model, spec, rows=2, length=26)
    expected = model(**inputs).logits
    ids = inputs.pop("input_ids")
    first = model(ids[:, :20], use_cache=True, **inputs)
    steps = [first.logits]
    for position in range(20, 26):
        output = model(ids[:, position : position + 1], past_key_values=first.past_key_values, use_cache=True)
        steps.append(output.logits)
    assert (torch.cat(steps, dim=1) - expected).abs().max() < 1e-4


def reference_loss(model, inputs: dict[str, Tensor], weights: Tensor) -> Tensor:
    """The definition: full logits, shift, weigh, divide by the weights."""
    logits = model(**inputs).logits[:, :-1]
    targets = inputs["input_ids"][:, 1:]
    nll = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    return (nll * weights[:, 1:]).sum() / weights[:, 1:].sum()


@pytest.mark.parametrize("at_once", [2**27, 4000])
def test_loss_is_the_weighted_mean_over_full_logits(model, spec, monkeypatch, at_once) -> None:
    """In one chunk and in many; so are the gradients."""
    monkeypatch.setattr("step3vl.model.modeling.LOGITS_AT_ONCE", at_once)
    inputs = pictured(model, spec, rows=2, length=30)
    weights = torch.rand(2, 30) * (torch.rand(2, 30) > 0.4)
    weights[:, 3:16] = 0
    output = model(**inputs, labels=inputs["input_ids"], loss_weights=weights)
    expected = reference_loss(model, inputs, weights)
    assert output.logits is None
    assert output.loss_weight.item() == pytest.approx(weights[:, 1:].sum().item())
    assert output.loss.item() == pytest.approx(expected.item(), abs=1e-5)
    doubled = model(**inputs, labels=inputs["input_ids"], loss_weights=2 * weights)
    assert doubled.loss.item() == pytest.approx(output.loss.item(), abs=1e-5)
    parameters = [model.lm_head.weight, model.vision_model.conv1.weight]
    for got, wanted in zip(
        torch.autograd.grad(output.loss, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        assert torch.allclose(got, wanted, atol=1e-6)


def test_no_token_is_predicted_from_another_sample_or_from_padding(model) -> None:
    ids = torch.randint(0, 256, (1, 12))
    sequence_ids = torch.tensor([[1, 1, 1, 1, 2, 2, 2, 3, 3, 0, 0, 0]])
    output = model(ids, sequence_ids=sequence_ids, labels=ids, loss_weights=torch.ones(1, 12))
    assert (output.logprobs != 0).int().tolist() == [[0, 1, 1, 1, 0, 1, 1, 0, 1, 0, 0, 0]]
    assert output.loss_weight == 6


def test_ignored_labels_carry_no_loss(model) -> None:
    ids = torch.randint(0, 256, (1, 8))
    labels = ids.clone()
    labels[:, 4:] = -100
    assert model(ids, labels=labels).loss_weight == 3
    assert model(ids, labels=torch.full_like(ids, -100)).loss == 0


def test_scores_follow_temperature_and_suppressed_ids() -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 20, bias=False)
    hidden, targets = torch.randn(6, 8), torch.randint(3, 20, (6,))
    suppress = torch.tensor([0, 2])
    scores = token_scores(head, hidden, targets, temperature=0.5, suppress=suppress, entropy=True)
    kept = [index for index in range(20) if index not in (0, 2)]
    distribution = (head(hidden)[:, kept] / 0.5).softmax(dim=-1)
    expected = torch.stack([row[kept.index(int(target))] for row, target in zip(distribution, targets, strict=True)])
    assert torch.allclose(scores.logprobs, expected.log(), atol=1e-5)
    assert torch.allclose(scores.entropy, torch.distributions.Categorical(distribution).entropy(), atol=1e-5)


def test_every_parameter_learns_and_checkpointing_gives_the_same_gradients(fresh_model, spec) -> None:
    model = fresh_model.train()
    inputs = pictured(model, spec, rows=2, length=30)

    def gradients() -> dict[str, Tensor]:
        model.zero_grad()
        model(**inputs, labels=inputs["input_ids"]).loss.backward()
        return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    plain = gradients()
    assert [name for name, gradient in plain.items() if not gradient.abs().max() > 0] == []
    model.activation_checkpointing_enable()
    for name, gradient in gradients().items():
        assert torch.allclose(gradient, plain[name], atol=1e-6), name


def test_a_training_batch_without_pictures_still_runs_the_tower(fresh_model) -> None:
    """Ranks of a sharded model must call the same modules; the blank picture adds exactly nothing."""
    ids = torch.randint(0, 256, (2, 10))
    expected = fresh_model(ids, labels=ids).loss
    calls = []
    fresh_model.vision_model.register_forward_hook(lambda *_: calls.append(1))
    loss = fresh_model.train()(ids, labels=ids).loss
    loss.backward()
    assert len(calls) == 2
    assert loss.item() == expected.item()
    assert fresh_model.vision_model.conv1.weight.grad is not None


def test_trains_under_bfloat16_autocast(fresh_model, spec) -> None:
    model = fresh_model.train()
    inputs = pictured(model, spec, rows=4, length=30)
    weights = torch.zeros(4, 30)
    weights[:, -4:] = 1
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**inputs, labels=inputs["input_ids"], loss_weights=weights).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 4
    assert losses[-1] < 1


def test_image_tokens_and_pictures_must_agree(model, spec) -> None:
    inputs = pictured(model, spec, rows=1, length=30)
    with pytest.raises(ValueError, match="the prompt has 12 image tokens, the pictures give 8"):
        model(**{**inputs, "num_patches": torch.tensor([1]), "patch_pixel_values": inputs["patch_pixel_values"][:1]})
    with pytest.raises(ValueError, match="promises 3 crops, patch_pixel_values holds 2"):
        model(**{**inputs, "num_patches": torch.tensor([3])})
    with pytest.raises(ValueError, match="not both"):
        model(torch.ones(1, 4, dtype=torch.long), attention_mask=torch.ones(1, 4), sequence_ids=torch.ones(1, 4))


@torch.inference_mode()
def test_library_generation_repeats_each_prompt_with_its_own_pictures(
    model: Step3VLForConditionalGeneration, spec
) -> None:
    inputs = pictured(model, spec, rows=2, length=26)
    mask = torch.ones(2, 26, dtype=torch.long)
    options = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0}
    once = model.generate(**inputs, attention_mask=mask, **options)
    beams = model.generate(**inputs, attention_mask=mask, num_beams=2, num_return_sequences=2, **options)
    assert beams.shape == (4, 30)
    ids = once[:, :26].clone()
    for _ in range(4):
        repeated = {**inputs, "input_ids": ids}
        ids = torch.cat([ids, model(**repeated).logits[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(once, ids)
