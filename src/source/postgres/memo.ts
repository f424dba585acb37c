import { FrazilError } from '../../base/index.ts'
import { lsnToText, parseLsn } from './lsn.ts'
import type { Lsn } from './lsn.ts'
import type { Names } from './ownership.ts'
import type { ServerFacts } from './preflight.ts'

/** What the lake remembers of the server beside the position. */
export interface Memo {
  readonly systemId: string
  readonly timeline: number
  readonly slot: string
  readonly publication: string
  readonly lakeId: string
  /** Where the slot began. */
  readonly start: Lsn
  /** By oid, what a publication of somebody else sends of each table; null for our own, which sends everything. */
  readonly published: Readonly<Record<string, string>> | null
}

const version = 1

/** Of a start, before anything is known of publications. */
export function newMemo(
  { slot, publication, lakeId }: Names,
  { systemId, timeline }: Pick<ServerFacts, 'systemId' | 'timeline'>,
  start: Lsn,
): Memo {
  return { systemId, timeline, slot, publication, lakeId, start, published: null }
}

/** Whether it says that the slot of this name, at the server of this system identifier, is the lake's. */
export function knowsSlot(memo: Memo | null, { slot }: Names, systemId: string): boolean {
  return memo !== null && memo.slot === slot && memo.systemId === systemId
}

export function writeMemo(memo: Memo): string {
  return JSON.stringify({ version, ...memo, start: lsnToText(memo.start) })
}

/** Throws `corrupt` for text that is not a memo, and for one of a later version. */
export function readMemo(text: string): Memo {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new FrazilError('corrupt', 'bad-memo', 'what the lake remembers of a Postgres source is not JSON', { cause: error })
  }
  if (typeof value !== 'object' || value === null)
    throw new FrazilError('corrupt', 'bad-memo', 'a Postgres memo is not an object')
  const fields = new Map<string, unknown>(Object.entries(value))
  if (fields.get('version') !== version) {
    throw new FrazilError('config', 'newer-format', 'the lake was written by a newer frazil', { hint: 'use that version' })
  }
  const text_ = (name: string): string => {
    const field = fields.get(name)
    if (typeof field !== 'string') throw new FrazilError('corrupt', 'bad-memo', `a Postgres memo has no ${name}`)
    return field
  }
  const timeline = fields.get('timeline')
  if (typeof timeline !== 'number') throw new FrazilError('corrupt', 'bad-memo', 'a Postgres memo has no timeline')
  return {
    systemId: text_('systemId'),
    timeline,
    slot: text_('slot'),
    publication: text_('publication'),
    lakeId: text_('lakeId'),
    start: parseLsn(text_('start')),
    published: publishedOf(fields.get('published')),
  }
}

function publishedOf(value: unknown): Memo['published'] {
  if (value === undefined || value === null) return null
  const entries = typeof value === 'object' ? Object.entries(value) : []
  if (typeof value !== 'object' || entries.some(([, text]) => typeof text !== 'string')) {
    throw new FrazilError('corrupt', 'bad-memo', 'a Postgres memo has a malformed list of published tables')
  }
  return Object.fromEntries(entries.map(([oid, text]) => [oid, String(text)]))
}
