"""What CI installs before it runs: the packages of what is missing, and none of what is there."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parents[1] / ".ci" / "run"
PROGRAMS = ("chromium", "Xvfb", "openbox", "dbus-daemon", "galculator")


def program(folder: Path, name: str, script: str = "") -> None:
    path = folder / name
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("missing", "package"),
    [("Xvfb", "xvfb"), ("galculator", "galculator"), ("lmodern.sty", "lmodern"), ("libGL.so.1", "libgl1")],
)
def test_what_is_missing_is_installed_alone(missing: str, package: str, tmp_path: Path) -> None:
    for name in ("bash", "dirname", "grep"):
        path = shutil.which(name)
        assert path is not None
        (tmp_path / name).symlink_to(path)
    libraries = {"libGL.so.1", "libgthread-2.0.so.0", "libfribidi.so.0"} - {missing}
    program(
        tmp_path, "ldconfig", "\n".join(f"echo '	{library} (libc6) => /lib/{library}'" for library in libraries)
    )
    program(tmp_path, "kpsewhich", f'[[ $1 != "{missing}" ]]')
    program(tmp_path, "apt-get", 'echo "apt-get $*"; [[ $1 == update ]]')  # nothing is installed, and CI ends
    for name in set(PROGRAMS) - {missing}:
        program(tmp_path, name)
    done = subprocess.run(
        ["bash", RUN], env={**os.environ, "PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    installed = done.stdout.rpartition("--no-install-recommends ")[2].split()
    # The launcher and the bridge of the accessibility bus have fixed places, where a test cannot hide them.
    assert set(installed) - {"at-spi2-core", "libatk-adaptor"} == {package}
