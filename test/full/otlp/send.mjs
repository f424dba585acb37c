import { SpanKind, SpanStatusCode } from '@opentelemetry/api'
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-proto'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-grpc'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'

const [http, grpc] = process.argv.slice(2)
const resource = resourceFromAttributes({ 'service.name': 'node', 'process.pid': 42 })

const tracers = new BasicTracerProvider({
  resource,
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ url: `http://${http}/v1/traces`, compression: 'gzip' }))],
})
const tracer = tracers.getTracer('sdk', '1.2.3')
for (let i = 0; i < 100; i++) {
  const span = tracer.startSpan(`span ${i}`, {
    kind: SpanKind.SERVER,
    attributes: { i, ratio: i / 8, ok: true, list: ['a', 'b'] },
  })
  span.addEvent('happened', { at: i })
  span.setStatus({ code: SpanStatusCode.ERROR, message: 'on purpose' })
  span.end()
}
await tracers.shutdown()

const loggers = new LoggerProvider({
  resource,
  processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter({ url: `http://${http}/v1/logs` }) })],
})
const logger = loggers.getLogger('sdk')
for (let i = 0; i < 100; i++) logger.emit({ severityNumber: 9, severityText: 'INFO', body: `line ${i}`, attributes: { i } })
await loggers.shutdown()

const reader = new PeriodicExportingMetricReader({
  exporter: new OTLPMetricExporter({ url: `http://${grpc}` }),
  exportIntervalMillis: 3_600_000,
})
const meters = new MeterProvider({ resource, readers: [reader] })
const meter = meters.getMeter('sdk')
const counter = meter.createCounter('requests', { unit: '1', description: 'how many' })
const histogram = meter.createHistogram('latency', { unit: 'ms' })
for (let i = 0; i < 100; i++) {
  counter.add(2, { route: '/' })
  histogram.record(i)
}
await meters.shutdown()
