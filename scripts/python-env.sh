#!/bin/sh
# Makes .cache/python, a Python environment with the independent readers that the full tests use: PyIceberg, PyArrow and DuckDB
# with its extensions, all pinned. Prints the path of its python. Does nothing when the environment is already as asked.
set -eu
. "$(dirname "$0")/python-venv.sh"
make_venv python \
  'pyiceberg[sql-sqlite,pyarrow]==0.12.0' pyarrow fastavro==1.12.1 \
  duckdb==1.5.5 duckdb-extension-avro==1.5.5 duckdb-extension-httpfs==1.5.5 \
  duckdb-extension-iceberg==1.5.5 duckdb-extension-postgres-scanner==1.5.5
