"""Files at any URL: stores, caches, tar archives and checksums."""

from step3vl.data.storage.cache import BlockCache
from step3vl.data.storage.checksums import ChecksumCache
from step3vl.data.storage.file_cache import FileCache, file_cache
from step3vl.data.storage.file_info import FileInfo
from step3vl.data.storage.files import LocalPath, is_url, require_local, write_durably
from step3vl.data.storage.listing import list_files
from step3vl.data.storage.shared_stores import read_slices, store_of, use_store
from step3vl.data.storage.slices import ByteRange, FileSlice, Slice
from step3vl.data.storage.store import Store
from step3vl.data.storage.store_config import ABSENT, DEFAULT_STORE, StoreConfig, StoreError, request_count
from step3vl.data.storage.tar import KEY, TarEntry, TarWriter, split_sample
from step3vl.data.storage.tar_scan import HashingReader, TarEnd, TarGap, TarMember, scan_tar

__all__ = [
    "ABSENT",
    "DEFAULT_STORE",
    "KEY",
    "BlockCache",
    "ByteRange",
    "ChecksumCache",
    "FileCache",
    "FileInfo",
    "FileSlice",
    "HashingReader",
    "LocalPath",
    "Slice",
    "Store",
    "StoreConfig",
    "StoreError",
    "TarEnd",
    "TarEntry",
    "TarGap",
    "TarMember",
    "TarWriter",
    "file_cache",
    "is_url",
    "list_files",
    "read_slices",
    "request_count",
    "require_local",
    "scan_tar",
    "split_sample",
    "store_of",
    "use_store",
    "write_durably",
]
