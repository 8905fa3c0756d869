from collections.abc import Callable

import pytest
from tests.pipelines.grounding.grounded_images import grounded_image

from step3vl.pipelines.grounding.records import GroundedImage


@pytest.fixture
def grounded() -> Callable[..., GroundedImage]:
    """Makes an image whose objects are known."""
    return grounded_image
