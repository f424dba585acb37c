import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Interface } from 'node:readline'
import { errorText } from './exit.ts'
import type { LakeAccess } from './lake-access.ts'
import { tablesText } from './tables.ts'

export interface PromptOptions {
  readonly lake: LakeAccess
  /** Directory that keeps the history of statements. */
  readonly history: string
  /** Runs a statement and prints its answer. */
  answer(sql: string): Promise<void>
}

const historyLines = 1000

/** Statements from a terminal, each ended by `;`, over as many lines as it takes. `\d` lists tables, `\q` or Ctrl-D ends. */
export async function runPrompt(options: PromptOptions): Promise<void> {
  const file = join(options.history, 'query-history')
  const history = await readHistory(file)
  process.stdout.write(`Reading ${options.lake.origin}. End a statement with ; — \\d lists the tables, \\q ends.\n`)
  const terminal = createInterface({
    input: process.stdin,
    output: process.stdout,
    history: [...history].reverse(),
    historySize: historyLines,
  })
  let statement = ''
  terminal.on('SIGINT', () => {
    // As in a shell: Ctrl-C forgets what was typed.
    statement = ''
    process.stdout.write('\n')
    ask(terminal, false)
  })
  ask(terminal, false)
  for await (const line of terminal) {
    const command = line.trim()
    if (statement === '' && (command === '\\q' || command === 'exit' || command === 'quit')) break
    if (statement === '' && command === '\\d') {
      await attempt(async () => process.stdout.write(tablesText(await options.lake.status(), process.stdout.columns)))
    } else {
      statement += statement === '' ? line : `\n${line}`
      if (command.endsWith(';')) {
        const sql = statement
        statement = ''
        await attempt(() => options.answer(sql))
        history.push(sql.replaceAll('\n', ' '))
      } else if (statement.trim() === '') {
        statement = ''
      }
    }
    ask(terminal, statement !== '')
  }
  terminal.close()
  await mkdir(options.history, { recursive: true })
  await writeFile(file, history.slice(-historyLines).join('\n'), { mode: 0o600 })
}

function ask(terminal: Interface, inside: boolean): void {
  terminal.setPrompt(inside ? '     -> ' : 'frazil> ')
  terminal.prompt()
}

async function attempt(action: () => Promise<unknown>): Promise<void> {
  try {
    await action()
  } catch (error) {
    process.stderr.write(errorText(error))
  }
}

async function readHistory(file: string): Promise<string[]> {
  try {
    return (await readFile(file, 'utf8')).split('\n').filter((line) => line !== '')
  } catch {
    return [] // the first prompt in this lake
  }
}
