"""Rows as JSON lines that lose nothing: shared by the readers here."""
import base64
import datetime
import decimal
import json
import math
import uuid


def encode(value):
    """JSON text: integers and decimals with all their digits, NaN and infinities as text, binary in base64."""
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(str(value))
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            return json.dumps(value.isoformat(timespec="microseconds"))
        utc = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        return json.dumps(utc.isoformat(timespec="microseconds") + "Z")
    if isinstance(value, datetime.time):
        return json.dumps(value.isoformat(timespec="microseconds"))
    if isinstance(value, (datetime.date, uuid.UUID)):
        return json.dumps(str(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return json.dumps(base64.b64encode(bytes(value)).decode())
    if isinstance(value, dict):
        members = (json.dumps(str(key), ensure_ascii=False) + ":" + encode(item) for key, item in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(encode(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def print_rows(names, rows):
    for row in rows:
        print(encode(dict(zip(names, row))))
