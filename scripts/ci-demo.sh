#!/usr/bin/env bash
# The README's first command, with an end: the demo writes for 30 seconds into a temporary folder and compares; then PyIceberg counts
# the rows of its tables, which must be what the demo printed.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm run -s demo -- --seconds 30 --dir "$folder/demo" | tee "$folder/printed"

python=$(scripts/python-env.sh)
"$python" - "$folder/demo/catalog.db" "$folder/printed" <<'PYTHON'
import re
import sys

from pyiceberg.catalog.sql import SqlCatalog

catalog_file, printed = sys.argv[1:]
catalog = SqlCatalog('frazil', uri=f'sqlite:///{catalog_file}', init_catalog_tables='false')
with open(printed, encoding='utf-8') as text:
    said = re.findall(r'^ +(\S+) +([\d,]+) rows +equal$', text.read(), re.MULTILINE)
tables = {name[-1] for name in catalog.list_tables('shop')}
assert said and {name for name, _ in said} == tables, f'the demo printed {said}, the catalog has {tables}'
for name, rows in said:
    counted = catalog.load_table(('shop', name)).scan().to_arrow().num_rows
    print(f'{name}: {counted} rows by PyIceberg')
    assert counted == int(rows.replace(',', '')), f'{name}: the demo printed {rows}'
PYTHON
