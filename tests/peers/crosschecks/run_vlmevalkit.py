"""Run VLMEvalKit's own run.py, whole, with our model on a few questions of OCRBench's format: for the tests.

Arguments: a folder with `OCRBench.tsv`, the model, and settings as `name=value`. The folder `out` gets what it writes.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import torch


def add_torchvision() -> torch.library.Library | None:
    """Add the torchvision that lies apart, because its operators are built for CUDA and others would fail on it.

    Returns:
        With a torch for CPUs, the declarations of the operators that it looks for when it is imported. They are
        withdrawn when nobody holds them.
    """
    sys.path.append(str(Path(sys.prefix) / "torchvision"))
    if torch.version.cuda is not None:
        return None
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


if __name__ == "__main__":
    folder, model, *settings = sys.argv[1:]
    os.environ["LMUData"] = folder  # noqa: SIM112  the name that it reads
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # prices of servers, which it would download
    operators = add_torchvision()
    from vlmeval.dataset.image_vqa import OCRBench

    from step3vl.evaluation.plugins import vlmevalkit

    OCRBench.DATASET_MD5 = {}  # a local file
    spec = find_spec("vlmeval")
    assert spec is not None and spec.submodule_search_locations
    script = Path(spec.submodule_search_locations[0]).parent / "run.py"
    options = ("--data", "OCRBench", "--work-dir", f"{folder}/out", "--api-nproc", "4")
    sys.argv = ["vlmevalkit", ",".join((model, *settings)), str(script), *options, "--model", vlmevalkit.NAME]
    vlmevalkit.main()
