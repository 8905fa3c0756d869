"""Every benchmark is found by its module, and says what it needs."""

import re
from pathlib import Path

import pytest

from step3vl.data.errors import UserError
from step3vl.evaluation.registry import benchmark_names, load_benchmark
from step3vl.evaluation.scoring import load_items

MISSING = re.compile(r"\S.*: no such file; download it from https://\S.*, [\d.,]+ (kB|MB|GB) \(licence: \S.*\)")


@pytest.mark.parametrize("name", benchmark_names())
def test_a_missing_file_is_named_with_its_source_size_and_licence(name: str, tmp_path: Path) -> None:
    benchmark = load_benchmark(name)
    assert benchmark.about.name == benchmark.folder == name
    with pytest.raises(UserError) as error:
        load_items(benchmark, tmp_path)
    message = str(error.value)
    assert message.startswith(str(tmp_path)) and MISSING.fullmatch(message), message
    assert all(
        MISSING.fullmatch(f"x: no such file; download it from {file.source}, {file.size} (licence: x)")
        for file in benchmark.about.files
        if not file.optional
    )


def test_an_unknown_benchmark_is_reported_with_the_nearest() -> None:
    with pytest.raises(UserError, match="no benchmark 'math-vison'; did you mean: math-vision"):
        load_benchmark("math-vison")
