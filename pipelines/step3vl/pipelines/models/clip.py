"""Similarity of images and texts by a model of the CLIP or SigLIP kind, from a folder of `transformers`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image as PILImage

from step3vl.data.errors import UserError
from step3vl.data.optional import require


class ClipModel:
    """The model, loaded; on a GPU where the worker has one.

    Args:
        folder: Of the model, with its tokenizer and image processor.
        aesthetic_head: Safetensors of a linear layer on image embeddings; empty for none.

    Raises:
        UserError: The folder holds no such model.
    """

    def __init__(self, folder: str, aesthetic_head: str = "") -> None:
        self._torch = torch = require("torch", "inference")
        transformers = require("transformers", "inference")
        try:
            self._model = transformers.AutoModel.from_pretrained(folder, local_files_only=True)
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise UserError(f"{folder} holds no model that transformers can load: {error}") from error
        if not hasattr(self._model, "get_image_features"):
            raise UserError(f"{folder} holds a {type(self._model).__name__}, which compares no images with texts")
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model.eval().to(self._device)
        self._head = _load_head(aesthetic_head, self._device) if aesthetic_head else None

    def score(
        self, images: Sequence[PILImage.Image], texts: Sequence[Sequence[str]]
    ) -> tuple[list[list[float]], list[float | None]]:
        """The cosines of each image and its texts, and the aesthetic score of each image.

        Args:
            images: RGB.
            texts: Those of each image.

        Returns:
            A list of cosines for each image, and a score for each image, None without a head.
        """
        if not images:
            return [], []
        torch = self._torch
        with torch.inference_mode():
            pixels = self._processor(images=list(images), return_tensors="pt")["pixel_values"].to(self._device)
            of_images = _normalised(self._model.get_image_features(pixel_values=pixels))
            flat = [text for group in texts for text in group]
            of_texts = self._embed_texts(flat) if flat else of_images[:0]
            cosines, first = [], 0
            for place, group in enumerate(texts):
                embeddings = of_texts[first : first + len(group)]
                first += len(group)
                cosines.append([round(float(value), 4) for value in embeddings @ of_images[place]])
            if self._head is None:
                return cosines, [None] * len(images)
            weight, bias = self._head
            return cosines, [round(float(value), 4) for value in (of_images @ weight.T + bias)[:, 0]]

    def _embed_texts(self, texts: Sequence[str]) -> Any:
        longest = getattr(getattr(self._model.config, "text_config", None), "max_position_embeddings", 77)
        tokens = self._tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=longest, return_tensors="pt"
        ).to(self._device)
        tokens.pop("token_type_ids", None)
        return _normalised(self._model.get_text_features(**tokens))


def _normalised(features: Any) -> Any:
    features = getattr(features, "pooler_output", features).float()
    return features / features.norm(dim=-1, keepdim=True)


def _load_head(path: str, device: str) -> tuple[Any, Any]:
    load_file = require("safetensors.torch", "inference").load_file
    try:
        tensors = load_file(str(Path(path)), device=device)
        return tensors["weight"].float(), tensors["bias"].float()
    except (OSError, KeyError) as error:
        raise UserError(f"{path} holds no linear layer (`weight` and `bias`): {error}") from error
