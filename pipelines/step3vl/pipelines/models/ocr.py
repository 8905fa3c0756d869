"""Text on images by PaddleOCR, with the PP-OCRv6 models that the rapidocr wheel carries; no model is downloaded.

PaddleOCR takes a folder a model with an `inference.yml` beside the weights. The wheel has only the weights, so the two
folders are written once into the user's cache.
"""

import logging
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np
import yaml
from PIL import Image as PILImage

from step3vl.data.config import Config
from step3vl.data.optional import require
from step3vl.data.sample import Box

_DETECTION = "PP-OCRv6_small_det"
_RECOGNITION = "PP-OCRv6_small_rec"
_TILE = 1536  # pixels of a side that detection sees as it is; longer pages are cut into tiles
_SHORT = 1600  # pixels of the shorter side of a page; a larger one is made smaller, for its letters are large
_OVERLAP = 160  # pixels that two tiles share where no blank row lies between them, more than the height of a line
_BLANK = 12.0  # of 255: the contrast in a row that no letter is in


class OcrLine(Config):
    """A line of text as the model read it."""

    text: str
    score: float
    """The model's confidence, 0..1."""
    box: Box
    """Upright, in pixels."""


def model_folders() -> tuple[Path, Path]:
    """The folders of the detection and the recognition model, written at the first call.

    Raises:
        UserError: The wheel with the weights is not installed.
    """
    weights = Path(str(require("rapidocr", "pipelines").__file__)).parent / "models"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "step3vl"
    target = cache / f"ppocr-rapidocr-{version('rapidocr')}"
    if not target.is_dir():
        temporary = cache / f".{target.name}.{uuid.uuid4().hex}"
        _write_model(temporary / "det", weights / "PP-OCRv6_det_small.onnx", _detection_config())
        recogniser = weights / "PP-OCRv6_rec_small.onnx"
        _write_model(temporary / "rec", recogniser, _recognition_config(_characters(recogniser)))
        try:
            temporary.rename(target)
        except OSError:  # another process was first; its folder is the same
            shutil.rmtree(temporary)
    return target / "det", target / "rec"


def _write_model(folder: Path, weights: Path, config: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    shutil.copyfile(weights, folder / "inference.onnx")
    (folder / "inference.yml").write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False), "utf-8")


