"""Avro object container files by fastavro, one case a line: {name, file (base64), lines}: the rows as they have to be read, as JSON text."""

import base64
import datetime as dt
import io
import json
import uuid
from decimal import Decimal

import fastavro


def tell(name, fields, rows, lines, codec="null", **options):
    schema = fastavro.parse_schema({"type": "record", "name": "Row", "namespace": "a.b", "fields": fields})
    sink = io.BytesIO()
    fastavro.writer(sink, schema, rows, codec=codec, sync_marker=b"0123456789abcdef", **options)
    print(json.dumps({"name": name, "file": base64.b64encode(sink.getvalue()).decode(), "lines": lines}))


def field(name, kind, **more):
    return {"name": name, "type": kind, **more}


def logical(kind, name, **more):
    return {"type": kind, "logicalType": name, **more}


tell(
    "plain types",
    [field(kind, ["null", kind]) for kind in ("boolean", "int", "long", "float", "double", "string", "bytes")],
    [
        {"boolean": True, "int": -(2**31), "long": 2**63 - 1, "float": 0.5, "double": 1e300, "string": "ä\n\"😀", "bytes": b"\x00\xff"},
        {"boolean": False, "int": 63, "long": -(2**63), "float": float("-inf"), "double": float("nan"), "string": "", "bytes": b""},
        {},
    ],
    [
        '{"boolean":true,"int":-2147483648,"long":9223372036854775807,"float":0.5,"double":1e+300,"string":"ä\\n\\"😀","bytes":"AP8="}',
        '{"boolean":false,"int":63,"long":-9223372036854775808,"float":"-Infinity","double":"NaN","string":"","bytes":""}',
        '{"boolean":null,"int":null,"long":null,"float":null,"double":null,"string":null,"bytes":null}',
    ],
)
utc = dt.timezone.utc
moment = dt.datetime(1969, 12, 31, 23, 59, 59, 4, utc)
tell(
    "logical types",
    [
        field("date", logical("int", "date")),
        field("time_ms", logical("int", "time-millis")),
        field("time", logical("long", "time-micros")),
        field("zoned_ms", logical("long", "timestamp-millis")),
        field("zoned", logical("long", "timestamp-micros")),
        field("local", logical("long", "local-timestamp-micros")),
        field("uuid", logical("string", "uuid")),
        field("decimal", logical("bytes", "decimal", precision=20, scale=2)),
        field("fixed", {"type": "fixed", "name": "D", "size": 9, "logicalType": "decimal", "precision": 20, "scale": 0}),
    ],
    [
        {
            "date": dt.date(1, 2, 3),
            "time_ms": dt.time(23, 59, 59, 500000),
            "time": dt.time(0, 0, 1, 2),
            "zoned_ms": dt.datetime(2026, 1, 2, 3, 4, 5, 6000, utc),
            "zoned": moment,
            "local": moment.replace(tzinfo=None),
            "uuid": uuid.UUID("01234567-89ab-cdef-0123-456789abcdef"),
            "decimal": Decimal("-0.05"),
            "fixed": Decimal("-12345678901234567890"),
        }
    ],
    [
        '{"date":"0001-02-03","time_ms":"23:59:59.500000","time":"00:00:01.000002","zoned_ms":"2026-01-02T03:04:05.006000Z",'
        '"zoned":"1969-12-31T23:59:59.000004Z","local":"1969-12-31T23:59:59.000004","uuid":"01234567-89ab-cdef-0123-456789abcdef",'
        '"decimal":"-0.05","fixed":"-12345678901234567890"}'
    ],
)
point = {"type": "record", "name": "Point", "fields": [field("x", "int"), field("tag", ["null", "string"])]}
color = {"type": "enum", "name": "Color", "symbols": ["RED", "GREEN"]}
tell(
    "nested types",
    [
        field("point", point),
        field("more", {"type": "array", "items": ["null", "Point"]}),
        field("map", {"type": "map", "values": "double"}),
        field("color", color),
        field("again", ["null", "a.b.Color"]),
        field("fixed", {"type": "fixed", "name": "F", "size": 2}),
    ],
    [
        {"point": {"x": 1, "tag": "a"}, "more": [{"x": 2, "tag": None}, None], "map": {"k": 1.5}, "color": "GREEN", "again": "RED", "fixed": b"ab"},
        {"point": {"x": 3, "tag": None}, "more": [], "map": {}, "color": "RED", "again": None, "fixed": b"\x00\x01"},
    ],
    [
        '{"point":{"x":1,"tag":"a"},"more":[{"x":2,"tag":null},null],"map":{"k":1.5},"color":"GREEN","again":"RED","fixed":"YWI="}',
        '{"point":{"x":3,"tag":null},"more":[],"map":{},"color":"RED","again":null,"fixed":"AAE="}',
    ],
)
many = [{"id": i, "text": "x" * (i % 10)} for i in range(100)]
for codec in ("null", "deflate", "zstandard"):
    lines = [json.dumps(row, separators=(",", ":")) for row in many]
    tell(f"blocks {codec}", [field("id", "long"), field("text", "string")], many, lines, codec=codec, sync_interval=200)
tell("no rows", [field("id", "long")], [], [])
