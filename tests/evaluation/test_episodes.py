"""Live environments as benchmarks: real pages in Chromium, and agents that do their tasks or are not understood."""

import asyncio
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from step3vl.data.environment import load_suite
from step3vl.data.errors import UserError
from step3vl.evaluation.benchmarks.miniwob import MiniWob
from step3vl.evaluation.comparison import _screens, compare
from step3vl.evaluation.episodes import AppBenchmark
from step3vl.evaluation.item import Scored
from step3vl.evaluation.page import render_comparison
from step3vl.evaluation.registry import load_benchmark
from step3vl.evaluation.results import Result
from step3vl.evaluation.runner import EvalConfig, run_benchmark
from step3vl.inference.client import Request, Sampling
from step3vl.pipelines.domains.gui_miniwob import MiniWobEntry
from step3vl.pipelines.gui.app_suite import AppSuite, app_view
from step3vl.pipelines.gui.miniwob.suite import MiniWobSuite
from step3vl.pipelines.gui.suite import _drive, seed_of
from step3vl.pipelines.gui.view import RECORDED_SEEDS, ViewOptions, pick_view

ROOT = Path(__file__).parents[2]
APPS = ROOT / "data/samples/web_apps"
MODEL = {"name": "scripted", "fingerprint": "0"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A wheel with the task click-test alone, whose page is ours."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(ROOT / "data/samples/gui_sets/miniwob/miniwob-0.zip", folder / "miniwob-0-py3-none-any.whl")
    return folder


@pytest.fixture
def benchmark() -> MiniWob:
    """Two instances of at most two steps."""
    benchmark = MiniWob()
    benchmark.instances, benchmark.max_steps = 2, 2
    return benchmark


@pytest.fixture
def suite(data: Path) -> Iterator[MiniWobSuite]:
    suite = MiniWobSuite(next(data.glob("*.whl")))
    yield suite
    suite.close()


def run(benchmark: MiniWob, data: Path, backend: object, folder: Path, **fields: object) -> Result:
    config = EvalConfig(reasoning=False, **fields)
    return asyncio.run(run_benchmark(benchmark, data, backend, folder, config, MODEL))  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.chromium
def test_who_answers_as_the_expert_does_its_tasks_and_a_finished_run_asks_nothing(
    benchmark: MiniWob, data: Path, suite: MiniWobSuite, tmp_path: Path, ScriptedBackend: Callable[..., object]
) -> None:
    actions = {}
    for number in range(2):
        (action,) = suite.demonstrate("click-test", number, "heldout")
        with suite.open("click-test", number, "heldout") as environment:
            actions[environment.reset().image.sha256] = action

    def answer(request: Request, sampling: Sampling) -> str:
        return actions[request.images[-1].sha256].to_text()

    result = run(benchmark, data, ScriptedBackend(answer), tmp_path / "run")
    assert (result.metrics["headline"], result.metrics["value"]) == ("success", 100.0)
    assert result.metrics["counts"] == {
        "success": 2, "episodes": 2, "steps": 2, "unparsable_steps": 0, "ended_done": 2,
    }  # fmt: skip
    assert set(result.run["settings"]["environments"]) == {"fingerprint", "max_steps", "prompt"}
    lines = list(result.items())
    assert [line["id"] for line in lines] == ["click-test/0", "click-test/1"]
    assert [json.loads(line["response"])["goal"] for line in lines] == ["Click the button."] * 2
    silent = ScriptedBackend(lambda *_: "")
    assert run(benchmark, data, silent, tmp_path / "run").metrics == result.metrics
    assert not silent.requests  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.chromium
def test_an_agent_that_is_not_understood_fails_and_the_page_shows_what_it_saw(
    benchmark: MiniWob, data: Path, tmp_path: Path, ScriptedBackend: Callable[..., object]
) -> None:
    backend = ScriptedBackend(lambda request, sampling: f"I see {len(request.messages)} messages.")
    result = run(benchmark, data, backend, tmp_path / "run")
    assert result.metrics["value"] == 0
    assert result.metrics["unparsable"] == 2
    assert result.metrics["counts"]["unparsable_steps"] == 4
    assert result.metrics["counts"]["ended_too_long"] == 2
    seeds = [sampling.seed for _, sampling in backend.requests]  # type: ignore[attr-defined]
    assert len(set(seeds)) == 4, "each step has its own"
    comparison = compare([result])
    (first, second) = comparison.examples["miniwob"]
    assert [len(example.images) for example in (first, second)] == [1, 1]
    assert first.images != second.images
    assert render_comparison(comparison).count("data:image/jpeg") == 2


def test_only_the_whole_reward_is_success(benchmark: MiniWob, data: Path) -> None:
    (item, _) = benchmark.items(data)
    step = {"screen": "0", "reasoning": "", "answer": "", "action": {"action": "wait"}}
    episode = {"goal": "", "reason": "done", "steps": [step]}
    verdicts = {
        reward: benchmark.score(item, json.dumps({**episode, "reward": reward})).verdict for reward in (1, 0.1, -1)
    }
    assert verdicts == {1: "correct", 0.1: "wrong", -1: "wrong"}
    failed = benchmark.score(item, "")
    assert failed.verdict == "unparsable"
    assert benchmark.summarise([Scored(item, failed)]).counts["ended_failed"] == 1


def test_held_out_tasks_are_told_apart() -> None:
    suite = AppSuite(APPS)
    assert suite.tasks("heldout") == ("files", "planner", "settings", "shop")
    benchmark = load_benchmark(f"apps:{APPS}")
    assert isinstance(benchmark, AppBenchmark)
    assert benchmark.folder == "apps-web_apps"
    assert len(list(benchmark.items(Path()))) == 4 * benchmark.instances


def test_no_recording_and_no_training_has_an_instance_of_the_evaluation() -> None:
    options = ViewOptions(((800, 600),), (1.0,), ("en",), 0.5, ("DejaVu Sans",))
    numbers = (0, 19, 10**6, 2**31)
    evaluated = {app_view(number, "heldout").seed for number in numbers[:3]}
    assert all(RECORDED_SEEDS <= seed < 2**32 for seed in evaluated), "a page uses 32 bits of a seed"
    assert all(app_view(number, "train").seed < RECORDED_SEEDS for number in numbers)
    assert all(pick_view(options, random.Random(number)).seed < RECORDED_SEEDS for number in range(100))
    assert max(seed_of(number, "train") for number in numbers) < min(seed_of(number, "heldout") for number in numbers)
    with pytest.raises(ValidationError, match="episodes"):
        MiniWobEntry.model_validate(
            {"name": "m", "domain": "gui.miniwob", "sources": [{"files": ["m"], "licence": "MIT"}], "episodes": 10**7}
        )


@pytest.mark.parametrize(
    ("name", "message"),
    [("apps:", "names no folder; give apps:FOLDER"), ("apps:nowhere", "nowhere: no such folder")],
)
def test_mistakes_in_the_name_are_reported(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(load_benchmark(name).items(Path()))


def test_what_is_no_wheel_or_no_suite_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "miniwob-1.whl"
    path.write_text("")
    with pytest.raises(UserError, match="pip download --no-deps miniwob"):
        MiniWobSuite(path)
    with pytest.raises(UserError, match="no page"):
        AppSuite(tmp_path)
    with pytest.raises(UserError, match=r"no installed package has .* 'minecraft'; there are: .*miniwob"):
        load_suite("minecraft", path)


def test_a_machine_without_chromium_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="apt-get install chromium"):
        AppSuite(APPS).check()


@pytest.mark.slow
@pytest.mark.chromium
def test_a_crash_that_the_caller_survives_costs_its_episode_alone(suite: MiniWobSuite) -> None:
    with suite.open("click-test", 0, "train") as environment:
        before = environment.reset()
        devtools = environment._environment.page._devtools
        with pytest.raises(UserError, match="Chromium fails"):
            _drive(lambda: devtools.send("Browser.crash"))
    with suite.open("click-test", 0, "train") as environment:
        assert environment.reset() == before


def test_examples_show_the_first_screen_and_the_last_ones_of_a_run_that_has_them(tmp_path: Path) -> None:
    (tmp_path / "screens").mkdir()
    for name in "abcde":
        (tmp_path / "screens" / f"{name}.png").write_bytes(name.encode())
    results = [None, Result({}, {}), Result({}, {}, tmp_path / "of other items"), Result({}, {}, tmp_path)]
    line = {"details": {"screens": list("abcde")}}
    assert _screens(results, [{}, {"t/0": line}, {}, {"t/0": line}]) == {"t/0": (b"a", b"c", b"d", b"e")}
