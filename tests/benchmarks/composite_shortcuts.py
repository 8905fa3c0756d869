"""Whether a small network can tell from the background alone where something was laid on it.

    .venv/bin/python tests/benchmarks/composite_shortcuts.py --images 600

Patches of background close to an object are told from patches of the same background close to where an object of
another composite would lie: places are chosen alike, so that 50 % is chance, and more is a trace around objects. It is
measured on composites, with shadows, and on icons in a halo (the domain `grounding`), where the trace must be found.
"""

import argparse
import random
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image as PILImage
from rich.console import Console
from rich.progress import track
from rich.table import Table

from step3vl.data.sample import Box
from step3vl.data.storage import StoreConfig
from step3vl.pipelines.core.assets import resolve_assets
from step3vl.pipelines.render.scenes.composite import Look, Request, compose
from step3vl.pipelines.render.scenes.scene import IconRequest, render_scene
from step3vl.pipelines.render.style import COLOURS, PhotoBackgrounds
from step3vl.pipelines.sources.icons import IconSet

SIZE = 256
SIDE = 13  # pixels of a patch
NEAR, FAR = 7, 9  # pixels from an object to the centre of a patch: none of the object is in it
PATCHES = 24  # of each kind in an image
Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Laid = tuple[Pixels, Mask]
Lay = Callable[[PILImage.Image, random.Random], Laid | None]


def patches(image: Pixels, near: Mask, blocked: Mask, rng: np.random.Generator) -> list[Pixels]:
    """Patches whose centres lie in a ring around `near`, and that hold nothing of `blocked`."""
    distance = cv2.distanceTransform((~near).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    free = cv2.distanceTransform((~blocked).astype(np.uint8), cv2.DIST_C, 3)
    half = SIDE // 2
    ring = (distance >= NEAR) & (distance < FAR) & (free > half)
    ring[:half], ring[-half:], ring[:, :half], ring[:, -half:] = False, False, False, False
    rows, columns = np.nonzero(ring)
    chosen = rng.permutation(len(rows))[:PATCHES]
    return [
        image[r - half : r + half + 1, c - half : c + half + 1]
        for r, c in zip(rows[chosen], columns[chosen], strict=True)
    ]


def pairs(lay: Lay, images: int, seed: int) -> Iterator[tuple[list[Pixels], list[Pixels]]]:
    """For each image its patches beside objects, and beside where those of another composite would lie."""
    assets = resolve_assets(("assets:photos/*.jpg",), ".", StoreConfig())
    backgrounds, rng, numbers = PhotoBackgrounds(assets), random.Random(seed), np.random.default_rng(seed)
    for _ in range(images):
        background = backgrounds.crop((SIZE, SIZE), rng)
        real, other = lay(background, rng), lay(background, rng)
        if real is None or other is None:
            continue
        image, blocked = real[0], real[1] | other[1]
        beside, elsewhere = patches(image, real[1], blocked, numbers), patches(image, other[1], blocked, numbers)
        number = min(len(beside), len(elsewhere))
        if number:
            yield beside[:number], elsewhere[:number]


def composites(icons: IconSet, **look: float) -> Lay:
    """How `grounding.composites` lays icons."""

    def lay(background: PILImage.Image, rng: random.Random) -> Laid | None:
        requests = []
        for _ in range(rng.randint(2, 4)):
            colour = rng.choice(("red", "orange", "yellow", "green", "blue", "purple", "black", "white"))
            stencil = icons.stencil(rng.choice(icons.names), rng.randint(30, 60))
            painted = PILImage.new("RGBA", stencil.size, COLOURS[colour])
            painted.putalpha(stencil)
            requests.append(Request("icon", "", painted))
        harmony, blur = rng.choice((0.0, rng.uniform(0.2, 0.8))), rng.choice((0.0, rng.uniform(0.3, 0.8)))
        values = {"shadow": 0.0, "shadow_blur": 0.0, **look}
        composed = compose(
            background, requests, Look(1.0, 8.0, values["shadow"], (2, 3), values["shadow_blur"], harmony, blur), rng
        )
        if composed is None:
            return None
        mask = np.zeros((SIZE, SIZE), bool)
        for item in composed[1]:
            _window(mask, item.box)[...] |= item.mask
        return np.asarray(composed[0]), mask

    return lay


def haloed(icons: IconSet) -> Lay:
    """How `grounding` lays them."""

    def lay(background: PILImage.Image, rng: random.Random) -> Laid | None:
        scene = background.copy()
        colours = ("red", "yellow", "green", "blue", "black", "white")
        requests = [IconRequest(rng.choice(icons.names), rng.choice(colours), rng.randint(30, 60)) for _ in range(3)]
        placed = render_scene(scene, requests, icons, rng)
        if placed is None:
            return None
        mask = np.zeros((SIZE, SIZE), bool)
        for item in placed:
            _window(mask, item.box)[...] = True
        return np.asarray(scene), mask

    return lay


def accuracy(lay: Lay, images: int, seed: int) -> tuple[float, float, int]:
    """Held-out accuracy of a small network, its standard error by image, and the number of held-out patches."""
    made = list(track(pairs(lay, images, seed), total=images, description="images", transient=True))
    held = len(made) // 4
    torch.manual_seed(seed)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 24, 3), torch.nn.ReLU(), torch.nn.Conv2d(24, 32, 3, stride=2), torch.nn.ReLU(),
        torch.nn.Conv2d(32, 48, 3), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.LazyLinear(1),
    )  # fmt: skip
    inputs, labels = _tensors(made[held:])
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    for _ in range(25):
        for batch in torch.randperm(len(inputs)).split(256):
            optimizer.zero_grad()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(network(inputs[batch])[:, 0], labels[batch])
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        shares = []
        for each in made[:held]:
            inputs, labels = _tensors([each])
            shares.append(float(((network(inputs)[:, 0] > 0) == (labels > 0.5)).float().mean()))
    total = sum(2 * len(beside) for beside, _ in made[:held])
    return float(np.mean(shares)), float(np.std(shares) / len(shares) ** 0.5), total


def _tensors(made: list[tuple[list[Pixels], list[Pixels]]]) -> tuple[torch.Tensor, torch.Tensor]:
    stacked = np.stack([patch for beside, elsewhere in made for patch in (*beside, *elsewhere)])
    labels = [label for beside, elsewhere in made for label in (*[1.0] * len(beside), *[0.0] * len(elsewhere))]
    return torch.tensor(stacked).permute(0, 3, 1, 2) / 255 - 0.5, torch.tensor(labels)


def _window(mask: Mask, box: Box) -> Mask:
    return mask[int(box.y1) : int(box.y2), int(box.x1) : int(box.x2)]


def main() -> None:
    """Print the accuracy on each kind of composite."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    icons = IconSet(resolve_assets(("assets:icons/*.svg",), ".", StoreConfig()))
    table = Table("objects", "accuracy", "patches")
    for name, lay in (
        ("composites", composites(icons)),
        ("composites with a shadow", composites(icons, shadow=0.3, shadow_blur=3.0)),
        ("icons in a halo", haloed(icons)),
    ):
        share, error, total = accuracy(lay, arguments.images, arguments.seed)
        table.add_row(name, f"{share:.3f} ± {error:.3f}", f"{total:,}")
    Console().print(table)


if __name__ == "__main__":
    main()
