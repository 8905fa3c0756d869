"""Generation by transformers: images, samplers and beams; image tokens are never generated."""

import pytest
import torch
from torch import Tensor

from step3vl.data.tokens import TokenIds, load_tokenizer
from step3vl.model import Step3VLForConditionalGeneration, config_10b

LENGTH = 26  # tokens of a prompt


@pytest.fixture(scope="module")
def inputs(model, spec, with_images) -> dict[str, Tensor]:
    return {
        **with_images(model, spec, rows=2, length=LENGTH),
        "attention_mask": torch.ones(2, LENGTH, dtype=torch.long),
    }


def generate(model: Step3VLForConditionalGeneration, inputs: dict[str, Tensor], **options: object) -> Tensor:
    with torch.inference_mode():
        return model.generate(**inputs, **{"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0, **options})


@torch.inference_mode()
def test_greedy_generation_equals_repeated_forward_passes(model, inputs) -> None:
    ids = inputs["input_ids"].clone()
    for _ in range(5):
        images = {name: tensor for name, tensor in inputs.items() if name not in ("input_ids", "attention_mask")}
        logits = model(ids, **images).logits[:, -1]
        logits[:, [model.config.image_token_id, *model.config.wrapper_token_ids]] = float("-inf")
        ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], dim=1)
    assert torch.equal(generate(model, inputs), ids)
    assert torch.equal(generate(model, inputs, use_cache=False), ids)


def test_each_returned_sequence_has_the_images_of_its_prompt(model, inputs) -> None:
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


def test_left_padding_does_not_change_the_answers(model, inputs) -> None:
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
def test_samplers_never_generate_image_tokens(model, inputs, sampler) -> None:
    torch.manual_seed(0)
    sampled = generate(model, inputs, do_sample=True, num_return_sequences=4, max_new_tokens=20, **sampler)
    answers = sampled[:, LENGTH:]
    assert answers.shape == (8, 20)
    silent = torch.tensor([model.config.image_token_id, *model.config.wrapper_token_ids])
    assert not torch.isin(answers, silent).any()


@pytest.mark.parametrize("use_cache", [True, False])
def test_an_image_token_can_end_an_answer(model, inputs, use_cache) -> None:
    """The other row continues, although the finished one now contains a placeholder without an image."""
    image, rows = model.config.image_token_id, torch.arange(2)

    def push(ids: Tensor, scores: Tensor) -> Tensor:
        """Makes `<im_patch>` the best second token of the first row, and a wrapper token the best everywhere else."""
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


def test_suppress_tokens_of_the_caller_are_respected(model, inputs) -> None:
    first = generate(model, inputs)[0, LENGTH].item()
    assert generate(model, inputs, suppress_tokens=[first])[0, LENGTH] != first


@pytest.mark.parametrize("name", ["released", "trained"])
def test_wrapper_token_ids_equal_the_vocabularys(name, tokenizer, model) -> None:
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
