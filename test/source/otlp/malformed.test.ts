import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import * as fc from 'fast-check'
import { FrazilError, SlabPool, systemClock } from '../../../src/base/index.ts'
import { jsonRequest } from '../../../src/source/otlp/json-request.ts'
import { RequestDecoder, tablesOf } from '../../../src/source/otlp/request-decoder.ts'
import { letGo } from '../../../src/source/push/index.ts'
import { fieldsOf, signals, tableNames } from '../../../src/source/otlp/tables.ts'
import type { Signal } from '../../../src/source/otlp/tables.ts'
import type { SourceParts } from '../../../src/source/source.ts'
import { logRequest, metricRequest, traceRequest } from '../../support/otlp/arbitrary.ts'
import type { Group } from '../../support/otlp/arbitrary.ts'
import { logRecord, metric, request, span } from '../../support/otlp/encode.ts'
import { logJson, metricJson, requestJson, spanJson } from '../../support/otlp/json.ts'

function encoded<T>(groups: readonly Group<T>[], record: (one: T) => Buffer): Buffer {
  return request(
    groups.map(({ resource, scopes }) => ({
      resource,
      scopes: scopes.map(({ scope, records }) => ({ scope, records: records.map(record) })),
    })),
  )
}

const bodies = fc.oneof(
  logRequest.map((groups) => ({ signal: 'logs' as const, body: encoded(groups, logRecord) })),
  traceRequest.map((groups) => ({ signal: 'traces' as const, body: encoded(groups, span) })),
  metricRequest.map((groups) => ({ signal: 'metrics' as const, body: encoded(groups, metric) })),
)
const jsonBodies = fc.oneof(
  logRequest.map((groups) => ({ signal: 'logs' as const, body: requestJson('logs', groups, logJson) })),
  traceRequest.map((groups) => ({ signal: 'traces' as const, body: requestJson('traces', groups, spanJson) })),
  metricRequest.map((groups) => ({ signal: 'metrics' as const, body: requestJson('metrics', groups, metricJson) })),
)

/** How bytes go wrong on their way. */
const damage = fc.oneof(
  fc.record({ kind: fc.constant('cut' as const), at: fc.nat() }),
  fc.record({ kind: fc.constant('set' as const), at: fc.nat(), byte: fc.integer({ min: 0, max: 255 }) }),
  fc.record({ kind: fc.constant('remove' as const), at: fc.nat(), bytes: fc.integer({ min: 1, max: 9 }) }),
  fc.record({ kind: fc.constant('insert' as const), at: fc.nat(), bytes: fc.uint8Array({ minLength: 1, maxLength: 11 }) }),
)

function damaged(body: Buffer, how: typeof damage extends fc.Arbitrary<infer T> ? T : never): Buffer {
  const at = body.length === 0 ? 0 : how.at % body.length
  switch (how.kind) {
    case 'cut':
      return body.subarray(0, at)
    case 'set': {
      const copy = Buffer.from(body)
      if (copy.length > 0) copy[at] = how.byte
      return copy
    }
    case 'remove':
      return Buffer.concat([body.subarray(0, at), body.subarray(at + how.bytes)])
    case 'insert':
      return Buffer.concat([body.subarray(0, at), how.bytes, body.subarray(at)])
  }
}

