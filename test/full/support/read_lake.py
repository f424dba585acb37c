"""read_lake.py <pyiceberg | duckdb> <warehouse>: reads tables of a lake, many in one process, as starting one takes a second.

One request a line on standard input: {"namespace": …, "name": …, "columns": […], "out": path}. The rows go to `out`, one JSON array
a line, and {"rows": n} or {"error": text} is answered.
"""
import contextlib
import importlib.util
import json
import pathlib
import sqlite3
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / 'scripts' / 'readers'))
from json_rows import encode  # noqa: E402


def rows_of(table):
    return zip(*(column.to_pylist() for column in table.columns))


class PyIceberg:
    def __init__(self, warehouse):
        from pyiceberg.catalog.sql import SqlCatalog

        self.catalog = SqlCatalog('frazil', uri=f'sqlite:///{warehouse}/catalog.db', init_catalog_tables='false')

    def rows(self, namespace, name, columns):
        # By batches: PyArrow cannot make an empty table that has a list of uuids.
        scan = self.catalog.load_table((namespace, name)).scan(selected_fields=tuple(columns))
        for batch in scan.to_arrow_batch_reader():
            yield from rows_of(batch.select(columns))


class DuckDb:
    def __init__(self, warehouse):
        import duckdb

        self.catalog = f'file:{warehouse}/catalog.db?mode=ro'
        self.connection = duckdb.connect()
        for name in ('avro', 'httpfs', 'iceberg'):  # avro before iceberg, which would look for it elsewhere
            folder = importlib.util.find_spec(f'duckdb_extension_{name}').submodule_search_locations[0]
            self.connection.execute(f"LOAD '{folder}/extensions/v{duckdb.__version__}/{name}.duckdb_extension'")
        self.connection.execute("SET TimeZone = 'UTC'")

    def rows(self, namespace, name, columns):
        with contextlib.closing(sqlite3.connect(self.catalog, uri=True)) as catalog:
            pointer = 'SELECT metadata_location FROM iceberg_tables WHERE table_namespace = ? AND table_name = ?'
            (location,) = catalog.execute(pointer, (namespace, name)).fetchone()
        listed = ', '.join('"' + column.replace('"', '""') + '"' for column in columns)
        place = location.replace("'", "''")
        # By way of Arrow: DuckDB's own conversion of timestamptz to Python needs yet another package.
        return rows_of(self.connection.execute(f"SELECT {listed} FROM iceberg_scan('{place}')").fetch_arrow_table())


def main():
    kind, warehouse = sys.argv[1:]
    reader = {'pyiceberg': PyIceberg, 'duckdb': DuckDb}[kind](warehouse)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            count = 0
            with open(request['out'], 'w', encoding='utf-8') as out:
                for row in reader.rows(request['namespace'], request['name'], request['columns']):
                    out.write(encode(list(row)) + '\n')
                    count += 1
            answer = {'rows': count}
        except Exception as error:  # whatever a reader throws is the test's result
            answer = {'error': f'{type(error).__name__}: {error}'}
        print(json.dumps(answer), flush=True)


main()
