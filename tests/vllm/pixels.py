"""Run by vLLM's Python: processes the images of a folder with vLLM's processor, as it is or with our crop plan.

python pixels.py original|plan FOLDER: reads FOLDER/*.png in order, writes FOLDER/original.npz or plan.npz.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from vllm.transformers_utils.processors.step3_vl import Step3VLImageProcessor

from step3vl.data.sample import ImageSpec
from step3vl.vllm_plugin.model import CropPlanPatcher


def main(cropping: str, folder: Path) -> None:
    processor = Step3VLImageProcessor()
    if cropping == "plan":
        processor.patcher = CropPlanPatcher(ImageSpec())
    images = [Image.open(file) for file in sorted(folder.glob("*.png"))]
    output = processor(images, return_tensors="pt")
    np.savez(folder / f"{cropping}.npz", **{name: values.numpy() for name, values in output.items()})


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
