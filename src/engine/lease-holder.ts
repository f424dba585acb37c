import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import { z } from 'zod'
import type { Random } from '../base/index.ts'

/** Who holds a lease, named so that a process on the same host can tell whether it still runs. */
export const holderSchema = z.object({
  /** Made anew for each engine; two engines in one process differ in it. */
  instance: z.string(),
  host: z.string(),
  /** The kernel's boot id and the process's pid namespace; null where the system has none (not Linux). */
  boot: z.string().nullable(),
  pidNamespace: z.string().nullable(),
  pid: z.number().int().positive(),
  /** The process's start in clock ticks since boot, so that a pid used again is not taken for the holder. */
  started: z.string().nullable(),
})
export type LeaseHolder = z.infer<typeof holderSchema>

/** This process, under a new instance id. */
export function thisHolder(random: Random): LeaseHolder {
  return {
    instance: random.uuid(),
    host: hostname(),
    boot: unlessMissing(() => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()),
    pidNamespace: unlessMissing(() => readlinkSync('/proc/self/ns/pid')),
    pid: process.pid,
    started: processStat(process.pid)?.started ?? null,
  }
}

/**
 * Whether `holder` still runs, as far as `here` can tell: certain only under the same boot and in the same pid namespace
 * (equal host names prove nothing).
 */
export function fateOf(holder: LeaseHolder, here: LeaseHolder): 'alive' | 'dead' | 'unknown' {
  if (holder.boot === null || holder.boot !== here.boot) return 'unknown'
  if (holder.pidNamespace === null || holder.pidNamespace !== here.pidNamespace) return 'unknown'
  if (!processExists(holder.pid)) return 'dead'
  const found = processStat(holder.pid)
  if (found === null || holder.started === null) return 'unknown'
  const ended = found.state === 'Z' || found.state === 'X'
  return ended || found.started !== holder.started ? 'dead' : 'alive'
}

/** Asks by signal 0, since /proc may hide the processes of other users. */
function processExists(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return !(error instanceof Error && 'code' in error && error.code === 'ESRCH')
  }
}

/** State letter and start time from /proc/<pid>/stat (proc(5)), null where it cannot be read. */
function processStat(pid: number): { state: string; started: string } | null {
  const line = unlessMissing(() => readFileSync(`/proc/${pid}/stat`, 'latin1'))
  if (line === null) return null
  // The second field is the command in brackets, which may itself contain blanks and brackets.
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ')
  return { state: fields[0], started: fields[19] }
}

/** What the kernel does not tell (no /proc, hidden, gone) is unknown, not an error: expiry decides then. */
function unlessMissing(read: () => string): string | null {
  try {
    return read()
  } catch {
    return null
  }
}
