"""A rollout worker on real Ray that dies, hangs or fails: replaced once, and no error of Ray reaches the user."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.errors import UserError
from step3vl.training.rl.rollout import RolloutPrompt
from step3vl.training.rl.rollout_actor import RolloutActor, ray_cluster_of_ranks

pytestmark = pytest.mark.slow

PROMPTS = [RolloutPrompt("s", (1, 2), ())]


class Worker:
    """Stands for a `RolloutWorker` with one fault; the first of them has it unless `always`."""

    def __init__(self, folder: str, fault: str, always: bool) -> None:
        starts = Path(folder, "starts")
        self._faulty = always or not starts.exists()
        starts.touch()
        self._fault, self._version = fault, 0

    def load(self) -> int:
        if self._fault == "no model":
            raise UserError("m: no such folder")
        return os.getpid()

    def load_weights(self, weights: dict[str, Any], version: int) -> int:
        self._version = version
        return version

    def check(self, prompts: list[RolloutPrompt], max_new_tokens: int) -> list[Exception | None]:
        return [None for _ in prompts]

    def generate(self, *arguments: Any) -> list[int]:
        if self._faulty and self._fault == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._faulty and self._fault == "hangs":
            time.sleep(60)
        if self._fault == "bug":
            raise IndexError("row 7 is not there")
        if self._fault == "user":
            raise UserError("sample s: too long")
        return [self._version]


@pytest.fixture
def start(cluster: None, tmp_path: Path) -> Callable[..., RolloutActor]:
    def start(fault: str, always: bool = False, timeout: float = 30.0) -> RolloutActor:
        import ray

        remote = ray.remote(num_cpus=0)(Worker)
        launch = lambda: remote.remote(str(tmp_path), fault, always)  # noqa: E731
        return RolloutActor(launch, timeout, tmp_path / "run" / "error.txt")

    return start


@pytest.mark.parametrize(("fault", "timeout"), [("dies", 30.0), ("hangs", 2.0)])
def test_a_lost_worker_is_replaced_and_wants_the_weights_again(
    start: Callable[..., RolloutActor], fault: str, timeout: float
) -> None:
    actor = start(fault, timeout=timeout)
    actor.load_weights({}, version=3)
    first = actor.process()
    assert not actor.needs_weights
    assert actor.generate(PROMPTS, 1, 8, 1.0, 0) is None
    assert actor.needs_weights
    actor.load_weights({}, version=3)
    assert actor.process() != first
    assert actor.generate(PROMPTS, 1, 8, 1.0, 0) == [3]


def test_the_second_loss_ends_the_run_in_one_line(start: Callable[..., RolloutActor]) -> None:
    actor = start("dies", always=True)
    assert actor.generate(PROMPTS, 1, 8, 1.0, 0) is None
    with pytest.raises(UserError, match=r"^the rollout worker was lost .* after one was replaced") as caught:
        actor.generate(PROMPTS, 1, 8, 1.0, 0)
    assert "\n" not in str(caught.value)


def test_a_user_error_in_the_worker_is_passed_on_without_a_traceback(start: Callable[..., RolloutActor]) -> None:
    with pytest.raises(UserError) as caught:
        start("user").generate(PROMPTS, 1, 8, 1.0, 0)
    assert str(caught.value) == "sample s: too long"
    with pytest.raises(UserError) as caught:
        start("no model").check(PROMPTS, 8)
    assert str(caught.value) == "m: no such folder"


def test_the_traceback_of_another_error_is_a_file(start: Callable[..., RolloutActor], tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        start("bug").generate(PROMPTS, 1, 8, 1.0, 0)
    path = tmp_path / "run" / "error.txt"
    assert str(caught.value) == f"the rollout worker failed: IndexError: row 7 is not there; see {path}"
    assert "Traceback" in path.read_text() or "generate" in path.read_text()


def test_ranks_on_several_machines_need_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "16")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UserError, match="16 ranks run on machines of 8: start a Ray cluster"), ray_cluster_of_ranks(8):
        pass
