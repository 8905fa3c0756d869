"""The library's generation: with pictures, samplers and beams; and the ids of pictures, which are never said."""

import pytest
import torch
from torch import Tensor

from step3vl.data.tokens import TokenIds, load_tokenizer
from step3vl.model import Step3VLForConditionalGeneration, config_10b

LENGTH = 26  # tokens of a prompt


@pytest.fixture(scope="module")
def inputs(model, spec, pictured) -> dict[str, Tensor]:
    return {**pictured(model, spec, rows=2, length=LENGTH), "attention_mask": torch.ones(2, LENGTH, dtype=torch.long)}


def generate(model: Step3VLForConditionalGeneration, inputs: dict[str, Tensor], **options: object) -> Tensor:
    with torch.inference_mode():
        return model.generate(**inputs, **{"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0, **options})


@torch.inference_mode()
def test_greedy_answers_are_those_of_the_plain_forward(model, inputs) -> None:
    ids = inputs["input_ids"].clone()
    for _ in range(5):
        pictures = {name: tensor for name, tensor in inputs.items() if name not in ("input_ids", "attention_mask")}
        logits = model(ids, **pictures).logits[:, -1]
        logits[:, [model.config.image_token_id, *model.config.wrapper_token_ids]] = float("-inf")
        ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], dim=1)
    assert torch.equal(generate(model, inputs), ids)
    assert torch.equal(generate(model, inputs, use_cache=False), ids)


def test_each_sequence_of_a_prompt_keeps_the_prompts_own_pictures(model, inputs) -> None:
    once = generate(model, inputs)
    beams = generate(model, inputs, num_beams=2, num_return_sequences=2)
    assert beams.shape == (4, LENGTH + 5)
    alone = generate(
        model,
        {
            "input_ids": inputs["input_ids"][1:],
            "attention_mask": inputs["attention_mask"][1:],
            "pixel_values": inputs["pixel_values"][1:],
            "patch_pixel_values": inputs["patch_pixel_values"][2:],
            "num_patches": inputs["num_patches"][1:],
        },
        num_beams=2,
        num_return_sequences=2,
    )
    assert torch.equal(beams[2:], alone)
    sampled = generate(model, inputs, do_sample=True, num_return_sequences=3, top_k=1)
    assert torch.equal(sampled, once.repeat_interleave(3, dim=0))


def test_prompts_padded_on_the_left_get_the_answers_that_they_get_alone(model, inputs) -> None:
    padded = {
        **inputs,
        "input_ids": torch.nn.functional.pad(inputs["input_ids"], (4, 0)),
        "attention_mask": torch.nn.functional.pad(inputs["attention_mask"], (4, 0)),
    }
    assert torch.equal(generate(model, padded)[:, LENGTH + 4 :], generate(model, inputs)[:, LENGTH:])


SAMPLERS = [
    {"temperature": 1.7},
    {"top_p": 0.7},
    {"top_k": 40},
    {"min_p": 0.02},
    {"typical_p": 0.8},
    {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: next(iter(sampler)))
def test_samplers_of_the_library_never_say_the_ids_of_pictures(model, inputs, sampler) -> None:
    torch.manual_seed(0)
    drawn = generate(model, inputs, do_sample=True, num_return_sequences=4, max_new_tokens=20, **sampler)
    answers = drawn[:, LENGTH:]
    assert answers.shape == (8, 20)
    silent = torch.tensor([model.config.image_token_id, *model.config.wrapper_token_ids])
    assert not torch.isin(answers, silent).any()


@pytest.mark.parametrize("use_cache", [True, False])
def test_an_image_token_ends_an_answer_where_the_released_settings_say_so(model, inputs, use_cache) -> None:
    """The other row goes on, although the ended one now holds a placeholder to which no picture belongs."""
    image, rows = model.config.image_token_id, torch.arange(2)

    def push(ids: Tensor, scores: Tensor) -> Tensor:
        """The first row wants to say `<im_patch>` as its second token; the last of `silent` always is the best."""
        scores = scores.clone()
        scores[rows, model.config.wrapper_token_ids[0]] = scores.max() + 5
        if ids.shape[1] == LENGTH + 1:
            scores[0, image] = scores.max() + 1
        return scores

    ended = generate(
        model, inputs, eos_token_id=[image], logits_processor=[push], max_new_tokens=6, use_cache=use_cache
    )
    assert ended[0, LENGTH:].tolist()[1:] == [image, 0, 0, 0, 0]
    assert image not in ended[1, LENGTH:]
    plain = generate(model, inputs, logits_processor=[], max_new_tokens=6, use_cache=use_cache)
    assert plain.shape == ended.shape


def test_what_a_caller_suppresses_is_left_to_the_caller(model, inputs) -> None:
    first = generate(model, inputs)[0, LENGTH].item()
    assert generate(model, inputs, suppress_tokens=[first])[0, LENGTH] != first


@pytest.mark.parametrize("name", ["released", "trained"])
def test_the_ids_that_wrap_pictures_stand_where_the_configuration_says(name, tokenizer, model) -> None:
    config = config_10b() if name == "released" else model.config
    ids = TokenIds.of(load_tokenizer("qwen3") if name == "released" else tokenizer)
    assert config.image_token_id == ids.image_patch
    assert config.wrapper_token_ids == [
        ids.image_start,
        ids.image_end,
        ids.patch_start,
        ids.patch_end,
        ids.patch_newline,
    ]
