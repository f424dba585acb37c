#!/bin/sh
# Makes .cache/schemathesis, which sends what an OpenAPI document allows and what it does not; pinned. Prints the path of its python.
set -eu
. "$(dirname "$0")/python-venv.sh"
make_venv schemathesis schemathesis==4.32.5
