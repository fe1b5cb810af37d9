"""MXNet RecordIO in numpy and mmap: layout, reader, writer, shards, verify and repair."""

from agegender.recordio.index import index_path, read_index, write_index
from agegender.recordio.layout import MAGIC, Header, label_of, pack, parse_labels, unpack
from agegender.recordio.reader import RecordFile
from agegender.recordio.repair import Repair, repair
from agegender.recordio.shards import RecordSet, find_shards, open_records, set_json
from agegender.recordio.verify import Problem, Report, rebuild_index, verify
from agegender.recordio.writer import RecordWriter

__all__ = [
    "MAGIC",
    "Header",
    "Problem",
    "RecordFile",
    "RecordSet",
    "RecordWriter",
    "Repair",
    "Report",
    "find_shards",
    "index_path",
    "label_of",
    "open_records",
    "pack",
    "parse_labels",
    "read_index",
    "rebuild_index",
    "repair",
    "set_json",
    "unpack",
    "verify",
    "write_index",
]