def _characters(recogniser: Path) -> list[str]:
    """The model's characters, which its metadata lists one a line."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(recogniser), providers=["CPUExecutionProvider"])
    return session.get_modelmeta().custom_metadata_map["character"].split("\n")


def _detection_config() -> dict[str, Any]:
    normalise = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "scale": 1 / 255, "order": "hwc"}
    return {
        "Global": {"model_name": _DETECTION},
        "PreProcess": {
            "transform_ops": [
                {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}},
                {"DetLabelEncode": None},
                {"DetResizeForTest": {"resize_long": _TILE}},
                {"NormalizeImage": normalise},
                {"ToCHWImage": None},
                {"KeepKeys": {"keep_keys": ["image", "shape", "polys", "ignore_tags"]}},
            ]
        },
        "PostProcess": {
            "name": "DBPostProcess",
            "thresh": 0.3,
            "box_thresh": 0.6,
            "max_candidates": 1000,
            "unclip_ratio": 1.5,
        },
    }


def _recognition_config(characters: list[str]) -> dict[str, Any]:
    kept = ["image", "label_ctc", "label_gtc", "length", "valid_ratio"]
    return {
        "Global": {"model_name": _RECOGNITION},
        "PreProcess": {
            "transform_ops": [
                {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}},
                {"MultiLabelEncode": {"gtc_encode": "NRTRLabelEncode"}},
                {"RecResizeImg": {"image_shape": [3, 48, 320]}},
                {"KeepKeys": {"keep_keys": kept}},
            ]
        },
        "PostProcess": {"name": "CTCLabelDecode", "character_dict": characters},
    }


def _import_paddleocr() -> ModuleType:
    """PaddleOCR without ModelScope, with which PaddleX downloads models.

    ModelScope imports PyTorch, Transformers and PEFT where they are installed: 8 seconds of processor time and 340 MB
    in each process that reads.
    """
    if "modelscope" in sys.modules:
        return require("paddleocr", "pipelines")
    sys.modules["modelscope"] = ModuleType("modelscope")
    try:
        return require("paddleocr", "pipelines")
    finally:
        del sys.modules["modelscope"]


class OcrModel:
    """PaddleOCR, loaded, on one thread.

    It reads image by image: on a CPU, PaddleOCR reads a list of images no faster, and gives the same lines.
    """

    def __init__(self) -> None:
        # Without these PaddleX asks a model hub, and warns that it does.
        os.environ["PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK"] = "True"
        paddleocr = _import_paddleocr()
        logging.getLogger("paddlex").setLevel(logging.WARNING)  # it announces each model in colour
        detection, recognition = model_folders()
        self._ocr = paddleocr.PaddleOCR(
            text_detection_model_name=_DETECTION,
            text_detection_model_dir=str(detection),
            text_recognition_model_name=_RECOGNITION,
            text_recognition_model_dir=str(recognition),
            use_doc_orientation_classify=False,
            use_doc_unwarping=False,
            use_textline_orientation=False,
            device="cpu",
            engine="onnxruntime",
            engine_config={"intra_op_num_threads": 1},
            text_recognition_batch_size=6,
            text_det_limit_side_len=_TILE,
            text_det_limit_type="max",
        )

    @classmethod
    @cache
    def shared(cls) -> Self:
        """The model of this process, loaded when it is first asked for.

        The label checks of all entries of a dataset share it: a model takes some 200 MB, and up to 1 GB once it has
        read large images.
        """
        return cls()

    def read(self, image: PILImage.Image) -> list[OcrLine]:
        """The lines of an RGB image, as detection finds them.

        Small letters vanish where a long page is made to fit the detection, so it is read in tiles, which are cut
        where no ink is.
        """
        scale = min(1.0, _SHORT / min(image.size))
        smaller = image if scale == 1 else image.resize((round(image.width * scale), round(image.height * scale)))
        down = smaller.height >= smaller.width
        pixels = np.asarray(smaller) if down else np.asarray(smaller).swapaxes(0, 1)
        lines: list[OcrLine] = []
        for start, end, cut in tiles(pixels):
            tile = pixels[start:end] if down else pixels[start:end].swapaxes(0, 1)
            origin = (0, start) if down else (start, 0)
            read = self._read_tile(tile, origin, smaller.size)
            if cut > start:  # a line in the shared part belongs to the tile that has its centre
                middle = (start + cut) / 2
                lines = [line for line in lines if _along(line, down) < middle]
                read = [line for line in read if _along(line, down) >= middle]
            lines += read
        if scale == 1:
            return lines
        return [line.model_copy(update={"box": line.box.resized(image.size)}) for line in lines]

    def _read_tile(self, tile: np.ndarray, origin: tuple[int, int], size: tuple[int, int]) -> list[OcrLine]:
        """The lines of a tile, with boxes in the image of `size` in which its top left corner is at `origin`."""
        result = self._ocr.predict(np.ascontiguousarray(tile[:, :, ::-1]))[0]
        lines = []
        for text, score, polygon in zip(result["rec_texts"], result["rec_scores"], result["rec_polys"], strict=True):
            corners = np.clip(np.asarray(polygon, dtype=float) + origin, 0, size)
            (x1, y1), (x2, y2) = corners.min(axis=0), corners.max(axis=0)
            box = Box(float(x1), float(y1), float(x2), float(y2), "pixels", size)
            lines.append(OcrLine(text=str(text), score=float(score), box=box))
        return lines


def _along(line: OcrLine, down: bool) -> float:
    return line.box.centre.y if down else line.box.centre.x


def tiles(pixels: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """The rows of a page that are read together: first, last (exclusive), and the last of the tile before.

    A tile ends in a blank row of its last third; where there is none, the next one begins `_OVERLAP` rows before its
    end.

    Args:
        pixels: [height, width, 3].
    """
    height = len(pixels)
    start = before = 0
    while height - start > _TILE:
        end = start + _TILE
        third = end - _TILE // 3
        contrast = np.ptp(pixels[third:end], axis=1).max(axis=1)
        blank = np.flatnonzero(contrast <= _BLANK)
        cut = third + int(blank[-1]) + 1 if len(blank) else end
        yield start, cut, before
        start, before = (cut, cut) if len(blank) else (end - _OVERLAP, end)
    yield start, height, before
