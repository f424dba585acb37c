import logging
import sys

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

http = sys.argv[1]
resource = Resource.create({'service.name': 'python'})
tracers = TracerProvider(resource=resource)
tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f'http://{http}/v1/traces')))
tracer = tracers.get_tracer('sdk')
for i in range(100):
    with tracer.start_as_current_span(f'span {i}', attributes={'i': i}):
        pass
tracers.shutdown()

reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f'http://{http}/v1/metrics'), export_interval_millis=3_600_000)
meters = MeterProvider(resource=resource, metric_readers=[reader])
gauge = meters.get_meter('sdk').create_gauge('temperature')
gauge.set(21.5, {'room': 'a'})
meters.shutdown()
