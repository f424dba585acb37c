"""Reads and writes Parquet files by PyArrow, for the tests of our encoder and reader.

parquet_peer.py read <path>            prints one JSON array a row: the values in the form of canonical()
parquet_peer.py write <folder>         writes files in every codec, page version and encoding, prints their names and rows
"""

import json
import os
import sys
from decimal import Decimal, getcontext

import pyarrow as pa
import pyarrow.parquet as pq

getcontext().prec = 60


def canonical(scalar):
    """A value as JSON without loss: numbers as text, bytes as hexadecimal, nested values as arrays."""
    if not scalar.is_valid:
        return None
    kind = scalar.type
    if isinstance(kind, pa.BaseExtensionType):
        return canonical(scalar.value)
    if pa.types.is_boolean(kind) or pa.types.is_string(kind):
        return scalar.as_py()
    if pa.types.is_integer(kind):
        return str(scalar.as_py())
    if pa.types.is_floating(kind):
        return scalar.as_py().hex() if scalar.as_py() == scalar.as_py() else "nan"
    if pa.types.is_decimal(kind):
        return str(int(scalar.as_py().scaleb(kind.scale)))
    if pa.types.is_date(kind) or pa.types.is_time(kind) or pa.types.is_timestamp(kind):
        return str(scalar.value)
    if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return scalar.as_py().hex()
    if pa.types.is_map(kind):
        return [[canonical(entry["key"]), canonical(entry["value"])] for entry in scalar.values]
    if pa.types.is_list(kind):
        return [canonical(item) for item in scalar.values]
    if pa.types.is_struct(kind):
        return [canonical(scalar[i]) for i in range(len(kind))]
    raise TypeError(str(kind))


def rows_of(table):
    columns = [[canonical(value) for value in column] for column in table.columns]
    return [list(row) for row in zip(*columns)] if columns else []


def sample(count):
    def every(n, of):
        return [None if i % n == 0 else of(i) for i in range(count)]

    struct = pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))])
    return pa.table(
        {
            "flag": pa.array([i % 3 == 0 for i in range(count)]),
            "maybe": pa.array(every(5, lambda i: i % 2 == 0), pa.bool_()),
            "i8": pa.array([i % 200 - 100 for i in range(count)], pa.int8()),
            "i32": pa.array(every(7, lambda i: (i * 2654435761) % 2**32 - 2**31), pa.int32()),
            "i64": pa.array(every(11, lambda i: (i * 11400714819323198485) % 2**64 - 2**63), pa.int64()),
            "sorted": pa.array(range(1_000_000, 1_000_000 + count), pa.int64()),
            "f32": pa.array([float("nan") if i % 13 == 0 else i / 7 for i in range(count)], pa.float32()),
            "f64": pa.array(every(3, lambda i: -0.0 if i % 4 == 0 else i * 1e300), pa.float64()),
            "text": pa.array(every(6, lambda i: f"path/{i // 10}/\U0001f980{i}" if i % 8 else ""), pa.string()),
            "few": pa.array(every(9, lambda i: f"v{i % 5}"), pa.string()),
            "raw": pa.array([bytes([i % 256]) * (i % 30) for i in range(count)], pa.binary()),
            "fixed": pa.array(every(4, lambda i: i.to_bytes(4, "big") + b"\xff"), pa.binary(5)),
            "d9": pa.array([Decimal(i - 50).scaleb(-2) for i in range(count)], pa.decimal128(9, 2)),
            "d18": pa.array(every(5, lambda i: Decimal(i * 10**12).scaleb(-4)), pa.decimal128(18, 4)),
            "d38": pa.array([(Decimal(-1) ** i * i * 10**30).scaleb(-10) for i in range(count)], pa.decimal128(38, 10)),
            "day": pa.array(every(6, lambda i: i - 500), pa.date32()),
            "clock": pa.array([i * 1_000_003 % 86_400_000_000 for i in range(count)], pa.time64("us")),
            "clock_ms": pa.array([i * 997 % 86_400_000 for i in range(count)], pa.time32("ms")),
            "at": pa.array(every(8, lambda i: 1_600_000_000_000_000 + i * 999_999), pa.timestamp("us")),
            "at_ms": pa.array([1_600_000_000_000 - i for i in range(count)], pa.timestamp("ms", "UTC")),
            "list": pa.array(every(4, lambda i: [None if j % 3 == 0 else i + j for j in range(i % 5)]), pa.list_(pa.int32())),
            "deep": pa.array(every(5, lambda i: [[str(i)] * (i % 3), None, [None, ""]]), pa.list_(pa.list_(pa.string()))),
            "struct": pa.array(every(7, lambda i: {"a": None if i % 2 else i, "b": [f"s{i}", None] if i % 3 else None}), struct),
            "map": pa.array(
                every(6, lambda i: [(f"k{j}", None if j == 1 else {"a": i, "b": []}) for j in range(i % 4)]),
                pa.map_(pa.string(), struct),
            ),
            "nothing": pa.array([None] * count, pa.int32()),
        }
    )


def writings():
    """Name and options of every file."""
    for codec in ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]:
        for version in ["1.0", "2.0"]:
            for dictionary in [True, False]:
                options = {"compression": codec, "data_page_version": version, "use_dictionary": dictionary}
                yield f"{codec}-{version}-{'dictionary' if dictionary else 'plain'}", options
    plain = {"use_dictionary": False, "compression": "zstd"}
    integers = ["i32", "i64", "sorted", "day", "clock", "at", "list.list.element", "nothing"]
    texts = ["text", "few", "raw", "deep.list.element.list.element"]
    for version in ["1.0", "2.0"]:
        for name, columns in {
            "DELTA_BINARY_PACKED": integers,
            "DELTA_LENGTH_BYTE_ARRAY": texts,
            "DELTA_BYTE_ARRAY": [*texts, "fixed", "d38"],
            "BYTE_STREAM_SPLIT": [*integers, "f32", "f64", "fixed", "d18"],
        }.items():
            yield f"{name}-{version}", {**plain, "data_page_version": version, "column_encoding": {c: name for c in columns}}
    yield "RLE", {**plain, "data_page_version": "2.0", "column_encoding": {"flag": "RLE", "maybe": "RLE"}}
    yield "index", {"compression": "snappy", "write_page_index": True, "write_page_checksum": True}
    yield "integers-for-decimals", {"compression": "snappy", "store_decimal_as_integer": True}
    yield "format-1.0", {"compression": "gzip", "version": "1.0"}
    yield "flat-lists", {"compression": "zstd", "use_compliant_nested_type": False}


def main():
    command, target = sys.argv[1:]
    if command == "read":
        table = pq.ParquetFile(target, page_checksum_verification=True).read()
        for row in rows_of(table):
            print(json.dumps(row))
        return
    table = sample(1200)
    for name, options in writings():
        path = os.path.join(target, f"{name}.parquet")
        pq.write_table(table, path, row_group_size=500, data_page_size=1024, write_batch_size=64, **options)
        print(json.dumps(name))
    for row in rows_of(table):
        print(json.dumps(row))


main()
