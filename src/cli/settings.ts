import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { FrazilError } from '../base/index.ts'
import { loadConfig, resolveConfig } from '../engine/index.ts'
import type { Config } from '../engine/index.ts'

const defaultConfigFile = 'frazil.yaml'

/** The configuration that a command works with, and the file it came from. */
export interface Settings {
  readonly config: Config
  readonly file: string
}

/** The same, or the defaults in the current folder when no file is named and `./frazil.yaml` is not there. Throws `config`. */
export function readSettingsOrDefaults(file: string | undefined): Config {
  if (file !== undefined || existsSync(resolve(defaultConfigFile))) return readSettings(file).config
  return resolveConfig({}, { folder: process.cwd(), env: process.env })
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
