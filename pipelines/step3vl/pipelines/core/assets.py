"""Assets: what steps load besides their inputs, such as fonts, icons and photographs. The package carries some."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import step3vl.data
from step3vl.data.errors import UserError
from step3vl.data.storage import StoreConfig, file_cache
from step3vl.pipelines.core.inputs import list_pattern

PACKAGED = "assets:"
"""Begins the patterns of files that the package carries: `assets:fonts/*.ttf`."""

_FOLDER = Path(step3vl.data.__file__).parent / "assets"


def resolve_assets(patterns: Sequence[str], base: str, store: StoreConfig) -> list[Path]:
    """The files of patterns on this machine, each once; remote ones are fetched into a cache of bounded size.

    They are in order of how the patterns spell them, which is the same on every machine: random choices follow it.

    Args:
        patterns: `assets:...`, paths or URLs.
        base: The absolute folder that relative paths start from.
        store: How remote stores are used.

    Raises:
        UserError: A pattern matches nothing.
        StoreError: A store does not answer.
    """
    paths: dict[str, Path] = {}
    for pattern in patterns:
        if pattern.startswith(PACKAGED):
            paths.update(packaged_assets(pattern))
            continue
        for file in list_pattern(pattern, "", entry="assets", base=base, store=store):
            paths[file.key] = file_cache().local_path(file.url, file.version, store)
    return [paths[key] for key in sorted(paths)]


def packaged_assets(pattern: str) -> dict[str, Path]:
    """The files of a pattern that begins with `assets:`.

    Args:
        pattern: Relative to the package's folder of assets; `**` matches any folders.

    Returns:
        Key, as the pattern spells the file, to path. A key is the same on every machine, a path is not.

    Raises:
        UserError: The pattern leaves the folder, or matches nothing.
    """
    relative = pattern.removeprefix(PACKAGED)
    if Path(relative).is_absolute() or ".." in Path(relative).parts:
        raise UserError(f"{pattern} leaves the folder of packaged assets; give a path or a URL without {PACKAGED!r}")
    files = [path for path in _FOLDER.glob(relative) if path.is_file()] if relative else []
    if not files:
        raise UserError(f"the package carries no file that matches {pattern!r}; it has those of {_FOLDER}")
    return {PACKAGED + path.relative_to(_FOLDER).as_posix(): path for path in files}


def assets_fingerprint(paths: Iterable[Path]) -> str:
    """A hash of files by name and content, in order; their folders do not count.

    The name counts because an icon is called what its file is, the order because random choices follow it.
    """
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.name}\0{content}\0".encode())
    return digest.hexdigest()
