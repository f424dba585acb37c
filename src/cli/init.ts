import { writeFileSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import type { Command } from 'commander'
import { FrazilError, asError } from '../base/index.ts'
import { surveyDatabase } from '../engine/index.ts'
import { configText, sourceNameOf, writableUrl } from './config-text.ts'

interface InitOptions {
  readonly out: string
  readonly name?: string
  readonly force?: boolean
}

export function addInitCommand(program: Command): void {
  program
    .command('init')
    .description('looks at a database and writes a commented frazil.yaml that mirrors all of its tables')
    .argument('<url>', 'postgres://user:password@host:port/database; the password is not written, but where it comes from')
    .option('-o, --out <file>', 'the file to write; - for the standard output', 'frazil.yaml')
    .option('-n, --name <source>', 'name of the source, and namespace of its tables (default: that of the database)')
    .option('--force', 'replace a file that is there')
    .action((url: string, options: InitOptions) => init(url, options))
}

async function init(url: string, options: InitOptions): Promise<void> {
  if (!/^postgres(?:ql)?:\/\//.test(url)) {
    throw new FrazilError('request', 'not-available-yet', 'only Postgres databases can be looked at in this version', {
      hint: 'frazil init postgres://user:password@host:5432/database',
    })
  }
  const file = options.out === '-' ? null : resolve(options.out)
  const written = writableUrl(url, process.env)
  const name = options.name ?? sourceNameOf(url)
  const survey = await surveyDatabase(name, written.text, {
    env: written.env,
    folder: file === null ? process.cwd() : dirname(file),
  })
  const text = configText({ name, url: written.text, survey })
  if (file === null) {
    process.stdout.write(text)
    return
  }
  write(file, text, options.force ?? false)
  const { tables, leftOut } = survey
  process.stdout.write(`wrote ${file}: ${tables.length} ${tables.length === 1 ? 'table' : 'tables'}\n`)
  if (leftOut.length > 0) {
    process.stdout.write(`${leftOut.length} cannot be mirrored as they are: the file says why, and what lets them in\n`)
  }
  for (const variable of written.variables) {
    if (process.env[variable] === undefined) process.stdout.write(`set the password first: export ${variable}=…\n`)
  }
  const named = basename(file) === 'frazil.yaml' && dirname(file) === process.cwd() ? '' : ` ${file}`
  process.stdout.write(`next: frazil check${named}, then frazil run${named}\n`)
}

function write(file: string, text: string, force: boolean): void {
  try {
    writeFileSync(file, text, { flag: force ? 'w' : 'wx' })
  } catch (error) {
    const exists = error instanceof Error && 'code' in error && error.code === 'EEXIST'
    if (exists) {
      throw new FrazilError('request', 'config-exists', `${file} is there already`, {
        hint: 'name another file with --out, or replace it with --force',
      })
    }
    throw new FrazilError('config', 'no-access', `${file} cannot be written: ${asError(error).message}`, { cause: error })
  }
}
