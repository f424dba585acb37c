import { existsSync } from 'node:fs'
import { FrazilError, nearest, systemClock } from '../base/index.ts'
import { SqliteCatalog } from '../iceberg/catalog/index.ts'
import type { Config } from './config.ts'
import { catalogPath } from './lake.ts'
import { acquireLease, fencedCatalog } from './lease.ts'
import { fullName } from './mirrored-table.ts'
import { pushSource } from './sources.ts'
import { changeRecord, readRecord } from './state-record.ts'
import type { DetachedTable, SourceRecord } from './state-record.ts'

/**
 * Has the next start copy a table (`namespace.table`) again, or all tables of a source (its name), while nothing runs over the lake.
 * A source begins anew: with a new slot, on whatever server its address leads to; until they are copied its tables stay readable as
 * they are. Returns the tables. Throws `request` for names that nothing has.
 */
export async function requestResync(config: Config, target: string): Promise<string[]> {
  const path = catalogPath(config.warehouse)
  if (!existsSync(path)) throw new FrazilError('config', 'no-lake', `there is no lake in ${config.warehouse}`)
  const catalog = await SqliteCatalog.open(path)
  try {
    const lease = await acquireLease({ catalog, clock: systemClock, takeOver: false })
    try {
      const known: string[] = []
      for (const [source, { type }] of Object.entries(config.sources)) {
        // What programs send there is nowhere else.
        if (type !== 'postgres') continue
        const stored = await readRecord(catalog, source)
        if (!stored) continue
        const { record } = stored
        const tables = namesOf(record)
        known.push(source, ...tables)
        if (source !== target && !tables.includes(target)) continue
        const next = source === target ? anew(record) : again(record, target)
        const { states } = await changeRecord(catalog, stored, next)
        await fencedCatalog(catalog, lease.fence).commit({ tables: [], states })
        return source === target ? tables : [target]
      }
      const ofPrograms = Object.entries(config.sources).flatMap(([source, { type }]) => (type === 'otlp' ? [source] : []))
      for (const source of [pushSource, ...ofPrograms]) {
        const stored = await readRecord(catalog, source)
        if (!stored || !(source === target || namesOf(stored.record).includes(target))) continue
        throw new FrazilError('unavailable', 'no-daemon', `programs send the rows of ${target}: there is nothing to copy`, {
          hint: 'If it was detached: start frazil run, then frazil resync again has it take rows again.',
        })
      }
      const near = nearest(target, known)
      throw new FrazilError('request', 'unknown-table', `the lake has no table and no source ${target}`, {
        hint: near === null ? `there are: ${known.join(', ') || 'none'}` : `did you mean ${near}?`,
      })
    } finally {
      await lease.release()
    }
  } finally {
    await catalog.close()
  }
}

function namesOf({ tables, detached }: SourceRecord): string[] {
  return [...new Set([...tables.map(({ table }) => fullName(table)), ...detached.map((table) => fullName(table))])]
}

function again(record: SourceRecord, name: string): SourceRecord {
  return { ...record, again: [...new Set([...(record.again ?? []), name])] }
}

/** Nothing is known of the source's position any more, and all tables are as the lake has them until they are copied. */
function anew(record: SourceRecord): SourceRecord {
  const reason = 'It is to be copied anew.'
  const held = record.tables.map(({ table: { id, namespace, name } }): DetachedTable => {
    return { id, namespace, name, position: record.position, reason }
  })
  const lastMemo = record.memo ?? record.lastMemo ?? null
  return {
    ...record,
    position: null,
    memo: null,
    lastMemo,
    tables: [],
    detached: [...record.detached, ...held],
    again: namesOf(record),
  }
}
