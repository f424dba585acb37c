"""read_pyiceberg.py <metadata.json URI> [column ...]
read_pyiceberg.py --catalog <catalog.db> <namespace.table> [column ...]

Rows of a table as JSON lines, by PyIceberg. --catalog opens a SQLite catalog (its name is frazil). Run with the python of
scripts/python-env.sh.
"""
import sys

from json_rows import print_rows

arguments = sys.argv[1:]
if arguments[0] == "--catalog":
    from pyiceberg.catalog.sql import SqlCatalog

    table = SqlCatalog("frazil", uri="sqlite:///" + arguments[1], init_catalog_tables="false").load_table(arguments[2])
    columns = arguments[3:]
else:
    from pyiceberg.table import StaticTable

    table = StaticTable.from_metadata(arguments[0])
    columns = arguments[1:]
rows = table.scan(selected_fields=tuple(columns) or ("*",)).to_arrow()
print_rows(rows.column_names, zip(*(column.to_pylist() for column in rows.columns)))
