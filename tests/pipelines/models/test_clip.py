"""The scorer with a real, tiny model of random weights, beside the cosines computed step by step."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

from step3vl.data.errors import UserError
from step3vl.pipelines.models.clip import ClipModel

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.slow

WORDS = ["<pad>", "<start>", "<end>", "<unk>", "a", "red", "blue", "square", "cat", "mill"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of two small towers, with its tokenizer and image processor."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    path = tmp_path_factory.mktemp("clip")
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", bos_token="<start>", eos_token="<end>"
    ).save_pretrained(path)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(0)
    config = transformers.CLIPConfig(
        text_config={**sizes, "vocab_size": len(WORDS), "max_position_embeddings": 12, "eos_token_id": 2},
        vision_config={**sizes, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    transformers.CLIPModel(config).save_pretrained(path)
    transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        path
    )
    return path


def image(seed: int) -> PILImage.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    return PILImage.fromarray(pixels)


def cosine(folder: Path, photo: PILImage.Image, text: str) -> float:
    """Without our code: the whole model on one pair, whose logit is the scaled cosine."""
    model: Any = transformers.CLIPModel.from_pretrained(folder).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(folder)([text], return_tensors="pt")
    pixels = transformers.AutoImageProcessor.from_pretrained(folder)(images=[photo], return_tensors="pt")
    with torch.no_grad():
        output = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], **pixels)
    return float(output.logits_per_image[0, 0] / model.logit_scale.detach().exp())


def test_cosines_are_those_of_the_model_itself(folder: Path) -> None:
    images, texts = [image(1), image(2), image(3)], [["a red square", "cat"], [], ["a blue mill", "mill", "a"]]
    cosines, aesthetics = ClipModel(str(folder)).score(images, texts)
    assert [len(group) for group in cosines] == [2, 0, 3]
    for photo, group, scores in zip(images, texts, cosines, strict=True):
        assert scores == pytest.approx([cosine(folder, photo, text) for text in group], abs=2e-4)
    assert aesthetics == [None, None, None]


def test_an_aesthetic_head_is_a_linear_layer_on_the_embedding(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    head = tmp_path / "head.safetensors"
    save_file({"weight": torch.ones(1, 16), "bias": torch.full((1,), 5.0)}, head)
    _, (score,) = ClipModel(str(folder), str(head)).score([image(1)], [["cat"]])
    model: Any = transformers.CLIPModel.from_pretrained(folder).eval()
    pixels = transformers.AutoImageProcessor.from_pretrained(folder)(images=[image(1)], return_tensors="pt")
    with torch.no_grad():
        embedding = model.visual_projection(model.vision_model(**pixels).pooler_output)[0]
    assert score == pytest.approx(float((embedding / embedding.norm()).sum()) + 5, abs=2e-4)


def test_a_folder_without_such_a_model_is_the_users_mistake(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UserError, match="no model"):
        ClipModel(str(tmp_path))
    with pytest.raises(UserError, match="no linear layer"):
        ClipModel(str(folder), str(tmp_path / "none.safetensors"))


def test_nothing_gives_nothing(folder: Path) -> None:
    assert ClipModel(str(folder)).score([], []) == ([], [])
