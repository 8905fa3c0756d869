"""The fonts that recorded pages and programs see: those of the corpus, and none of the machine's."""

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

_GENERIC = (("sans-serif", "DejaVu Sans"), ("serif", "DejaVu Serif"), ("monospace", "DejaVu Sans Mono"))


def font_config(folder: Path, fonts: Sequence[Path]) -> Path:
    """Write a configuration of fontconfig that has these fonts and no other ones.

    Args:
        folder: An existing folder, in which it makes `fonts`, `cache` and the file itself.
        fonts: Absolute paths of font files.

    Returns:
        The file, for the environment variable `FONTCONFIG_FILE`.
    """
    (folder / "fonts").mkdir()
    for number, path in enumerate(fonts):
        (folder / "fonts" / f"{number:04}{path.suffix}").symlink_to(path)
    generic = "".join(
        f"<alias binding='same'><family>{name}</family><prefer><family>{family}</family></prefer></alias>"
        for name, family in _GENERIC
    )
    config = folder / "fonts.conf"
    config.write_text(
        "<?xml version='1.0'?><!DOCTYPE fontconfig SYSTEM 'fonts.dtd'><fontconfig>"
        f"<dir>{escape(str(folder / 'fonts'))}</dir><cachedir>{escape(str(folder / 'cache'))}</cachedir>{generic}"
        "<match target='font'><edit name='hinting' mode='assign'><bool>false</bool></edit></match></fontconfig>"
    )
    return config
