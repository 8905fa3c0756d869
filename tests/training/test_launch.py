"""Ranks start together, end together, and their errors reach the launcher."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from step3vl.data.errors import UserError
from step3vl.training.launch import launch


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is importable as `rank_work`, in this process and in ranks."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    return tmp_path / "rank_work.py"


def test_ranks_get_the_environment_of_torchrun(module: Path, tmp_path: Path) -> None:
    module.write_text(
        "import os, pathlib, sys\n"
        "names = ['RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'OMP_NUM_THREADS']\n"
        "pathlib.Path(sys.argv[1], os.environ['RANK']).write_text(' '.join(os.environ[name] for name in names))\n"
    )
    launch("rank_work", tmp_path, 2)
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert [(tmp_path / rank).read_text() for rank in "01"] == [f"0 0 2 {threads}", f"1 1 2 {threads}"]


def test_a_user_error_of_one_rank_is_raised_by_the_launcher_and_ends_the_other_rank(
    module: Path, tmp_path: Path
) -> None:
    module.write_text(
        textwrap.dedent(
            """
            import os, time
            from step3vl.data.errors import UserError
            from step3vl.training.launch import run_rank

            def work(path):
                if os.environ["RANK"] == "1":
                    raise UserError("corpus: missing; build it")
                time.sleep(60)

            run_rank(work)
            """
        )
    )
    start = time.monotonic()
    with pytest.raises(UserError, match=r"^corpus: missing; build it$"):
        launch("rank_work", tmp_path, 2)
    assert time.monotonic() - start < 40


def test_a_crash_is_reported_with_its_rank_and_signal(module: Path, tmp_path: Path) -> None:
    module.write_text("import os, signal\nif os.environ['RANK'] == '0': os.kill(os.getpid(), signal.SIGABRT)\n")
    with pytest.raises(UserError, match="rank 0 of rank_work was ended by SIGABRT"):
        launch("rank_work", tmp_path, 2)


def test_under_another_launcher_the_module_runs_in_place(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module.write_text("import os, pathlib\ndef main(path): pathlib.Path(path, 'pid').write_text(str(os.getpid()))\n")
    monkeypatch.setenv("WORLD_SIZE", "1")
    launch("rank_work", tmp_path, 7)
    assert (tmp_path / "pid").read_text() == str(os.getpid())


def test_no_rank_outlives_its_launcher(module: Path, tmp_path: Path) -> None:
    module.write_text(
        "import os, pathlib, sys, time\npathlib.Path(sys.argv[1], os.environ['RANK']).write_text(str(os.getpid()))\n"
        "time.sleep(120)\n"
    )
    code = f"from step3vl.training.launch import launch; launch('rank_work', {str(tmp_path)!r}, 2)"
    parent = subprocess.Popen([sys.executable, "-c", code])
    files = [tmp_path / "0", tmp_path / "1"]
    wait_for(lambda: all(file.exists() and file.read_text() for file in files))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not any(is_running(int(file.read_text())) for file in files))


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition does not hold in time"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
