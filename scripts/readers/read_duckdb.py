"""read_duckdb.py <metadata.json URI> [column ...]   rows of a table as JSON lines, by DuckDB's Iceberg extension

Columns may include _row_id and _last_updated_sequence_number. Values: integers and decimals with all digits, timestamps as
ISO 8601, binary in base64. Run with the python of scripts/python-env.sh.
"""
import importlib.util
import sys

import duckdb
from json_rows import print_rows

connection = duckdb.connect()
connection.execute("SET TimeZone = 'UTC'")
for name in ("avro", "httpfs", "iceberg"):  # avro first: iceberg would try to download it
    folder = importlib.util.find_spec("duckdb_extension_" + name).submodule_search_locations[0]
    connection.execute(f"LOAD '{folder}/extensions/v{duckdb.__version__}/{name}.duckdb_extension'")

location, columns = sys.argv[1], sys.argv[2:]
selected = ", ".join('"' + column.replace('"', '""') + '"' for column in columns) or "*"
cursor = connection.execute(f"SELECT {selected} FROM iceberg_scan('" + location.replace("'", "''") + "')")
print_rows([column[0] for column in cursor.description], cursor.fetchall())
