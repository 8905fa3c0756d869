"""What Beam's local runner would hold in memory while it groups, in files of the staging folder instead.

Runners of clusters keep the packs of a shuffle on disks. The local one keeps all of them in the memory of one process,
so there only their places in files are grouped.
"""

from collections.abc import Iterable, Iterator
from uuid import uuid4

import apache_beam as beam
from apache_beam.pvalue import PCollection
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from step3vl.data.storage import FileSlice, Store
from step3vl.pipelines.core.staging import Staging

SPILL_FOLDER = "spilled"
_FILE_SIZE = 32 << 20  # bytes of packs that a worker collects before it writes them

Place = tuple[str, int, int]
"""The file, offset and size of bytes of one partition."""


def is_local(packs: PCollection[tuple[int, bytes]]) -> bool:
    """Whether the runner of a pipeline groups in memory."""
    return isinstance(packs.pipeline.runner, FnApiRunner)


class SpillPacks(beam.DoFn):
    """Writes packs to files, those of a partition together, and gives their places.

    Args:
        staging: Where the files are.
    """

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._packs: dict[int, list[bytes]] = {}
        self._size = 0

    def process(self, pack: tuple[int, bytes]) -> Iterator[tuple[int, Place]]:
        """Collect a pack, and write all if they are enough for a file."""
        number, data = pack
        self._packs.setdefault(number, []).append(data)
        self._size += len(data)
        if self._size >= _FILE_SIZE:
            yield from self._write()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Write what is left."""
        for place in self._write():
            yield GlobalWindows.windowed_value(place)

    def _write(self) -> Iterator[tuple[int, Place]]:
        if not self._size:
            return
        path, offset = f"{SPILL_FOLDER}/{uuid4().hex}.bin", 0
        places = []
        with self._staging.open().create(path, durable=False) as file:
            for number, packs in self._packs.items():
                for data in packs:
                    file.write(data)
                size = sum(map(len, packs))
                places.append((number, (path, offset, size)))
                offset += size
        self._packs, self._size = {}, 0
        yield from places


def read_places(store: Store, places: Iterable[Place]) -> bytes:
    """The bytes of a partition.

    Args:
        store: Of the staging folder.
        places: Those that `SpillPacks` gave for the partition.
    """
    return b"".join(store.read_many([FileSlice(*place) for place in places]))
