import { readFileSync, readdirSync } from 'node:fs'

/** What a process (Linux) has used. */
export interface ProcessCost {
  /** User and system time of all its threads, in seconds. */
  readonly cpuSeconds: number
  /** Largest resident size so far, in bytes. */
  readonly peakBytes: number
}

const ticksPerSecond = 100 // USER_HZ, the same on every Linux that Node runs on

interface Stat {
  readonly parent: number
  readonly own: number
  readonly reaped: number
}

function readStat(pid: number): Stat | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The name in parentheses may contain anything; the numbered fields (proc(5)) begin at 3 after it.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    const field = (number: number): number => Number(fields[number - 3])
    return { parent: field(4), own: field(14) + field(15), reaped: field(16) + field(17) }
  } catch {
    return null
  }
}

export function processCost(pid: number): ProcessCost {
  const stat = readStat(pid)
  if (!stat) throw new Error(`process ${pid} is gone`)
  const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))
  return { cpuSeconds: stat.own / ticksPerSecond, peakBytes: Number(peak?.[1] ?? 0) * 1024 }
}

/** CPU seconds of a process and its children, those that have ended included. */
export function familyCpuSeconds(pid: number): number {
  const root = readStat(pid)
  if (!root) throw new Error(`process ${pid} is gone`)
  const children = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => readStat(Number(name)))
    .filter((stat) => stat?.parent === pid)
  return (root.own + root.reaped + children.reduce((sum, stat) => sum + (stat?.own ?? 0), 0)) / ticksPerSecond
}
