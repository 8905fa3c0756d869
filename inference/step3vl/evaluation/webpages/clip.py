"""How alike two pages look without their texts: the similarity of screenshots by CLIP (Design2Code's fifth part)."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from step3vl.data.errors import UserError
from step3vl.data.optional import require
from step3vl.evaluation.webpages.render import RenderedPage
from step3vl.grading.pool import WorkerPool

SECONDS = 60.0
"""For the filling of a screenshot."""
_POOL = WorkerPool("step3vl.evaluation.webpages.filling:fill_texts")


def clip_similarity(weights: Path, first: RenderedPage, second: RenderedPage) -> float:
    """The cosine of two pages' features, in -1..1.

    Args:
        weights: A folder as `CLIPModel.save_pretrained` and `CLIPImageProcessor.save_pretrained` write it.
        first: A page with its screenshot.
        second: Another one.

    Raises:
        UserError: the folder holds no CLIP, or a package is not installed.
        TimeoutError, WorkerError: see `without_texts`.
    """
    torch = require("torch", "inference")
    model, processor = _load(weights)
    images = [without_texts(page) for page in (first, second)]
    with torch.inference_mode():
        outputs = model.vision_model(**processor(images, return_tensors="pt"))
        features = torch.nn.functional.normalize(model.visual_projection(outputs.pooler_output), dim=-1)
    return float(features[0] @ features[1])


def without_texts(page: RenderedPage) -> Image.Image:
    """A screenshot whose blocks of text are filled from around them, squeezed into a square of its shorter side.

    Raises:
        TimeoutError: It takes longer than `SECONDS`.
        WorkerError: It needs more memory than a worker has.
        UserError: OpenCV is not installed.
    """
    require("cv2", "pipelines")
    with TemporaryDirectory(prefix="step3vl-page-") as folder:
        source, target = Path(folder, "page.png"), Path(folder, "filled.png")
        source.write_bytes(page.screenshot)
        _POOL.call(str(source), page.blocks, str(target), seconds=SECONDS)
        with Image.open(target) as filled:
            return filled.convert("RGB")


@cache
def _load(weights: Path) -> tuple[Any, Any]:
    transformers = require("transformers", "inference")
    try:
        model = transformers.CLIPModel.from_pretrained(weights, local_files_only=True).eval()
        return model, transformers.CLIPImageProcessor.from_pretrained(weights, local_files_only=True)
    except (OSError, ValueError) as error:
        raise UserError(f"{weights}: no CLIP with its image processor: {str(error).splitlines()[0]}") from None
