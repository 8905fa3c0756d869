"""Our image processor equals vLLM's, which uses torchvision, and vLLM's with our plugin, bit for bit."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from vllm_server import PYTHON

from step3vl.model import Step3VLImageProcessor

SIZES = [(500, 400), (700, 400), (300, 100), (100, 300), (1280, 720), (1000, 400), (400, 1000), (3100, 800), (200, 31)]
QUIRK = [(728, 728), (728, 486), (728, 485), (485, 728)]  # vLLM cuts these differently from the released processor


def processed(cropping: str, folder: Path, images) -> tuple[dict, dict]:
    """The tensors of vLLM's processor and of ours."""
    for number, image in enumerate(images):
        image.save(folder / f"{number:02}.png")
    environment = {**os.environ, "VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": "1"}
    command = [str(PYTHON), str(Path(__file__).with_name("pixels.py")), cropping, str(folder)]
    subprocess.run(command, env=environment, check=True, timeout=240, capture_output=True)
    with np.load(folder / f"{cropping}.npz") as stored:
        theirs = dict(stored)
    return theirs, {name: values.numpy() for name, values in Step3VLImageProcessor()(images).items()}


def check(theirs: dict, ours: dict) -> None:
    assert theirs.keys() == ours.keys()
    for name, values in theirs.items():
        assert np.array_equal(values, ours[name]), name


def test_vllm_computes_the_same_pixels(photograph, tmp_path) -> None:
    check(*processed("original", tmp_path, [photograph(*size, seed) for seed, size in enumerate(SIZES)]))


def test_the_plugin_fixes_images_with_a_long_side_of_728(photograph, tmp_path) -> None:
    images = [photograph(*size, seed) for seed, size in enumerate(SIZES[:2] + QUIRK)]
    check(*processed("plan", tmp_path, images))


def test_without_the_plugin_those_images_differ(photograph, tmp_path) -> None:
    """When this fails, vLLM has been fixed, and the plugin is needed for other sizes only."""
    with pytest.raises(AssertionError):
        check(*processed("original", tmp_path, [photograph(*size) for size in QUIRK]))
