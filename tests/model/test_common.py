"""What transformers tests of every model: signatures, outputs, embeddings, initialisation, batches, copies."""

import copy
import inspect

import pytest
import torch
from transformers import AutoConfig

from step3vl.model import Step3VLConfig, Step3VLForConditionalGeneration


def test_forward_takes_input_ids_first(model) -> None:
    parameters = list(inspect.signature(model.forward).parameters)
    assert parameters[:2] == ["input_ids", "attention_mask"]
    assert model.main_input_name == "input_ids"
    assert {"labels", "past_key_values", "use_cache", "logits_to_keep"} <= set(parameters)


@torch.inference_mode()
def test_hidden_states_and_attentions_are_returned_on_request(fresh_model, spec, with_images) -> None:
    fresh_model.set_attn_implementation("eager")
    inputs = with_images(fresh_model, spec, rows=2, length=30)
    output = fresh_model(**inputs, output_hidden_states=True, output_attentions=True)
    text = fresh_model.config.text_config
    layers = text.num_hidden_layers
    assert [state.shape for state in output.hidden_states] == [(2, 30, text.hidden_size)] * (layers + 1)
    assert [weights.shape for weights in output.attentions] == [(2, text.num_attention_heads, 30, 30)] * layers
    assert torch.equal(output.hidden_states[-1], output.last_hidden_state)
    plain = fresh_model(**inputs)
    assert plain.hidden_states is None
    assert plain.attentions is None


@torch.inference_mode()
def test_logits_to_keep_computes_the_last_positions_only(model, spec, with_images) -> None:
    inputs = with_images(model, spec, rows=2, length=30)
    assert torch.allclose(model(**inputs, logits_to_keep=3).logits, model(**inputs).logits[:, -3:], atol=1e-5)


@torch.inference_mode()
def test_a_batch_gives_the_logits_of_its_rows(model, spec, with_images) -> None:
    inputs = with_images(model, spec, rows=3, length=30)
    logits = model(**inputs).logits
    for row in range(3):
        single = {
            "input_ids": inputs["input_ids"][row : row + 1],
            "pixel_values": inputs["pixel_values"][row : row + 1],
            "patch_pixel_values": inputs["patch_pixel_values"][2 * row : 2 * row + 2],
            "num_patches": inputs["num_patches"][row : row + 1],
        }
        assert torch.allclose(model(**single).logits, logits[row : row + 1], atol=1e-4)


def test_embeddings_can_be_read_replaced_and_resized(fresh_model) -> None:
    embeddings = fresh_model.get_input_embeddings()
    assert fresh_model.get_output_embeddings() is fresh_model.lm_head
    fresh_model.set_input_embeddings(copy.deepcopy(embeddings))
    assert fresh_model.get_input_embeddings() is not embeddings
    old = embeddings.weight.clone()
    fresh_model.resize_token_embeddings(len(old) + 8)
    assert fresh_model.config.text_config.vocab_size == len(old) + 8
    assert fresh_model.lm_head.out_features == len(old) + 8
    assert torch.equal(fresh_model.get_input_embeddings().weight[: len(old)], old)


def test_input_embeddings_are_not_tied_to_the_language_head(model) -> None:
    assert model.get_input_embeddings().weight.data_ptr() != model.lm_head.weight.data_ptr()


def test_every_parameter_is_initialised(model) -> None:
    torch.manual_seed(0)
    initialised = Step3VLForConditionalGeneration(model.config)
    for name, parameter in initialised.named_parameters():
        assert parameter.isfinite().all(), name
        assert parameter.std() > 0 or "bias" in name or "norm" in name or "ln_" in name or "gamma" in name, name
    torch.manual_seed(0)
    again = Step3VLForConditionalGeneration(model.config)
    assert all(map(torch.equal, initialised.state_dict().values(), again.state_dict().values()))


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_copy_gives_the_same_logits(fresh_model, spec, with_images, dtype) -> None:
    model = fresh_model.to(dtype)
    inputs = with_images(model, spec, rows=1, length=30)
    logits = model(**inputs).logits
    assert logits.dtype == dtype
    assert torch.equal(copy.deepcopy(model)(**inputs).logits, logits)


def test_a_configuration_survives_saving_and_loading(model, tmp_path) -> None:
    model.config.save_pretrained(tmp_path)
    for loaded in (AutoConfig.from_pretrained(tmp_path), Step3VLConfig.from_dict(model.config.to_dict())):
        assert {**loaded.to_dict(), "_name_or_path": ""} == model.config.to_dict()
    assert copy.deepcopy(model.config).to_dict() == model.config.to_dict()
