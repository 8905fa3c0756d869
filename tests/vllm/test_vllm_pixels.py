"""Our image processor beside vLLM's, which uses torchvision, and beside vLLM's with our plugin: equal bit for bit."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from vllm_server import PYTHON

from step3vl.model import Step3VLImageProcessor

SIZES = [(500, 400), (700, 400), (300, 100), (100, 300), (1280, 720), (1000, 400), (400, 1000), (3100, 800), (200, 31)]
QUIRK = [(728, 728), (728, 486), (728, 485), (485, 728)]  # vLLM cuts these otherwise than the released processor


def made(which: str, folder: Path, pictures) -> tuple[dict, dict]:
    """What vLLM's processor and ours make of the pictures."""
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{number:02}.png")
    environment = {**os.environ, "VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": "1"}
    command = [str(PYTHON), str(Path(__file__).with_name("pixels.py")), which, str(folder)]
    subprocess.run(command, env=environment, check=True, timeout=240, capture_output=True)
    with np.load(folder / f"{which}.npz") as stored:
        theirs = dict(stored)
    return theirs, {name: values.numpy() for name, values in Step3VLImageProcessor()(pictures).items()}


def check(theirs: dict, ours: dict) -> None:
    assert theirs.keys() == ours.keys()
    for name, values in theirs.items():
        assert np.array_equal(values, ours[name]), name


def test_vllm_makes_the_same_pixels(photograph, tmp_path) -> None:
    check(*made("own", tmp_path, [photograph(*size, seed) for seed, size in enumerate(SIZES)]))


def test_with_the_plugin_also_where_the_long_side_is_728(photograph, tmp_path) -> None:
    pictures = [photograph(*size, seed) for seed, size in enumerate(SIZES[:2] + QUIRK)]
    check(*made("plan", tmp_path, pictures))


def test_without_it_those_differ(photograph, tmp_path) -> None:
    """When this fails, vLLM has been mended, and the plugin is needed for other sizes only."""
    with pytest.raises(AssertionError):
        check(*made("own", tmp_path, [photograph(*size) for size in QUIRK]))
