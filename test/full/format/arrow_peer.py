"""Streams of Arrow record batches by PyArrow, one case a line: {name, type, stream (base64), values}.

Values have the form of the tests' canonical(): integers, times and unscaled decimals as decimal text, floats as the bits of a
double in hexadecimal (nan as it is called), bytes in hexadecimal, structs as lists in the order of their fields, maps as lists of pairs.
"""

import base64
import json
import struct
import sys
from decimal import Decimal, getcontext

import pyarrow as pa

getcontext().prec = 80


def bits(number):
    return "nan" if number != number else struct.pack(">d", number).hex()


def stream(batches, compression=None):
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, batches[0].schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return base64.b64encode(sink.getvalue().to_pybytes()).decode()


def tell(name, kind, arrays, values, compression=None):
    arrays = arrays if isinstance(arrays, list) else [arrays]
    batches = [pa.RecordBatch.from_arrays([array], ["v"]) for array in arrays]
    print(json.dumps({"name": name, "type": kind, "stream": stream(batches, compression), "values": values}))


def texts(values):
    return [None if value is None else str(value) for value in values]


def scalars():
    for width in (8, 16, 32, 64):
        signed = [None, -(2 ** (width - 1)), -1, 0, 2 ** (width - 1) - 1]
        tell(f"int{width}", "int" if width < 64 else "long", pa.array(signed, f"int{width}"), texts(signed))
        most = 2**width - 1 if width < 64 else 2**63 - 1
        unsigned = [None, 0, 1, most]
        tell(f"uint{width}", "int" if width < 32 else "long", pa.array(unsigned, f"uint{width}"), texts(unsigned))
    numbers = [None, 0.0, -0.0, 1.5, -2.25, float("inf"), float("-inf"), float("nan")]
    exact = [None if number is None else bits(number) for number in numbers]
    tell("float16", "float", pa.array(numbers, pa.float32()).cast(pa.float16()), exact)
    tell("float32", "float", pa.array(numbers, "float32"), exact)
    tell("float64", "double", pa.array(numbers, "float64"), exact)
    tell("bool", "boolean", pa.array([True, None, False] * 7, pa.bool_()), [True, None, False] * 7)
    words = ["", "a", None, "äöü€😀", "x" * 1000]
    tell("utf8", "string", pa.array(words, pa.utf8()), words)
    tell("large_utf8", "string", pa.array(words, pa.large_utf8()), words)
    raw = [b"", None, b"\x00\xff", b"y" * 100]
    hexed = [None if value is None else value.hex() for value in raw]
    tell("binary", "binary", pa.array(raw, pa.binary()), hexed)
    tell("large_binary", "binary", pa.array(raw, pa.large_binary()), hexed)
    tell("fixed", "fixed[3]", pa.array([b"abc", None, b"\x00\x01\x02"], pa.binary(3)), ["616263", None, "000102"])
    for precision, scale in ((5, 2), (18, 0), (38, 10)):
        unscaled = [None, 0, -1, 10**precision - 1, 1 - 10**precision]
        decimals = [None if value is None else Decimal(value).scaleb(-scale) for value in unscaled]
        tell(f"decimal{precision}", f"decimal({precision}, {scale})", pa.array(decimals, pa.decimal128(precision, scale)), texts(unscaled))
    wide = [None, -(10**37), 10**37 + 1]
    tell("decimal256", "decimal(38, 0)", pa.array([None if v is None else Decimal(v) for v in wide], pa.decimal256(38, 0)), texts(wide))


def times():
    days = [None, -719162, 0, 20000, 2932896]
    tell("date32", "date", pa.array(days, pa.int32()).cast(pa.date32()), texts(days))
    millis = [None if day is None else day * 86_400_000 for day in days]
    tell("date64", "date", pa.array(millis, pa.int64()).cast(pa.date64()), texts(days))
    factors = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": None}
    for unit, factor in factors.items():
        stored = [None, 0, 1, 86_399] if factor else [None, 0, 1000, 86_399_999_999_000]
        micros = [None if value is None else value * factor if factor else value // 1000 for value in stored]
        width = pa.int32() if unit in ("s", "ms") else pa.int64()
        tell(f"time {unit}", "time", pa.array(stored, width).cast(pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)), texts(micros))
        stamps = [None, 0, -1, 1_700_000_000] if factor else [None, 0, -1000, 1_700_000_000_000_001_000]
        micros = [None if value is None else value * factor if factor else value // 1000 for value in stamps]
        for zone in (None, "UTC", "Europe/Berlin"):
            array = pa.array(stamps, pa.int64()).cast(pa.timestamp(unit, zone))
            tell(f"timestamp {unit} {zone}", "timestamptz" if zone else "timestamp", array, texts(micros))


def nested():
    lists = [[1, None, 3], None, [], [-4]]
    texted = [None if value is None else texts(value) for value in lists]
    tell("list", "list<long>", pa.array(lists, pa.list_(pa.int64())), texted)
    tell("large_list", "list<long>", pa.array(lists, pa.large_list(pa.int64())), texted)
    tell("fixed_size_list", "list<int>", pa.array([[1, 2], None, [3, None]], pa.list_(pa.int32(), 2)), [["1", "2"], None, ["3", None]])
    tell("list sliced", "list<long>", pa.array(lists, pa.list_(pa.int64())).slice(1), texted[1:])
    rows = [{"a": 1, "b": {"c": "x"}}, None, {"a": None, "b": None}, {"a": 2, "b": {"c": None}}]
    kind = pa.struct([("a", pa.int32()), ("b", pa.struct([("c", pa.utf8())]))])
    tell("struct", "struct<a: int, b: struct<c: string>>", pa.array(rows, kind), [["1", ["x"]], None, [None, None], ["2", [None]]])
    tell("struct sliced", "struct<a: int, b: struct<c: string>>", pa.array(rows, kind).slice(2), [[None, None], ["2", [None]]])
    maps = [[("a", 1), ("b", None)], None, []]
    tell("map", "map<string, int>", pa.array(maps, pa.map_(pa.utf8(), pa.int32())), [[["a", "1"], ["b", None]], None, []])
    deep = [[{"k": [1.5]}], [], None]
    tell("list of structs of lists", "list<struct<k: list<double>>>", pa.array(deep, pa.list_(pa.struct([("k", pa.list_(pa.float64()))]))), [[[[bits(1.5)]]], [], None])


def layouts():
    words = ["a", None, "b", "a", "c"]
    for index in (pa.int8(), pa.uint16(), pa.int32(), pa.int64()):
        tell(f"dictionary {index}", "string", pa.array(words, pa.utf8()).cast(pa.dictionary(index, pa.utf8())), words)
    many = [pa.array(words, pa.utf8()).dictionary_encode(), pa.array(["z", "y"], pa.utf8()).dictionary_encode()]
    tell("replaced dictionaries", "string", many, words + ["z", "y"])
    tell("dictionary of numbers", "long", pa.array([5, None, 5], pa.int64()).dictionary_encode(), ["5", None, "5"])
    numbers = list(range(5000))
    for compression in ("zstd", "lz4"):
        tell(f"compressed {compression}", "long", [pa.array(numbers, pa.int64()), pa.array([1, None], pa.int64())], texts(numbers + [1, None]), compression)
        tell(f"compressed texts {compression}", "string", pa.array(words * 100, pa.utf8()), words * 100, compression)
    tell("no rows", "long", pa.array([], pa.int64()), [])
    tell("sliced", "string", pa.array(words, pa.utf8()).slice(2, 2), ["b", "a"])


for part in (scalars, times, nested, layouts):
    part()
