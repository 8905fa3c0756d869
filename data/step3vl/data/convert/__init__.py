"""Conversion of other formats to and from samples.

Readers are streams: every record becomes a sample or a dead letter that says why it is not one. Writers write what the
format can hold without loss and refuse the rest.
"""

from step3vl.data.convert.conversion import (
    DATASET,
    ConversionResult,
    DatasetConfig,
    check_failed,
    to_dataset,
    to_files,
)
from step3vl.data.convert.formats import FORMATS, RecordFormat, detect_format
from step3vl.data.convert.record_source import SampleSource, read_dataset, read_records
from step3vl.data.convert.records import RecordDefaults

__all__ = [
    "DATASET",
    "FORMATS",
    "ConversionResult",
    "DatasetConfig",
    "RecordDefaults",
    "RecordFormat",
    "SampleSource",
    "check_failed",
    "detect_format",
    "read_dataset",
    "read_records",
    "to_dataset",
    "to_files",
]
