import { readFileSync } from 'node:fs'

/** Resident memory of a process (Linux), in bytes: all of it, and what is not code or other files (heaps, pool, stacks). */
interface Resident {
  readonly all: number
  readonly anonymous: number
}

/** Looks at a process's memory every second and remembers the most of each phase. */
export class RssWatch {
  readonly #pid: number
  readonly #timer: NodeJS.Timeout
  readonly #started = performance.now()
  readonly #peaks = new Map<string, Resident>()
  #phase = 'start'
  /** `seconds phase MB`, every so many seconds. */
  readonly lines: string[] = []
  #nextLine = 0
  readonly #lineEverySeconds: number

  constructor(pid: number, lineEverySeconds: number) {
    this.#pid = pid
    this.#lineEverySeconds = lineEverySeconds
    this.#timer = setInterval(() => this.#look(), 1000)
    this.#timer.unref()
    this.#look()
  }

  phase(name: string): void {
    this.#look()
    this.#phase = name
    this.#nextLine = 0
    this.#look()
  }

  /** The most of a phase, or of all of them. */
  peak(phase?: string): Resident {
    const seen = [...this.#peaks].filter(([name]) => phase === undefined || name === phase).map(([, resident]) => resident)
    const none = { all: 0, anonymous: 0 }
    return seen.reduce((most, one) => (one.all > most.all ? one : most), none)
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    const resident = readResident(this.#pid)
    if (!resident) return
    const most = this.#peaks.get(this.#phase)
    if (!most || resident.all > most.all) this.#peaks.set(this.#phase, resident)
    const seconds = (performance.now() - this.#started) / 1000
    if (seconds < this.#nextLine) return
    this.#nextLine = seconds + this.#lineEverySeconds
    const mb = (bytes: number): string => (bytes / 1e6).toFixed(0)
    const line = `${seconds.toFixed(0)} s, ${this.#phase}: ${mb(resident.all)} MB (anonymous ${mb(resident.anonymous)})`
    this.lines.push(line)
    console.error(line)
  }
}

function readResident(pid: number): Resident | null {
  let status: string
  try {
    status = readFileSync(`/proc/${pid}/status`, 'latin1')
  } catch {
    return null // it has ended
  }
  const of = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0) * 1024
  return { all: of('VmRSS'), anonymous: of('RssAnon') }
}
