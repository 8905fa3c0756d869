from pathlib import Path

import numpy as np
import pytest

from step3vl.data.errors import UserError
from step3vl.pipelines.sources.icons import IconSet


def test_every_sample_icon_renders_into_a_tight_stencil() -> None:
    icons = IconSet(sorted(Path("data/step3vl/data/assets/icons").glob("*.svg")))
    assert len(icons.names) == 40
    for name in icons.names:
        stencil = np.asarray(icons.stencil(name, 32))
        assert 28 <= max(stencil.shape) <= 32
        for edge in (stencil[0], stencil[-1], stencil[:, 0], stencil[:, -1]):
            assert edge.max() >= 96


def test_a_file_that_is_no_icon_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "star.svg"
    path.write_text("not SVG")
    with pytest.raises(UserError, match=r"star\.svg is not an SVG image"):
        IconSet([path])
