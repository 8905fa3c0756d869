"""Configurations: overrides, and one helpful line for every mistake."""

from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.workflows.config import apply_overrides, load_config, parse_overrides, to_yaml


class Optimizer(Config):
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)


class Source(Config):
    RENAMED: ClassVar = {"share": "weight"}

    dataset: str
    weight: float = Field(default=1.0, gt=0)


class Training(Config):
    RENAMED: ClassVar = {"lr": "optimizer.lr", "count": "steps"}

    output: str
    steps: int = 10
    optimizer: Optimizer = Optimizer()
    sources: tuple[Source, ...] = ()


GOOD = """
output: ${root}/pretrain
optimizer:
  lr: 1e-4
sources:
  - dataset: ${root}/corpus
  - {dataset: other, weight: 2}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pretrain.yaml"
    path.write_text(GOOD)
    return path


def mistake(path: Path, *overrides: str, text: str | None = None) -> str:
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_config(path, parse_overrides(overrides), Training, "runs")
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_overrides_reach_into_mappings_and_lists_with_yaml_values(file: Path) -> None:
    overrides = parse_overrides(["optimizer.lr=2e-5", "sources.1.weight=3", "optimizer.betas=[0.8, 0.9]", "steps=7"])
    config = load_config(file, overrides, Training, "runs/a")
    assert config.optimizer == Optimizer(lr=2e-5, betas=(0.8, 0.9))
    assert config.sources == (Source(dataset="runs/a/corpus"), Source(dataset="other", weight=3))
    assert (config.steps, config.output) == (7, "runs/a/pretrain")


def test_root_can_be_given_as_an_override(file: Path) -> None:
    assert load_config(file, {"root": "here"}, Training).output == "here/pretrain"


def test_root_without_a_value_says_how_to_give_one(file: Path) -> None:
    with pytest.raises(UserError, match=r"pretrain.yaml: output: \$\{root\} has no value here; give root=DIR"):
        load_config(file, {}, Training)


def test_printed_configuration_loads_again(file: Path, tmp_path: Path) -> None:
    config = load_config(file, {}, Training, "runs")
    again = tmp_path / "again.yaml"
    again.write_text(to_yaml(config))
    assert load_config(again, {}, Training) == config


def test_unknown_key_names_file_line_field_and_the_nearest_key(file: Path) -> None:
    message = mistake(file, text="output: x\noptimizer:\n  lrr: 1\n")
    assert message == f"{file}:3: optimizer.lrr: unknown key; did you mean 'lr'?"


def test_unknown_key_inside_a_list_is_found(file: Path) -> None:
    message = mistake(file, text="output: x\nsources:\n- dataset: a\n- {dataset: b, wieght: 1}\n")
    assert message == f"{file}:4: sources.1.wieght: unknown key; did you mean 'weight'?"


def test_unknown_override_is_named_with_the_nearest_key(file: Path) -> None:
    message = mistake(file, "optimzer.lr=1")
    assert message == f"{file}: override optimzer.lr=1: optimzer: unknown key; did you mean 'optimizer'?"


def test_wrong_value_of_an_override_is_shown(file: Path) -> None:
    message = mistake(file, "steps=many")
    assert message.startswith(f"{file}: override steps=many: steps: ")
    assert message.endswith("but it is 'many'")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("output: x\nlr: 1\n", ":2: lr: 'lr' is now 'optimizer.lr'; rename the field"),
        (
            "output: x\nsteps: 3\ncount: 3\nlr: 1\n",
            ":3: count: 'count' is now 'steps', 'lr' is now 'optimizer.lr'; rename the fields",
        ),
        (
            "output: x\nsources:\n- {dataset: a}\n- dataset: b\n  share: 2\n",
            ":5: sources.1.share: 'share' is now 'weight'; rename the field",
        ),
    ],
)
def test_a_renamed_field_is_refused_with_its_line_and_its_new_name(file: Path, text: str, message: str) -> None:
    assert mistake(file, text=text) == f"{file}{message}"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lr=1e-3", "override lr=0.001: lr: 'lr' is now 'optimizer.lr'; rename the field"),
        (
            "sources.0.share=2",
            "override sources.0.share=2: sources.0.share: 'share' is now 'weight'; rename the field",
        ),
    ],
)
def test_a_renamed_field_in_an_override_is_refused(file: Path, override: str, message: str) -> None:
    assert mistake(file, override) == f"{file}: {message}"


def test_missing_field_is_named(file: Path) -> None:
    assert mistake(file, text="steps: 3\n") == f"{file}: output: is required; add it"


def test_several_mistakes_are_one_line(file: Path) -> None:
    message = mistake(file, text="steps: no\nsources: [{dataset: a, weight: -1}]\n")
    assert "output: is required" in message or "also wrong" in message
    assert "sources.0.weight" in message


def test_broken_yaml_names_the_line(file: Path) -> None:
    assert f"{file}:3: not valid YAML" in mistake(file, text="output: x\noptimizer: {lr: 1\n")


def test_a_key_given_twice_is_refused(file: Path) -> None:
    assert "'steps' is given twice" in mistake(file, text="output: x\nsteps: 1\nsteps: 2\n")


def test_a_list_is_no_configuration(file: Path) -> None:
    assert "is a mapping" in mistake(file, text="- output\n")


def test_missing_file_offers_the_nearest_name(file: Path) -> None:
    wrong = file.with_name("pretrian.yaml")
    assert mistake(wrong) == f"{wrong}: no such file; did you mean 'pretrain.yaml'?"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "is a folder" in mistake(tmp_path)


def test_text_without_equals_is_no_override() -> None:
    with pytest.raises(UserError, match="'steps': not an override"):
        parse_overrides(["steps"])


@pytest.mark.parametrize("key", ["sources.2.weight", "sources.x.weight", "sources.-1.weight"])
def test_an_index_outside_a_list_is_refused(file: Path, key: str) -> None:
    assert "a number from 0 to 1" in mistake(file, f"{key}=1")


def test_a_number_has_nothing_inside(file: Path) -> None:
    assert "has no 'x'" in mistake(file, "optimizer.lr.x=1")


keys = st.text("abc", min_size=1, max_size=3)
trees = st.recursive(st.integers(), lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=8)


@given(tree=st.dictionaries(keys, trees), path=st.lists(keys, min_size=1, max_size=3), value=st.integers())
def test_an_override_changes_its_own_place_and_nothing_else(tree: dict, path: list[str], value: int) -> None:
    before = repr(tree)
    try:
        after = apply_overrides(tree, {".".join(path): value})
    except UserError:
        return  # the path leads through a number
    assert repr(tree) == before
    here = after
    for part in path:
        here = here[part]
    assert here == value
    assert {k: v for k, v in after.items() if k != path[0]} == {k: v for k, v in tree.items() if k != path[0]}
