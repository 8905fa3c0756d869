"""Images to pixel tensors, beside the processor of another family that also works without torchvision."""

import fixtures
from measure import Row, race
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from step3vl.model import Step3VLImageProcessor

IMAGES = 2
SIZE = (1280, 720)


def rows(rounds: int) -> list[Row]:
    images = [fixtures.photograph(*SIZE, seed) for seed in range(IMAGES)]
    ours, peer = Step3VLImageProcessor(), Qwen2VLImageProcessorPil()

    def cut() -> int:
        return len(ours(images)["num_patches"])

    def patch() -> int:
        return len(peer(images, return_tensors="pt")["image_grid_thw"])

    seconds = race({"ours": cut, "peer": patch}, rounds)
    single = ours(images[:1])
    views = single["pixel_values"].numel() + single["patch_pixel_values"].numel()
    # The peer shows a still image twice, as two frames; each pixel counts once.
    patches = peer(images[:1], return_tensors="pt")["pixel_values"].numel() / peer.temporal_patch_size
    crop = 3 * ours.crop_size**2
    crops = {"ours": views / crop, "peer": patches / crop}
    rates = {name: IMAGES / taken for name, taken in seconds.items()}
    what, peer_name = f"images of {SIZE[0]}x{SIZE[1]}", "transformers' Qwen2VLImageProcessorPil"
    return [
        Row(
            f"{what}: crops",
            rates["ours"] * crops["ours"],
            rates["peer"] * crops["peer"],
            "crops/cpu-s",
            f"{peer_name}; what comes out, in pixels of a crop of {ours.crop_size}x{ours.crop_size}",
        ),
        Row(
            what,
            rates["ours"],
            rates["peer"],
            "images/cpu-s",
            f"the same runs; ours makes {crops['ours']:.1f} crops of each image, views included, the peer "
            f"{crops['peer']:.1f}",
        ),
    ]
