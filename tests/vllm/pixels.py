"""Run by vLLM's Python: what its processor, as it is or with our plan, makes of the pictures in a folder.

python pixels.py own|plan FOLDER: reads FOLDER/*.png in order, writes FOLDER/own.npz or plan.npz.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from vllm.transformers_utils.processors.step3_vl import Step3VLImageProcessor

from step3vl.data.crops import ImageSpec
from step3vl.vllm_plugin.model import Patcher


def main(which: str, folder: Path) -> None:
    processor = Step3VLImageProcessor()
    if which == "plan":
        processor.patcher = Patcher(ImageSpec())
    pictures = [Image.open(file) for file in sorted(folder.glob("*.png"))]
    made = processor(pictures, return_tensors="pt")
    np.savez(folder / f"{which}.npz", **{name: values.numpy() for name, values in made.items()})


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
