"""Temporary folders: gone when their process ends, and soon after it is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

_HOLD = """
import sys
from step3vl.pipelines.core.scratch import scratch_folder
folder = scratch_folder("fonts")
(folder / "file").write_text("text")
print(folder, flush=True)
sys.stdin.read()
"""


class Holder:
    """A process that has a folder."""

    def __init__(self, temporary: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _HOLD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(temporary)},
        )
        assert self.process.stdout is not None
        self.folder = Path(self.process.stdout.readline().strip())


def test_folders_of_killed_processes_are_swept_and_those_of_others_are_not(tmp_path: Path) -> None:
    killed, other = Holder(tmp_path), Holder(tmp_path)
    killed.process.send_signal(signal.SIGKILL)
    killed.process.wait()
    assert killed.folder.is_dir()  # nobody could do anything about it
    following = Holder(tmp_path)
    assert not killed.folder.parent.exists()
    assert (other.folder / "file").is_file() and (following.folder / "file").is_file()
    for holder in (other, following):
        holder.process.communicate("")
    (shared,) = tmp_path.iterdir()
    assert list(shared.iterdir()) == []
    assert shared.stat().st_mode & 0o077 == 0
