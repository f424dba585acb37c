import { text } from 'node:stream/consumers'
import type { Command } from 'commander'
import { Option } from 'commander'
import { FrazilError } from '../base/index.ts'
import { answerTable } from './answer-table.ts'
import { accessLake } from './lake-access.ts'
import type { LakeAccess } from './lake-access.ts'
import { runPrompt } from './prompt.ts'
import { readSettingsOrDefaults } from './settings.ts'

type OutputFormat = 'table' | 'json' | 'csv' | 'arrow'

interface QueryOptions {
  readonly config?: string
  readonly format: OutputFormat
  readonly wait?: boolean
}

/** Rows of an answer that are laid out on a terminal; a pipe gets all of them. */
const maxTerminalRows = 1000

export function addQueryCommand(program: Command): void {
  program
    .command('query')
    .description('SQL over hot and cold rows, against the running daemon, or read-only on the lake when none runs')
    .argument('[sql]', 'one statement; without it: a prompt, or the statement from standard input')
    .option('-c, --config <file>', 'configuration file (default: ./frazil.yaml)')
    .addOption(
      new Option('-f, --format <format>', 'how to print the answer').choices(['table', 'json', 'csv', 'arrow']).default('table'),
    )
    .option('-w, --wait', 'first wait for everything that has happened at the sources until now')
    .action(async (sql: string | undefined, options: QueryOptions) => {
      const config = readSettingsOrDefaults(options.config)
      const statement = sql ?? (process.stdin.isTTY ? null : await text(process.stdin))
      if (statement?.trim() === '') throw nothingAsked(sql === undefined)
      const lake = await accessLake(config)
      try {
        const print = (one: string): Promise<void> => answer(lake, one, options)
        if (statement !== null) await print(statement)
        else await runPrompt({ lake, history: config.local, answer: print })
      } finally {
        await lake.close()
      }
    })
}

function nothingAsked(isPiped: boolean): FrazilError {
  const message = isPiped ? 'no statement was given, and standard input is empty' : 'the statement is empty'
  return new FrazilError('request', 'one-statement', message, {
    hint: 'frazil query "select …", or echo "select …" | frazil query; on a terminal frazil query alone is a prompt.',
  })
}

async function answer(lake: LakeAccess, sql: string, options: QueryOptions): Promise<void> {
  const wait = options.wait ?? false
  if (options.format === 'arrow' && process.stdout.isTTY) {
    throw new FrazilError('request', 'bad-parameter', 'an Arrow stream is not for a terminal', {
      hint: 'Send it into a file: frazil query --format arrow "…" > answer.arrows',
    })
  }
  if (options.format !== 'table') {
    const { body } = await lake.query(sql, { as: options.format, wait })
    process.stdout.write(body)
    if (options.format === 'json') process.stdout.write('\n')
    return
  }
  const found = await lake.query(sql, { as: 'rows', wait })
  const limits = process.stdout.isTTY ? { width: process.stdout.columns, maxRows: maxTerminalRows } : {}
  process.stdout.write(answerTable(found, limits))
}
