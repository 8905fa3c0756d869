"""Pictures to pixel tensors, beside the processor of another family that also works without torchvision."""

import fixtures
from measure import Row, race
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from step3vl.model import Step3VLImageProcessor

PICTURES = 2
SIZE = (1280, 720)


def rows(rounds: int) -> list[Row]:
    pictures = [fixtures.photograph(*SIZE, seed) for seed in range(PICTURES)]
    ours, peer = Step3VLImageProcessor(), Qwen2VLImageProcessorPil()

    def cut() -> int:
        return len(ours(pictures)["num_patches"])

    def patch() -> int:
        return len(peer(pictures, return_tensors="pt")["image_grid_thw"])

    seconds = race({"ours": cut, "peer": patch}, rounds)
    one = ours(pictures[:1])
    views = one["pixel_values"].numel() + one["patch_pixel_values"].numel()
    # The peer shows a still picture twice, as two frames; each pixel counts once.
    patches = peer(pictures[:1], return_tensors="pt")["pixel_values"].numel() / peer.temporal_patch_size
    megapixels = {"ours": views / 3e6, "peer": patches / 3e6}
    rates = {name: PICTURES / taken for name, taken in seconds.items()}
    what, peer_name = f"pictures of {SIZE[0]}x{SIZE[1]}", "transformers' Qwen2VLImageProcessorPil"
    work = f"ours makes {megapixels['ours']:.2f} Mpx of each (view and crops), the peer {megapixels['peer']:.2f}"
    return [
        Row(what, rates["ours"], rates["peer"], "pictures/cpu-s", f"{peer_name}; {work}"),
        Row(
            f"{what}: pixels made",
            rates["ours"] * megapixels["ours"],
            rates["peer"] * megapixels["peer"],
            "Mpx/cpu-s",
            f"{peer_name}; the same runs, counted by what comes out",
        ),
    ]
