import { FrazilError } from '../../base/index.ts'
import { RawConnection } from './connection.ts'
import type { Endpoint } from './connection.ts'
import { lsnToText, parseLsn } from './lsn.ts'
import type { Lsn } from './lsn.ts'
import type { Memo } from './memo.ts'
import { checkSlot } from './ownership.ts'
import type { Names } from './ownership.ts'
import type { ServerFacts, SlotFacts } from './preflight.ts'

export interface ServerCheck {
  /** What the lake remembers. */
  readonly memo: Memo
  readonly facts: ServerFacts
  /** Where reading goes on; null when nothing was read yet. */
  readonly position: Lsn | null
  /** What is in the lake, at most that. */
  readonly committed: Lsn | null
}

/**
 * Is this the server that the lake was filled from, or a standby of it that was promoted? Throws `config` for another one, and
 * `corrupt` or `conflict` for one that does not have all that was read; see {@link checkTimeline}.
 */
export async function checkServer(endpoint: Endpoint, names: Names, check: ServerCheck): Promise<void> {
  const { memo, facts, position } = check
  if (memo.systemId !== facts.systemId) {
    throw new FrazilError(
      'config',
      'other-cluster',
      `url of source ${names.source} is another Postgres cluster than the lake was filled from`,
      { hint: `correct url; or, if it was moved on purpose, frazil resync ${names.source}: its tables are copied anew` },
    )
  }
  if (memo.slot !== names.slot) {
    throw new FrazilError(
      'config',
      'other-slot',
      `source ${names.source} was read through slot ${memo.slot}, not ${names.slot}`,
      { hint: `put back slot: ${memo.slot}; or frazil resync ${names.source}: its tables are copied anew` },
    )
  }
  if (memo.publication !== names.publication) {
    throw new FrazilError(
      'config',
      'other-publication',
      `source ${names.source} was read through publication ${memo.publication}, not ${names.publication}`,
      { hint: `put back publication: ${memo.publication}; or frazil resync ${names.source}: its tables are copied anew` },
    )
  }
  if (memo.timeline === facts.timeline || position === null) return
  const left = facts.timeline > memo.timeline ? await leftAt(endpoint, memo.timeline, facts.timeline) : null
  checkTimeline(check, left)
}

/**
 * What keeps the first copies of a source from going on: another server or slot, or a failover, since parts may have what the promoted
 * standby does not. Null when nothing does. They then begin again, with a new slot, and nobody has to do anything.
 */
export async function whatChanged(
  endpoint: Endpoint,
  names: Names,
  { memo, facts, slot }: { readonly memo: Memo; readonly facts: ServerFacts; readonly slot: SlotFacts | null },
): Promise<string | null> {
  const position = memo.start
  try {
    await checkServer(endpoint, names, { memo, facts, position, committed: position })
    checkSlot(names, slot, position, facts)
  } catch (error) {
    if (!(error instanceof FrazilError) || error.kind === 'unavailable') throw error
    return error.message
  }
  return memo.timeline === facts.timeline ? null : 'a standby was promoted'
}

/**
 * After a failover: the new primary's history says where it left the timeline that we were reading. Throws `corrupt` when the
 * lake is beyond that point, and so has changes that this server never had, and `conflict` when only what is not in the lake yet
 * is: then the source is read again from the lake's position.
 */
function checkTimeline({ memo, facts, position, committed }: ServerCheck, left: Lsn | null): void {
  if (left === null) {
    throw new FrazilError(
      'corrupt',
      'diverged',
      `the server is on timeline ${facts.timeline}, which does not come from timeline ${memo.timeline} that the lake was filled from`,
      { hint: 'frazil resync with the name of the source, and start again: its tables are copied anew' },
    )
  }
  if (position === null || position <= left) return
  if (committed !== null && committed <= left) {
    throw new FrazilError(
      'conflict',
      'read-ahead',
      `the server left timeline ${memo.timeline} at ${lsnToText(left)} and does not have the changes up to ${lsnToText(position)}; they are not in the lake`,
    )
  }
  throw new FrazilError(
    'corrupt',
    'diverged',
    `the lake is at ${lsnToText(position)} of timeline ${memo.timeline}, which this server left at ${lsnToText(left)}: it lost changes that the lake has`,
    { hint: 'frazil resync with the name of the source, and start again: its tables are copied anew' },
  )
}

async function leftAt(endpoint: Endpoint, from: number, to: number): Promise<Lsn | null> {
  const connection = await RawConnection.open(endpoint, 'replication')
  try {
    const { rows } = await connection.client.query<{ content: Buffer | string }>(`TIMELINE_HISTORY ${to}`)
    for (const line of rows[0].content.toString().split('\n')) {
      const match = /^\s*(\d+)\s+([0-9A-F]+\/[0-9A-F]+)/i.exec(line)
      if (match && Number(match[1]) === from) return parseLsn(match[2])
    }
    return null
  } finally {
    await connection.close()
  }
}
