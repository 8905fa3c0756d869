import pytest

from step3vl.pipelines.render.charts.sandbox import check_code, run_script

MODULES = ("matplotlib.pyplot", "numpy")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os", "imports os"),
        ("import matplotlib.pyplot as plt, sys", "imports sys"),
        ("from matplotlib import pyplot", "imports"),
        ("x = ().__class__", "uses __class__"),
        ("__import__('os')", "uses __import__"),
    ],
)
def test_code_that_does_more_than_call_its_libraries_is_refused(code: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_code(code, MODULES)


def test_code_finds_no_other_functions() -> None:
    with pytest.raises(NameError):
        run_script(check_code("open('/etc/passwd')", MODULES), MODULES)


def test_names_that_a_script_defines_are_returned() -> None:
    names = run_script(check_code("import numpy as np\ntotal = int(np.sum([1, 2]))", MODULES), MODULES)
    assert names["total"] == 3
