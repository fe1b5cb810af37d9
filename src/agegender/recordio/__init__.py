"""MXNet RecordIO in numpy and mmap: layout, reader, writer, shards, verify and repair."""

from agegender.recordio.index import index_path, read_index, write_index
from agegender.recordio.layout import MAGIC, Header, label_of, pack, parse_labels, unpack
from agegender.recordio.reader import RecordFile
from agegender.recordio.shards import RecordSet, find_shards, open_records
from agegender.recordio.writer import RecordWriter

__all__ = [
    "MAGIC",
    "Header",
    "RecordFile",
    "RecordSet",
    "RecordWriter",
    "find_shards",
    "index_path",
    "label_of",
    "open_records",
    "pack",
    "parse_labels",
    "read_index",
    "unpack",
    "write_index",
]
