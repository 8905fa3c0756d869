"""Text on images by PaddleOCR, with the PP-OCRv6 models that the rapidocr wheel carries; no model is downloaded.

PaddleOCR takes a folder a model with an `inference.yml` beside the weights. The wheel has only the weights, so the two
folders are written once into the user's cache.
"""

import logging
import os
import shutil
import uuid
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image as PILImage

from step3vl.data.config import Config
from step3vl.data.optional import require
from step3vl.data.sample import Box

_DETECTION = "PP-OCRv6_small_det"
_RECOGNITION = "PP-OCRv6_small_rec"
_LONGEST = 960  # pixels of the longer side that detection sees; larger costs time and finds no more


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
                {"DetResizeForTest": {"resize_long": _LONGEST}},
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


class OcrModel:
    """PaddleOCR, loaded, on one thread.

    It reads image by image: on a CPU, PaddleOCR reads a list of images no faster, and gives the same lines.
    """

    def __init__(self) -> None:
        # Without these PaddleX asks a model hub, and warns that it does.
        os.environ["PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK"] = "True"
        paddleocr = require("paddleocr", "pipelines")
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
            text_det_limit_side_len=_LONGEST,
            text_det_limit_type="max",
        )

    def read(self, image: PILImage.Image) -> list[OcrLine]:
        """The lines of an RGB image, top to bottom."""
        result = self._ocr.predict(np.ascontiguousarray(np.asarray(image)[:, :, ::-1]))[0]
        lines = []
        for text, score, polygon in zip(result["rec_texts"], result["rec_scores"], result["rec_polys"], strict=True):
            corners = np.clip(np.asarray(polygon, dtype=float), 0, image.size)
            (x1, y1), (x2, y2) = corners.min(axis=0), corners.max(axis=0)
            box = Box(float(x1), float(y1), float(x2), float(y2), "pixels", image.size)
            lines.append(OcrLine(text=str(text), score=float(score), box=box))
        return lines
