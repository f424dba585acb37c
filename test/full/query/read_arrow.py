"""Reads an Arrow IPC stream from standard input with PyArrow, checks it in full, and prints its columns:
{name: {"type": text, "values": [text or null, …]}}, texts as PyArrow prints values."""

import json
import sys

import pyarrow as pa

table = pa.ipc.open_stream(sys.stdin.buffer.read()).read_all()
table.validate(full=True)
columns = {}
for field, column in zip(table.schema, table.columns):
    values = [None if value is None else str(value) for value in column.to_pylist()]
    columns[field.name] = {"type": str(field.type), "batches": column.num_chunks, "values": values}
print(json.dumps(columns))
