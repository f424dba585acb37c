import type { JsonObject } from '../format/json/index.ts'
import type { Retention } from './contract.ts'
import type { Snapshot } from './metadata.ts'

/**
 * Tags for the last state of an hour and of a day, UTC: `hourly-2026-11-21-07`, `daily-2026-11-21`. Main's own history is short,
 * as each of its snapshots is in every metadata file; a tag keeps one of them for longer.
 */

type Refs = Readonly<Record<string, JsonObject>>

const kinds = [
  { kept: 'hourly', pattern: /^hourly-\d{4,}-\d\d-\d\d-\d\d$/, digits: 'yyyy-mm-ddThh'.length },
  { kept: 'daily', pattern: /^daily-\d{4,}-\d\d-\d\d$/, digits: 'yyyy-mm-dd'.length },
] as const

/** The refs with a tag for `last`, main's head so far, where the time of the commit that follows it is in another hour or day. */
export function tagged(refs: Refs, last: Snapshot | null, nowMs: number, retention: Retention): Refs {
  if (last === null) return refs
  const tags: Record<string, JsonObject> = {}
  for (const { kept, digits } of kinds) {
    const period = (ms: number): string => new Date(ms).toISOString().slice(0, digits).replace('T', '-')
    const ended = period(last.timestampMs)
    if ((retention[kept] ?? 0) > 0 && ended !== period(nowMs)) tags[`${kept}-${ended}`] = { 'snapshot-id': last.id, type: 'tag' }
  }
  return { ...refs, ...tags }
}

/** The refs without the oldest of these tags: as many stay as are asked for, those of hours and days in which the table changed. */
export function withoutOldTags(refs: Refs, retention: Retention): Refs {
  const gone = new Set<string>()
  for (const { kept, pattern } of kinds) {
    const names = Object.keys(refs).filter((name) => pattern.test(name) && refs[name].type === 'tag')
    for (const name of names.sort().slice(0, Math.max(0, names.length - (retention[kept] ?? 0)))) gone.add(name)
  }
  return gone.size === 0 ? refs : Object.fromEntries(Object.entries(refs).filter(([name]) => !gone.has(name)))
}

/** Whether a ref is such a tag: what it names was main's head. A branch of that name has a history of its own. */
export function isOwnTag(name: string, { type }: JsonObject): boolean {
  return type === 'tag' && kinds.some(({ pattern }) => pattern.test(name))
}