suite('OTLP, malformed', { timeout: 240_000 }, () => {
  /** Decodes as the source does. What is refused is a refusal, and nothing of it stays in memory. */
  function decoder(): { readonly decode: (signal: Signal, body: Uint8Array) => void; readonly used: () => number } {
    const pool = new SlabPool({ budget: 64 << 20 })
    let segments = 0
    const decoders = new Map(
      signals.map((signal) => {
        const tables = new Map(tablesOf[signal].map((place) => [place, fieldsOf(tableNames[place], [])]))
        const parts: SourceParts = {
          onSchemaChange: () => 'evolve',
          pool,
          clock: systemClock,
          nextSegmentId: () => ++segments,
          currentCommit: () => 0,
          deletable: () => false,
        }
        return [signal, new RequestDecoder(signal, tables, [], parts)]
      }),
    )
    return {
      decode: (signal, body) => {
        try {
          for (const { rows } of decoders.get(signal)?.decode(body).rows ?? []) letGo(rows)
        } catch (error) {
          assert(error instanceof FrazilError && error.kind === 'request', String(error))
        }
      },
      used: () => {
        for (const one of decoders.values()) one.release()
        return pool.used
      },
    }
  }

  test('damaged protobuf is refused, or is another message; memory comes back', () => {
    const { decode, used } = decoder()
    fc.assert(
      fc.property(bodies, fc.array(damage, { minLength: 1, maxLength: 4 }), ({ signal, body }, damages) => {
        decode(signal, damages.reduce(damaged, body))
      }),
      { numRuns: 200 },
    )
    assert.equal(used(), 0)
  })

  test('so are bytes that never were a message', () => {
    const { decode, used } = decoder()
    const words = fc.array(fc.constantFrom(0x0a, 0x12, 0x1a, 0x2a, 0x32, 0x3a, 0x02, 0x03, 0x04, 0x06, 0x0b, 0x0c, 0xff, 0x7f), {
      maxLength: 60,
    })
    fc.assert(
      fc.property(fc.constantFrom(...signals), fc.oneof(fc.uint8Array({ maxLength: 60 }), words), (signal, bytes) => {
        decode(signal, Buffer.from(bytes))
      }),
      { numRuns: 2000 },
    )
    assert.equal(used(), 0)
  })

  test('nesting without end is refused', () => {
    const { decode, used } = decoder()
    let deep = Buffer.alloc(0)
    // A list in a list in a list …, each with its length: as deep as a body of some size can be.
    for (let i = 0; i < 5000; i++) {
      const length: number[] = []
      for (let rest = deep.length; ; rest >>= 7) {
        if (rest < 128) {
          length.push(rest)
          break
        }
        length.push((rest & 127) | 128)
      }
      deep = Buffer.concat([Buffer.from([i % 2 === 0 ? 0x0a : 0x2a, ...length]), deep])
    }
    for (const signal of signals) decode(signal, deep)
    decode('logs', Buffer.alloc(100_000, 0x0b))
    assert.equal(used(), 0)
  })

  test('damaged JSON is refused, or is another request', () => {
    const { decode, used } = decoder()
    fc.assert(
      fc.property(jsonBodies, fc.array(damage, { minLength: 0, maxLength: 3 }), ({ signal, body }, damages) => {
        let message: Uint8Array
        try {
          message = jsonRequest(signal, damages.reduce(damaged, body))
        } catch (error) {
          assert(error instanceof FrazilError && error.kind === 'request', String(error))
          return
        }
        decode(signal, message)
      }),
      { numRuns: 150 },
    )
    assert.equal(used(), 0)
  })

  test('JSON of any other shape is refused', () => {
    const { decode, used } = decoder()
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { depthSize: 'small' },
        fc.constantFrom(null, true, 1, -1, 1e300, '1', 'x', '', 2 ** 53),
        fc.array(tie('any'), { maxLength: 2 }),
        fc.dictionary(
          fc.constantFrom(
            'resourceLogs',
            'scopeLogs',
            'logRecords',
            'attributes',
            'key',
            'value',
            'kvlistValue',
            'arrayValue',
            'values',
            'traceId',
            'body',
            '__proto__',
            'timeUnixNano',
            'resource',
            'flags',
          ),
          tie('any'),
          { maxKeys: 4 },
        ),
      ),
    })).any
    fc.assert(
      fc.property(value, (any) => {
        try {
          decode('logs', jsonRequest('logs', Buffer.from(JSON.stringify(any))))
        } catch (error) {
          assert(error instanceof FrazilError && error.kind === 'request', String(error))
        }
      }),
      { numRuns: 1000 },
    )
    assert.equal(used(), 0)
  })
})
