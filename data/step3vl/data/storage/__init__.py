"""Files at any URL: stores, the local cache, tar archives and checksums."""

from step3vl.data.storage.cache import BlockCache
from step3vl.data.storage.checksums import ChecksumCache
from step3vl.data.storage.files import LocalPath, require_local, write_durably
from step3vl.data.storage.store import DEFAULT_STORE, ByteRange, Store, StoreConfig, StoreError
from step3vl.data.storage.tar import KEY, TarEntry, TarWriter, split_sample
from step3vl.data.storage.tar_scan import HashingReader, TarEnd, TarGap, TarMember, scan_tar

__all__ = [
    "DEFAULT_STORE",
    "KEY",
    "BlockCache",
    "ByteRange",
    "ChecksumCache",
    "HashingReader",
    "LocalPath",
    "Store",
    "StoreConfig",
    "StoreError",
    "TarEnd",
    "TarEntry",
    "TarGap",
    "TarMember",
    "TarWriter",
    "require_local",
    "scan_tar",
    "split_sample",
    "write_durably",
]
