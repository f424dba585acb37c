#!/bin/sh
# Makes .cache/otlp-python, a Python environment with the OpenTelemetry SDK and its exporters, pinned. Prints the path of its python.
set -eu
. "$(dirname "$0")/python-venv.sh"
make_venv otlp-python opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-http==1.45.2
