"""Cut-outs: images of single things on a transparent ground."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from step3vl.data.errors import UserError
from step3vl.pipelines.sources.cutouts import CutoutSet

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20">'
    '<rect x="5" y="2" width="10" height="5" fill="#c00000"/></svg>'
)


def test_cutouts_are_cropped_to_what_is_opaque_in_their_own_colours(tmp_path: Path) -> None:
    pixels = PILImage.new("RGBA", (60, 40), (0, 255, 0, 0))
    pixels.paste((10, 20, 200, 255), (10, 10, 50, 30))
    pixels.save(tmp_path / "blue_box-large.png")
    (tmp_path / "brick.svg").write_text(SVG)
    cutouts = CutoutSet([tmp_path / "blue_box-large.png", tmp_path / "brick.svg"])
    assert cutouts.names == ("blue box large", "brick")
    for name, colour in (("blue box large", (10, 20, 200)), ("brick", (192, 0, 0))):
        cutout = cutouts.cutout(name, 80)
        assert (cutout.mode, cutout.size) == ("RGBA", (80, 40))
        solid = np.asarray(cutout)[np.asarray(cutout)[..., 3] > 128]
        # No green of the transparent ground in the edge.
        assert np.abs(solid[:, :3].astype(int) - colour).max() <= 6


def test_names_are_unique_and_empty_images_are_no_cutouts(tmp_path: Path) -> None:
    PILImage.new("RGBA", (8, 8)).save(tmp_path / "a_b.png")
    with pytest.raises(ValueError, match="shows nothing"):
        CutoutSet([tmp_path / "a_b.png"]).cutout("a b", 10)
    with pytest.raises(UserError, match="both called 'a b'"):
        CutoutSet([tmp_path / "a_b.png", tmp_path / "a-b.webp"])
