"""The bytes of a shard."""

import io
import struct
import tarfile

import xxhash
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.data.storage.tar import KEY as TAR_KEY
from step3vl.data.storage.tar import TarWriter


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.text("abcdef0123456789_-/", min_size=1, max_size=60).filter(lambda key: TAR_KEY.fullmatch(key)),
            st.binary(max_size=3000),
            st.lists(st.tuples(st.sampled_from(["jpg", "png", "tif"]), st.binary(max_size=3000)), max_size=12),
        ),
        max_size=8,
        unique_by=lambda sample: sample[0],
    )
)
def test_any_archive_equals_that_of_the_standard_library(
    samples: list[tuple[str, bytes, list[tuple[str, bytes]]]],
) -> None:
    ours, theirs = io.BytesIO(), io.BytesIO()
    writer = TarWriter(ours)
    entries = [writer.add(*sample) for sample in samples]
    digest, offsets = writer.finish()
    starts = []
    with tarfile.open(fileobj=theirs, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for key, meta, images in samples:
            starts.append(archive.offset)
            members = [(f"{key}.json", meta)]
            members += [(f"{key}.{at}.{extension}", data) for at, (extension, data) in enumerate(images)]
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        starts.append(archive.offset)
    data = ours.getvalue()
    assert data == theirs.getvalue()
    assert digest == blake3(data).hexdigest()
    assert offsets == struct.pack(f"<{len(starts)}Q", *starts)
    for entry in entries:
        assert entry.xxh3 == xxhash.xxh3_64_intdigest(data[entry.offset : entry.offset + entry.size])
