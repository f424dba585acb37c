"""write_parquet.py <folder>: writes one file of the same rows in each of PyArrow's forms, and prints their names and what is in each."""

import json
import sys
import uuid
from datetime import date, datetime, time, timezone
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

fields = [
    ('id', pa.int64(), 1),
    ('flag', pa.bool_(), 2),
    ('small', pa.int32(), 3),
    ('single', pa.float32(), 4),
    ('number', pa.float64(), 5),
    ('price', pa.decimal128(20, 2), 6),
    ('day', pa.date32(), 7),
    ('clock', pa.time64('us'), 8),
    ('seen', pa.timestamp('us'), 9),
    ('sent', pa.timestamp('us', 'UTC'), 10),
    ('name', pa.string(), 11),
    ('raw', pa.binary(), 12),
    ('tags', pa.list_(pa.string()), 13),
    ('who', pa.struct([('age', pa.int64()), ('city', pa.string())]), 14),
]
rows = 1000


def column(name, i):
    if i % 7 == 3 and name != 'id':
        return None
    return {
        'id': i,
        'flag': i % 2 == 0,
        'small': i - 100,
        'single': i / 4,
        'number': i / 8,
        'price': Decimal(i) / 100,
        'day': date(2026, 1, 1 + i % 28),
        'clock': time(i % 24, i % 60, 1, i % 1000),
        'seen': datetime(2026, 1, 1, i % 24, 0, 0, i % 1000),
        'sent': datetime(2026, 1, 1, i % 24, 0, 0, i % 1000, tzinfo=timezone.utc),
        'name': f'näme {i % 50}',
        'raw': bytes([i % 256, 0]),
        'tags': [f't{i % 3}', None],
        'who': {'age': i, 'city': None if i % 2 else 'Köln'},
    }[name]


def table(with_ids):
    metadata = lambda number: {b'PARQUET:field_id': str(number).encode()} if with_ids else None
    # Ids of what is inside are given level by level: those of the list and the struct follow all columns.
    inside = {
        'tags': pa.list_(pa.field('element', pa.string(), metadata=metadata(15))),
        'who': pa.struct([pa.field('age', pa.int64(), metadata=metadata(16)), pa.field('city', pa.string(), metadata=metadata(17))]),
    }
    schema = pa.schema([pa.field(name, inside.get(name, kind), name != 'id', metadata(number)) for name, kind, number in fields])
    data = [pa.array([column(name, i) for i in range(rows)], inside.get(name, kind)) for name, kind, _ in fields]
    return pa.Table.from_arrays(data, schema=schema)


def main():
    folder = Path(sys.argv[1])
    forms = {
        'plain': (False, {}),
        'ids': (True, {}),
        'zstd': (False, {'compression': 'zstd', 'data_page_version': '2.0', 'row_group_size': 700}),
        'gzip': (False, {'compression': 'gzip', 'use_dictionary': False, 'write_page_index': True}),
        'brotli': (True, {'compression': 'brotli', 'data_page_size': 1000}),
        'lz4': (False, {'compression': 'lz4', 'use_byte_stream_split': ['single', 'number'], 'use_dictionary': ['name']}),
        'none': (False, {'compression': 'none', 'store_decimal_as_integer': True}),
    }
    for name, (with_ids, options) in forms.items():
        pq.write_table(table(with_ids), folder / f'{name}.parquet', **options)
    others = {
        'nanos': {'id': pa.array([1], pa.int64()), 'seen': pa.array([1], pa.timestamp('ns'))},
        'int96': {'id': pa.array([1], pa.int64()), 'seen': pa.array([1_000_000], pa.timestamp('us'))},
        'uuid': {'id': pa.array([1], pa.int64()), 'raw': pa.array([uuid.uuid4().bytes], pa.binary(16))},
        'wide': {'id': pa.array([1], pa.int64()), 'small': pa.array([2], pa.int64())},
        'large': {'id': pa.array([1], pa.int64()), 'name': pa.array(['x'], pa.large_string())},
        'narrow': {'id': pa.array([1], pa.int32()), 'number': pa.array([0.5], pa.float32()), 'price': pa.array([Decimal('1.25')], pa.decimal128(9, 2))},
    }
    for name, columns in others.items():
        pq.write_table(pa.table(columns), folder / f'{name}.parquet', use_deprecated_int96_timestamps=name == 'int96')
    print(json.dumps({'files': list(forms), 'rows': rows}))


main()
