import { Command, CommanderError } from 'commander'
import { addCheckCommand } from './check.ts'
import { addDemoCommand } from './demo-command.ts'
import { addDropCommand } from './drop.ts'
import { errorText, exitCodeOf, exitCodes } from './exit.ts'
import { addInitCommand } from './init.ts'
import { addOptimizeCommand } from './optimize.ts'
import { addQueryCommand } from './query.ts'
import { addResyncCommand } from './resync.ts'
import { addRunCommand } from './run.ts'
import { addTablesCommand } from './tables.ts'
import { packageVersion } from './version.ts'

const program = new Command('frazil')
  .description(
    'Streams Postgres, HTTP events and OpenTelemetry into Apache Iceberg tables and answers queries over hot and cold rows as one table.',
  )
  .version(packageVersion(), '-V, --version')
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(`frazil: ${text.replace(/^error: /, '')}`) })
  .showSuggestionAfterError()
addDemoCommand(program)
addInitCommand(program)
addRunCommand(program)
addCheckCommand(program)
addQueryCommand(program)
addTablesCommand(program)
addOptimizeCommand(program)
addResyncCommand(program)
addDropCommand(program)
program.addHelpText('after', '\nEverything about the configuration file: docs/configuration.md; exit codes: docs/operations.md.')

// A reader that has seen enough (`frazil query … | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(exitCodes.done)
  throw error
})

/** What still holds the process when the work is done (a socket on its way out) may do so for this long. */
const lingerMs = 2000

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? exitCodes.done : exitCodes.usage
  } else {
    process.stderr.write(errorText(error))
    process.exitCode = exitCodeOf(error)
  }
}
setTimeout(() => process.exit(), lingerMs).unref()
