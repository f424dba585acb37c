import type { Command } from 'commander'
import { FrazilError, nearest } from '../base/index.ts'
import { requestResync } from '../engine/index.ts'
import { callDaemon, findDaemon } from './daemon.ts'
import type { Daemon } from './daemon.ts'
import { errorText, exitCodeOf } from './exit.ts'
import { readSettingsOrDefaults } from './settings.ts'

export function addResyncCommand(program: Command): void {
  program
    .command('resync')
    .description(
      'copies a table again beside its rows and swaps them in one commit, or, where programs send its rows, has a detached one take rows again; a source: all of its tables',
    )
    .argument('<table>', 'namespace.table, or the name of a source')
    .option('-c, --config <file>', 'configuration file (default: ./frazil.yaml)')
    .action(async (target: string, options: { config?: string }) => {
      const config = readSettingsOrDefaults(options.config)
      const daemon = await findDaemon(config)
      if (!daemon) {
        const tables = await requestResync(config, target)
        process.stdout.write(tables.map((table) => `${table} will be copied again by the next frazil run\n`).join(''))
        return
      }
      if (target.indexOf('.') > 0) {
        process.stdout.write(await resync(daemon, target))
        return
      }
      for (const name of await tablesOf(daemon, target)) {
        try {
          process.stdout.write(await resync(daemon, name))
        } catch (error) {
          if (!(error instanceof FrazilError) || error.code === 'daemon-gone') throw error
          if (error.code === 'nothing-to-copy') {
            process.stdout.write(`${name} is not detached: there is nothing to do\n`)
            continue
          }
          // The others go on.
          process.stderr.write(errorText(error))
          process.exitCode = exitCodeOf(error)
        }
      }
    })
}

/** Returns what the daemon does with a table, as a line. */
async function resync(daemon: Daemon, name: string): Promise<string> {
  const [database, table] = [name.slice(0, name.indexOf('.')), name.slice(name.indexOf('.') + 1)]
  const answer = await callDaemon(daemon, `/tables/${encodeURIComponent(table)}/resync`, { database, table })
  const { state } = (await answer.json()) as { state: string }
  const what = state === 'copying' ? 'is being copied again: frazil tables shows how far it is' : 'takes rows again'
  return `${name} ${what}\n`
}

/** Tables of a source. Throws `request` where there are none. */
async function tablesOf(daemon: Daemon, source: string): Promise<string[]> {
  const response = await callDaemon(daemon, '/tables')
  const { tables } = (await response.json()) as { tables: { source: string; database: string; table: string }[] }
  const named = tables.map((table) => ({ source: table.source, name: `${table.database}.${table.table}` }))
  const found = named.filter((table) => table.source === source).map(({ name }) => name)
  if (found.length > 0) return found
  const known = [...new Set(named.map((table) => table.source)), ...named.map(({ name }) => name)]
  const near = nearest(source, known)
  throw new FrazilError('request', 'unknown-table', `there is no table ${source}, and no source of that name that has tables`, {
    hint: near === null ? 'frazil tables shows what there is' : `did you mean ${near}?`,
  })
}
