"""The code's version."""

import pytest

from step3vl.data.dataset.provenance import code_version


def test_version_depends_on_the_packages() -> None:
    assert code_version("step3vl.data") == code_version("step3vl.data")
    assert code_version("step3vl.data") != code_version("step3vl.grading")
    with pytest.raises(ValueError, match="no package"):
        code_version("absent_package")
