"""The code's version, recorded with results for information."""

import hashlib
import importlib.util
from pathlib import Path


def code_version(*packages: str) -> str:
    """A hash of the Python sources of packages. It is recorded and shown; nothing depends on it.

    Args:
        packages: Dotted names of the packages.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for package in sorted(packages):
        spec = importlib.util.find_spec(package)
        if spec is None:
            raise ValueError(f"no package {package}")
        for folder in spec.submodule_search_locations or []:
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(f"{package}/{path.relative_to(folder)}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
