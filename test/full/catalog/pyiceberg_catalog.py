"""pyiceberg_catalog.py <catalog.db> <warehouse>: PyIceberg's SqlCatalog on a catalog file, for the tests.

Standard input: a JSON list of requests, each [operation, argument…]; one JSON list of answers is printed.
"""
import json
import sys

import pyarrow
from pyiceberg.catalog.sql import SqlCatalog

path, warehouse = sys.argv[1:]
catalog = SqlCatalog('frazil', uri=f'sqlite:///{path}', warehouse=f'file://{warehouse}')


def rows(count):
    return pyarrow.table({'id': pyarrow.array(range(count), pyarrow.int64())})


def create(namespace, name, location, count):
    """Makes a table at a location, with so many rows."""
    catalog.create_namespace_if_not_exists((namespace,))
    table = catalog.create_table((namespace, name), rows(0).schema, location=location)
    table.append(rows(count))
    return table.metadata_location


def append(namespace, name, count):
    table = catalog.load_table((namespace, name))
    table.append(rows(count))
    return table.metadata_location


def listing():
    """Every table's metadata location and number of rows, by namespace and name, and the namespaces without tables."""
    found = {}
    for namespace in catalog.list_namespaces():
        found['.'.join(namespace)] = {}
        for identifier in catalog.list_tables(namespace):
            table = catalog.load_table(identifier)
            found['.'.join(namespace)][identifier[-1]] = [table.metadata_location, table.scan().to_arrow().num_rows]
    return found


operations = {'create': create, 'append': append, 'list': listing}
answers = [operations[operation](*arguments) for operation, *arguments in json.load(sys.stdin)]
print(json.dumps(answers))
