"""Objects of a store, for tests that run where the store cannot be reached from.

objects.py OPTIONS put FOLDER URL       copies the files of a folder
objects.py OPTIONS hash URL             prints the BLAKE3 of every object, but not of what builds keep in `.staging`
objects.py OPTIONS remove URL PATTERN   removes the objects whose paths match a regular expression, and prints them
"""

import json
import re
import sys
from pathlib import Path

from blake3 import blake3

from step3vl.data.storage import Store, StoreConfig


def main(options: str, command: str, *arguments: str) -> None:
    store = Store(arguments[-1] if command != "remove" else arguments[0], StoreConfig(options=json.loads(options)))
    if command == "put":
        folder = Path(arguments[0])
        for path in sorted(folder.iterdir()):
            store.put(path.name, path.read_bytes())
        return
    paths = [path.lstrip("/") for path in store.listing("") or []]
    if command == "hash":
        paths = [path for path in paths if not path.startswith(".staging/")]
        print(json.dumps({path: blake3(store.read_all(path)).hexdigest() for path in paths}))
    if command == "remove":
        removed = [path for path in paths if re.search(arguments[1], path)]
        for path in removed:
            store.remove(path)
        print(json.dumps(removed))


if __name__ == "__main__":
    main(*sys.argv[1:])
