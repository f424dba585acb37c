import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { icebergName, parseShownName, parseTablePattern, quoteText, showName } from '../../../src/source/postgres/identifiers.ts'
import { lsnToText, parseLsn } from '../../../src/source/postgres/lsn.ts'

test('patterns: folded identifiers, quoted ones, globs over bare names', () => {
  const matches = (pattern: string, schema: string, table: string): boolean => parseTablePattern(pattern).matches(schema, table)
  assert.ok(matches('public.orders', 'public', 'orders'))
  assert.ok(matches('PUBLIC.Orders', 'public', 'orders'))
  assert.ok(matches('orders', 'public', 'orders') && !matches('orders', 'sales', 'orders'))
  assert.ok(matches('public."Odd Name"', 'public', 'Odd Name') && !matches('public."Odd Name"', 'public', 'odd name'))
  assert.ok(matches('"a""b"."c.d"', 'a"b', 'c.d'))
  assert.ok(
    matches('sales.*', 'sales', 'Odd Name') &&
      matches('s*.o?ders', 'sales', 'orders') &&
      !matches('sales.o?ders', 'sales', 'oders'),
  )
  assert.ok(matches('public."a*"', 'public', 'a*') && !matches('public."a*"', 'public', 'ab'))
  assert.ok(matches('x.a$b', 'x', 'a$b') && matches('x.a$*', 'x', 'a$c') && !matches('x.a.*'.slice(0, 3), 'x', 'ab'))
  assert.ok(matches('größe', 'public', 'größe'))
  assert.ok(parseTablePattern('public.orders').exact && !parseTablePattern('public.*').exact && parseTablePattern('"*"').exact)
  for (const bad of ['', '.', 'a.', 'a.b.c', '"open', 'a b', '1a', "a'b", '""']) {
    assert.throws(() => parseTablePattern(bad), { kind: 'config', code: 'bad-table-pattern' }, bad)
  }
})

test('names: shown and parsed back, put into Iceberg unchanged', () => {
  const name = fc.string({ minLength: 1, maxLength: 12, unit: 'grapheme' })
  fc.assert(
    fc.property(name, name, (schema, table) => assert.deepEqual(parseShownName(showName(schema, table)), { schema, table })),
  )
  assert.deepEqual(icebergName(null, 'shop', 'public', 'T.x'), { namespace: 'shop', name: 'T.x' })
  assert.deepEqual(icebergName(null, 'shop', 'sales', 't'), { namespace: 'shop', name: 'sales_t' })
  assert.deepEqual(icebergName('lake.{schema}.{table}_raw', 'shop', 'public', 't'), { namespace: 'lake.public', name: 't_raw' })
  for (const bad of ['{table}', '.{table}', 'a.', 'a.{tabel}'])
    assert.throws(() => icebergName(bad, 's', 'p', 't'), { kind: 'config', code: 'bad-into' }, bad)
  assert.equal(quoteText(`it's`), `'it''s'`)
  assert.equal(quoteText(`a\\'b`), ` E'a\\\\''b'`)
})

test('positions', () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 53 - 1 }), (lsn) => assert.equal(parseLsn(lsnToText(lsn)), lsn)))
  assert.equal(lsnToText(parseLsn('0/16b3740')), '0/16B3740')
  for (const bad of ['', '0', '0/', '0/G', '123456789/0', '0/0 '])
    assert.throws(() => parseLsn(bad), { kind: 'request', code: 'bad-position' }, bad)
})
