import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const program = fileURLToPath(new URL('../../bin/frazil.js', import.meta.url))

export interface Finished {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

export interface Running {
  readonly process: ChildProcess
  readonly finished: Promise<Finished>
  /** The first line of standard output that has `text`; rejects when the command ends before. */
  line(text: string): Promise<string>
}

export interface StartOptions {
  readonly cwd?: string
  readonly input?: string
  readonly env?: Readonly<Record<string, string>>
  /** Flags of Node itself. */
  readonly nodeFlags?: readonly string[]
}

/** Starts the real command in a process of its own. */
export function start(args: readonly string[], options: StartOptions = {}): Running {
  const child = spawn(process.execPath, [...(options.nodeFlags ?? []), program, ...args], {
    cwd: options.cwd,
    env: { ...process.env, NODE_TEST_CONTEXT: undefined, ...options.env },
  })
  let out = ''
  let err = ''
  const waiting: { text: string; resolve: (line: string) => void; reject: (error: Error) => void }[] = []
  const complete = (text: string): string | undefined =>
    out
      .slice(0, out.lastIndexOf('\n') + 1)
      .split('\n')
      .find((line) => line.includes(text))
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    out += chunk
    for (const each of waiting) {
      const line = complete(each.text)
      if (line !== undefined) each.resolve(line)
    }
  })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (err += chunk))
  child.stdin.on('error', () => {}) // a command that ended before it read everything
  child.stdin.end(options.input ?? '')
  const finished = new Promise<Finished>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      for (const each of waiting) each.reject(new Error(`ended with ${code} before it printed "${each.text}":\n${out}\n${err}`))
      resolve({ code, out, err })
    })
  })
  const line = (text: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const found = complete(text)
      if (found === undefined) waiting.push({ text, resolve, reject })
      else resolve(found)
    })
  return { process: child, finished, line }
}

/** Runs the real command to its end. */
export function frazil(args: readonly string[], options: StartOptions = {}): Promise<Finished> {
  return start(args, options).finished
}
