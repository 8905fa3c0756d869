"""The whole model: parity with the Qwen3 decoder, packing, padding, caching, training."""

import pytest
import torch
from torch import Tensor
from transformers import AttentionInterface, Qwen3ForCausalLM

from step3vl.model.logprobs import LanguageHead, ValueHead, token_scores


def one_row(inputs: dict[str, Tensor], row: int) -> dict[str, Tensor]:
    return {
        "input_ids": inputs["input_ids"][row : row + 1],
        "pixel_values": inputs["pixel_values"][row : row + 1],
        "patch_pixel_values": inputs["patch_pixel_values"][2 * row : 2 * row + 2],
        "num_patches": inputs["num_patches"][row : row + 1],
    }


def joined(inputs: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """The rows as one pack, followed by five tokens of padding, and its sequence ids."""
    rows, length = inputs["input_ids"].shape
    ids = torch.cat([inputs["input_ids"].flatten(), torch.zeros(5, dtype=torch.long)])[None]
    numbers = torch.arange(1, rows + 1).repeat_interleave(length)
    return {**inputs, "input_ids": ids}, torch.cat([numbers, torch.zeros(5, dtype=torch.long)])[None]


@torch.inference_mode()
def test_the_decoder_equals_qwen3_on_the_same_embeddings(model, spec, with_images) -> None:
    reference = Qwen3ForCausalLM(model.config.text_config).eval()
    state = {f"model.{name}": tensor for name, tensor in model.model.state_dict().items()}
    reference.load_state_dict({**state, "lm_head.weight": model.lm_head.weight})
    inputs = with_images(model, spec, rows=2, length=30)
    expected = reference(inputs_embeds=model.embed(**inputs)).logits
    assert (model(**inputs).logits - expected).abs().max() < 1e-4


@torch.inference_mode()
def test_crops_come_before_the_global_view_of_their_own_image(model, spec, with_images) -> None:
    inputs = with_images(model, spec, rows=2, length=30)
    features = model.encode_images(inputs["pixel_values"], inputs["patch_pixel_values"], torch.tensor([0, 4]))

    def encode(pixels: Tensor) -> Tensor:
        return model.vit_large_projector(model.vision_model(pixels)).flatten(0, 1)

    views = inputs["pixel_values"]
    expected = torch.cat([encode(views[:1]), encode(inputs["patch_pixel_values"]), encode(views[1:])])
    assert torch.allclose(features, expected, atol=1e-4)


def varlen_reference(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    cu_seq_lens_q: Tensor,
    cu_seq_lens_k: Tensor,
    max_length_q: int,
    scaling: float,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """What a variable-length kernel computes, in plain torch: each sample of the row attends to itself."""
    assert attention_mask is None
    assert len(query) == 1
    assert torch.equal(cu_seq_lens_q, cu_seq_lens_k)
    assert cu_seq_lens_q.diff().max() == max_length_q
    out = torch.empty_like(query)
    for start, end in zip(cu_seq_lens_q.tolist(), cu_seq_lens_q.tolist()[1:], strict=False):
        out[:, :, start:end] = torch.nn.functional.scaled_dot_product_attention(
            query[:, :, start:end], key[:, :, start:end], value[:, :, start:end], is_causal=True, scale=scaling,
            enable_gqa=True,
        )  # fmt: skip
    return out.transpose(1, 2), None


ATTENTION = ["sdpa", "eager", "flex_attention", "flash_reference"]


@torch.inference_mode()
@pytest.mark.parametrize("attention", ATTENTION)
def test_packed_samples_have_the_logits_of_separate_samples(fresh_model, spec, attention, with_images) -> None:
    """With every kind of attention. A reference implementation replaces the CUDA kernel for packs."""
    AttentionInterface.register("flash_reference", varlen_reference)
    inputs = with_images(fresh_model, spec, rows=3, length=24)
    alone = torch.cat([fresh_model(**one_row(inputs, row)).logits for row in range(3)], dim=1)
    packed, sequence_ids = joined(inputs)
    fresh_model.model.config._attn_implementation = attention
    with torch.compiler.set_stance("force_eager"):  # flex attention is compiled by the library; that takes long
        together = fresh_model(**packed, sequence_ids=sequence_ids).logits
        twice = {name: torch.cat([tensor, tensor]) for name, tensor in packed.items()}
        rows = fresh_model(**twice, sequence_ids=sequence_ids.repeat(2, 1)).logits
    assert together.isfinite().all()
    assert (together[:, :72] - alone).abs().max() < 1e-4
    assert (rows - together).abs().max() < 1e-4


@torch.inference_mode()
def test_without_sequence_ids_packed_samples_attend_to_each_other(model, spec, with_images) -> None:
    packed, sequence_ids = joined(with_images(model, spec, rows=3, length=24))
    together = model(**packed, sequence_ids=sequence_ids).logits
    assert (model(**packed).logits[:, 24:48] - together[:, 24:48]).abs().max() > 1e-2


@torch.inference_mode()
@pytest.mark.parametrize("padding", [0, 5, 17])
def test_padding_on_the_left_changes_nothing(model, spec, padding, with_images) -> None:
    inputs = with_images(model, spec, rows=2, length=26)
    expected = model(**inputs).logits
    ids = torch.nn.functional.pad(inputs.pop("input_ids"), (padding, 0), value=0)
    mask = torch.nn.functional.pad(torch.ones(2, 26, dtype=torch.long), (padding, 0), value=0)
    logits = model(ids, attention_mask=mask, **inputs).logits[:, padding:]
    assert (logits - expected).abs().max() < 1e-4


@torch.inference_mode()
@pytest.mark.parametrize("attention", ["sdpa", "eager", "flex_attention"])
def test_rows_may_be_padded_on_either_side(fresh_model, spec, attention, with_images) -> None:
    inputs = with_images(fresh_model, spec, rows=2, length=26)
    short = one_row(inputs, 1)
    short["input_ids"] = short["input_ids"][:, :19]
    expected = fresh_model(**one_row(inputs, 0)).logits, fresh_model(**short).logits
    fresh_model.set_attn_implementation(attention)
    ids = inputs.pop("input_ids")
    for side in ("left", "right"):
        real = slice(7, 26) if side == "left" else slice(0, 19)
        padded, mask = ids.clone(), torch.zeros(2, 26, dtype=torch.long)
        padded[1], mask[0], mask[1, real] = 0, 1, 1
        padded[1, real] = short["input_ids"]
        with torch.compiler.set_stance("force_eager"):
            logits = fresh_model(padded, attention_mask=mask, **inputs).logits
        assert (logits[:1] - expected[0]).abs().max() < 1e-4
        assert (logits[1:, real] - expected[1]).abs().max() < 1e-4


@torch.inference_mode()
def test_logits_with_a_cache_are_unchanged(model, spec, with_images) -> None:
    inputs = with_images(model, spec, rows=2, length=26)
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
def test_loss_equals_the_weighted_mean_over_full_logits(model, spec, monkeypatch, at_once, with_images) -> None:
    """In one chunk and in many; the gradients are equal too."""
    monkeypatch.setattr("step3vl.model.logprobs.MAX_LOGITS_PER_CHUNK", at_once)
    inputs = with_images(model, spec, rows=2, length=30)
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
    for gradient, expected_gradient in zip(
        torch.autograd.grad(output.loss, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        assert torch.allclose(gradient, expected_gradient, atol=1e-6)


def test_no_token_is_predicted_from_another_sample_or_padding(model) -> None:
    ids = torch.randint(0, 256, (1, 12))
    sequence_ids = torch.tensor([[1, 1, 1, 1, 2, 2, 2, 3, 3, 0, 0, 0]])
    output = model(ids, sequence_ids=sequence_ids, labels=ids, loss_weights=torch.ones(1, 12))
    assert (output.logprobs != 0).int().tolist() == [[0, 1, 1, 1, 0, 1, 1, 0, 1, 0, 0, 0]]
    assert output.loss_weight == 6


def test_ignored_labels_have_no_loss(model) -> None:
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


def test_every_parameter_has_a_gradient_that_checkpointing_keeps(fresh_model, spec, with_images) -> None:
    model = fresh_model.train()
    inputs = with_images(model, spec, rows=2, length=30)

    def gradients() -> dict[str, Tensor]:
        model.zero_grad()
        model(**inputs, labels=inputs["input_ids"]).loss.backward()
        return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    plain = gradients()
    assert [name for name, gradient in plain.items() if not gradient.abs().max() > 0] == []
    model.activation_checkpointing_enable()
    for name, gradient in gradients().items():
        assert torch.allclose(gradient, plain[name], atol=1e-6), name


def test_a_training_batch_without_images_runs_the_vision_tower(fresh_model) -> None:
    """Ranks of a sharded model must call the same modules; the blank image adds exactly zero."""
    ids = torch.randint(0, 256, (2, 10))
    expected = fresh_model(ids, labels=ids).loss
    calls = []
    fresh_model.vision_model.register_forward_hook(lambda *_: calls.append(1))
    loss = fresh_model.train()(ids, labels=ids).loss
    loss.backward()
    assert len(calls) == 2
    assert loss.item() == expected.item()
    assert fresh_model.vision_model.conv1.weight.grad is not None


def test_training_under_bfloat16_autocast(fresh_model, spec, with_images) -> None:
    model = fresh_model.train()
    inputs = with_images(model, spec, rows=4, length=30)
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


def test_image_tokens_and_images_must_agree(model, spec, with_images) -> None:
    inputs = with_images(model, spec, rows=1, length=30)
    with pytest.raises(ValueError, match="the prompt has 12 image tokens, the images give 8"):
        model(**{**inputs, "num_patches": torch.tensor([1]), "patch_pixel_values": inputs["patch_pixel_values"][:1]})
    with pytest.raises(ValueError, match="has 3 crops, patch_pixel_values has 2"):
        model(**{**inputs, "num_patches": torch.tensor([3])})
    with pytest.raises(ValueError, match="cannot be combined with attention_mask"):
        model(torch.ones(1, 4, dtype=torch.long), attention_mask=torch.ones(1, 4), sequence_ids=torch.ones(1, 4))
    with pytest.raises(ValueError, match="has 2 images, pixel_values has 1"):
        model(**{**inputs, "num_patches": torch.tensor([1, 1])})


def test_shape_errors_name_the_tensor(model) -> None:
    ids = torch.ones(2, 6, dtype=torch.long)
    with pytest.raises(ValueError, match=r"input_ids must be \[batch, tokens\], not \[6\]"):
        model(ids[0])
    with pytest.raises(ValueError, match=r"labels \[2, 5\] must have the shape of input_ids, \[2, 6\]"):
        model(ids, labels=ids[:, 1:])
    with pytest.raises(ValueError, match=r"loss_weights \[6\] must have"):
        model(ids, labels=ids, loss_weights=torch.ones(6))
    with pytest.raises(ValueError, match=r"sequence_ids \[1, 6\] must have"):
        model(ids, sequence_ids=ids[:1])
    ids[0, :2] = model.config.image_token_id
    with pytest.raises(ValueError, match=r"image_features must be \[tokens, 64\], not \[2, 128\]"):
        model(ids, image_features=torch.zeros(2, 128))


@pytest.mark.parametrize("at_once", [2**27, 200])
def test_heads_are_float32_with_weights_in_bfloat16_and_under_autocast(monkeypatch, at_once) -> None:
    monkeypatch.setattr("step3vl.model.logprobs.MAX_LOGITS_PER_CHUNK", at_once)
    torch.manual_seed(0)
    head, value_head = LanguageHead(32, 50, bias=False).bfloat16(), ValueHead(32).bfloat16()
    hidden, targets = (8 * torch.randn(12, 32)).bfloat16(), torch.randint(0, 50, (12,))
    exact = (hidden.float() @ head.weight.float().T).log_softmax(-1).gather(-1, targets[:, None]).squeeze(-1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(token_scores(head, hidden, targets).logprobs, exact, atol=1e-5)
        values = value_head(hidden)
    assert values.dtype == torch.float32
    assert torch.allclose(values, hidden.float() @ value_head.weight.float().T, atol=1e-5)


def test_the_head_is_called_once_whatever_the_number_of_chunks(fresh_model, monkeypatch) -> None:
    """With sharded parameters a call is a collective, and ranks have different numbers of tokens."""
    monkeypatch.setattr("step3vl.model.logprobs.MAX_LOGITS_PER_CHUNK", 1000)
    calls = []
    fresh_model.lm_head.register_forward_hook(lambda *_: calls.append(1))
    ids = torch.randint(0, 256, (2, 40))
    fresh_model.train()(ids, labels=ids).loss.backward()
    assert len(calls) == 1


@torch.inference_mode()
def test_packs_that_need_a_mask_beyond_8k_tokens_are_refused_with_the_remedy(fresh_model, monkeypatch) -> None:
    monkeypatch.setattr("step3vl.model.modeling.MAX_DENSE_MASK_TOKENS", 16)
    ids = torch.randint(0, 256, (1, 20))
    fresh_model(ids)
    fresh_model(ids, attention_mask=torch.ones(1, 20, dtype=torch.long))
    with pytest.raises(ValueError, match=r"sdpa attention needs a mask of 20 x 20 .* use flash_attention_2 or flex"):
        fresh_model(ids, sequence_ids=torch.ones_like(ids))
    mask = torch.ones(1, 20, dtype=torch.long)
    mask[:, 15:] = 0
    with pytest.raises(ValueError, match="at most 16 x 16"):
        fresh_model.train()(ids, attention_mask=mask)
