import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { FrazilError } from '../base/index.ts'
import { loadConfig } from '../engine/index.ts'
import type { Config } from '../engine/index.ts'

const defaultConfigFile = 'frazil.yaml'

/** The configuration that a command works with, and the file it came from. */
export interface Settings {
  readonly config: Config
  readonly file: string
}

/** Reads `file`, or `./frazil.yaml` when none is named. Throws `config`. */
export function readSettings(file: string | undefined): Settings {
  const path = resolve(file ?? defaultConfigFile)
  if (file === undefined && !existsSync(path)) {
    throw new FrazilError('config', 'config-missing', `there is no ${defaultConfigFile} in ${process.cwd()}`, {
      hint: 'name one with --config, or see what frazil does first: frazil demo',
    })
  }
  return { config: loadConfig(path, process.env), file: path }
}
