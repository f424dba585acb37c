import { join } from 'node:path'
import { Daemon } from '../../test/support/daemon.ts'

export interface MeasuredDaemonOptions {
  /** Holds configuration, lake and profiles. */
  readonly folder: string
  readonly url: string
  readonly tables: readonly string[]
  readonly memory: string
  readonly profile: boolean
  /** How a slot that is far behind is read. */
  readonly backlog: 'sql' | 'stream'
}

/** The daemon with defaults but for its memory, on tables of source `bench`; answers already. */
export async function startMeasured(options: MeasuredDaemonOptions): Promise<Daemon> {
  const daemon = await Daemon.spawn({
    folder: options.folder,
    config: {
      warehouse: './lake',
      local: './local',
      memory: options.memory,
      sources: { bench: { type: 'postgres', url: options.url, tables: options.tables, backlog: options.backlog } },
    },
    nodeFlags: options.profile ? ['--cpu-prof', `--cpu-prof-dir=${join(options.folder, 'profiles')}`] : [],
  })
  await daemon.answering()
  return daemon
}
