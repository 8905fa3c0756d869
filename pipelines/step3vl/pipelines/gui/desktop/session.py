"""A desktop for one program: a display without a monitor, a window manager, a message bus and an accessibility bus.

All of it is started for an episode and ends with it, in a home directory of its own, so nothing that a program keeps
reaches the next one. It also ends when this process is killed: a guard that loses its input ends the whole group.

The program runs with the rights of whoever records. It sees no settings and no services of theirs, but it can read and
write their files and the network; record programs that you do not trust in a container.
"""

import contextlib
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from step3vl.data.errors import InfrastructureError
from step3vl.pipelines.core.domain import MissingProgramError
from step3vl.pipelines.gui.fonts import font_config
from step3vl.pipelines.gui.view import View

_PROGRAMS = ("Xvfb", "dbus-daemon", "openbox")
_LAUNCHERS = ("/usr/libexec/at-spi-bus-launcher", "/usr/lib/at-spi2-core/at-spi-bus-launcher")
_SYSTEM_PACKAGES = "xvfb openbox dbus-daemon at-spi2-core libatk-adaptor"
_PYTHON_PACKAGES = {"jeepney": "jeepney", "Xlib": "python-xlib"}
_START_SECONDS = 30.0
_END_SECONDS = 10.0
_LANGUAGES = {"en": "en_US", "zh": "zh_CN"}
# No key means anything to the window manager, so that all that is typed reaches the program.
_WINDOW_MANAGER = """<?xml version="1.0" encoding="UTF-8"?>
<openbox_config xmlns="http://openbox.org/3.4/rc"><focus><focusNew>yes</focusNew></focus>
<theme><name>Clearlooks</name><animateIconify>no</animateIconify></theme>
<desktops><number>1</number><popupTime>0</popupTime></desktops><keyboard/></openbox_config>
"""
# Ends the group and removes its folder when the process at the other end of its input has closed it or is gone.
_GUARD = """trap '' TERM; read -r _; kill -TERM 0
for attempt in 1 2 3 4 5 6 7 8 9; do rm -rf "$0" 2>/dev/null && break; sleep 0.1; done
kill -KILL 0"""
_GTK3 = """[Settings]
gtk-font-name={font} {size}
gtk-cursor-blink=0
gtk-enable-animations=0
gtk-double-click-time=150
gtk-xft-antialias=1
gtk-xft-hinting=0
gtk-xft-rgba=none
"""
_GTK2 = """gtk-font-name="{font} {size}"
gtk-cursor-blink=0
gtk-double-click-time=150
gtk-xft-antialias=1
gtk-xft-hinting=0
gtk-xft-rgba="none"
"""


def find_desktop() -> None:
    """Check that this machine can show desktop programs.

    Raises:
        MissingProgramError: It lacks something for it.
    """
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if not any(Path(path).exists() for path in _LAUNCHERS):
        missing.append("at-spi-bus-launcher")
    missing += [package for module, package in _PYTHON_PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise MissingProgramError(
            f"recording desktop programs needs {', '.join(missing)}, which is not installed; on every worker: "
            f"apt-get install {_SYSTEM_PACKAGES}; pip install 'step3vl[pipelines]'"
        )


class Session:
    """A display with everything that a program needs.

    Args:
        view: The size of the screen, the theme, the language and the font.
        fonts: The font files that programs may use.

    Attributes:
        display: The name of the display, such as `:3`.
        bus_address: Of the message bus.

    Raises:
        InfrastructureError: The display or the bus does not start.
    """

    def __init__(self, view: View, fonts: Sequence[Path]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="step3vl-desktop-"))
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, str(self._folder)],
            stdin=subprocess.PIPE,
            process_group=0,
        )
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            self._environment = self._prepare(view, fonts)
            self.display = self._start_display(view)
            self._environment["DISPLAY"] = self.display
            self.bus_address = self._start_bus()
            self._environment["DBUS_SESSION_BUS_ADDRESS"] = self.bus_address
            manager = str(self._folder / "openbox.xml")
            self.start(["openbox", "--sm-disable", "--config-file", manager])
        except OSError as error:
            self.close()
            raise InfrastructureError(f"the desktop does not start: {error}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End everything and remove the home directory."""
        with contextlib.suppress(OSError):
            if self._guard.stdin is not None:
                self._guard.stdin.close()
        for process in (self._guard, *self._processes):
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:  # it has left the group
                process.kill()
                process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _prepare(self, view: View, fonts: Sequence[Path]) -> dict[str, str]:
        """Write the settings, and say what the processes see of this machine."""
        folder, home = self._folder, self._folder / "home"
        (home / ".config/gtk-3.0").mkdir(parents=True)
        (folder / "run").mkdir(mode=0o700)
        points = round(view.font_size * 0.75)  # of CSS pixels, of which 96 are an inch
        (home / ".config/gtk-3.0/settings.ini").write_text(_GTK3.format(font=view.font, size=points))
        (folder / "gtkrc-2.0").write_text(_GTK2.format(font=view.font, size=points))
        (folder / "openbox.xml").write_text(_WINDOW_MANAGER)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "LANG": "C.UTF-8",
            "LANGUAGE": _LANGUAGES[view.language],
            "TZ": "UTC",
            "FONTCONFIG_FILE": str(font_config(folder, fonts)),
            "GSETTINGS_BACKEND": "memory",
            "GIO_USE_VFS": "local",
            "GTK_THEME": "Adwaita:dark" if view.theme == "dark" else "Adwaita",
            "GTK2_RC_FILES": str(folder / "gtkrc-2.0"),
            "GTK_MODULES": "gail:atk-bridge",  # of GTK 2; GTK 3 has the bridge in it
            "GTK_OVERLAY_SCROLLING": "0",
        }

    def _start_display(self, view: View) -> str:
        reader, writer = os.pipe()
        with os.fdopen(reader, "rb") as pipe:
            try:
                screen = f"{view.width}x{view.height}x24"
                command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", screen, "-nolisten", "tcp", "-noreset"]
                self.start(command, pass_fds=(writer,))
            finally:
                os.close(writer)
            return ":" + self._first_line(pipe.fileno(), "Xvfb")

    def _start_bus(self) -> str:
        process = self.start(["dbus-daemon", "--session", "--nofork", "--print-address=1"], stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process.stdout as pipe:
            return self._first_line(pipe.fileno(), "dbus-daemon")

    def start(
        self, command: Sequence[str], stdout: int = subprocess.DEVNULL, pass_fds: Sequence[int] = ()
    ) -> subprocess.Popen[bytes]:
        """Start a program on this desktop."""
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.DEVNULL, env=self._environment,
            cwd=self._environment["HOME"], pass_fds=pass_fds, process_group=self._guard.pid,
        )  # fmt: skip
        self._processes.append(process)
        return process

    @staticmethod
    def _first_line(descriptor: int, name: str) -> str:
        """What a program says first: that it is ready, and where."""
        line = b""
        while not line.endswith(b"\n"):
            if not select.select([descriptor], [], [], _START_SECONDS)[0]:
                raise OSError(f"{name} is not ready after {_START_SECONDS:.0f} seconds")
            piece = os.read(descriptor, 1)
            if not piece:
                raise OSError(f"{name} ended")
            line += piece
        return line.decode().strip()
