"""Objects of a store, for tests that run where the store cannot be reached from.

objects.py OPTIONS put FOLDER URL   copies the files below a folder
objects.py OPTIONS hash URL         prints the BLAKE3 of every object, but not of what builds keep in `.staging`
"""

import json
import sys
from pathlib import Path

from blake3 import blake3

from step3vl.data.storage import Store, StoreConfig


def main(options: str, command: str, *arguments: str) -> None:
    store = Store(arguments[-1], StoreConfig(options=json.loads(options)))
    if command == "put":
        folder = Path(arguments[0])
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            store.put(path.relative_to(folder).as_posix(), path.read_bytes())
    if command == "hash":
        names = [name.lstrip("/") for name in store.listing("") or []]
        hashes = {name: blake3(store.read_all(name)).hexdigest() for name in names if not name.startswith(".staging/")}
        print(json.dumps(hashes))


if __name__ == "__main__":
    main(*sys.argv[1:])
