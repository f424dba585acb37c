import { ColdFile } from './cold-file.ts'
import type { DataFile } from '../iceberg/index.ts'
import type { KeyRun } from './key-run.ts'
import { killOlder } from './outdated-rows.ts'

/** Files that come into a table from outside, with rows of their own. */
export interface TakenFiles {
  /** Oldest first; without a key there are no runs. */
  readonly files: readonly { readonly file: DataFile; readonly run: KeyRun | null }[]
  /** Properties that the table gets together with them. */
  readonly properties: Readonly<Record<string, string>>
}

/**
 * Adds such files to those of a table (all its rows are in files if it has a key) as of source commit `commit`: of rows with one key
 * those that came last are left. Yields keys; returns all files.
 */
export function* addTaken(
  files: readonly ColdFile[],
  { files: taken }: TakenFiles,
  commit: number,
): Generator<number, ColdFile[]> {
  const all = [...files]
  for (const { file, run } of taken) {
    const fresh = new ColdFile(file, run, { since: commit })
    yield* killOlder(all, fresh, commit)
    all.push(fresh)
  }
  return all
}

/** Properties that a table has got by source commits, until a lake commit has them. */
export class PendingProperties {
  #pending: { readonly since: number; readonly properties: TakenFiles['properties'] }[] = []

  set(commit: number, properties: TakenFiles['properties']): void {
    this.#pending.push({ since: commit, properties })
  }

  /** Those of source commit `commit` and before. */
  at(commit: number): TakenFiles['properties'] {
    const all: Record<string, string> = {}
    for (const { since, properties } of this.#pending) if (since <= commit) Object.assign(all, properties)
    return all
  }

  /** What a property is going to be; undefined: what it is in the lake. */
  newest(name: string): string | undefined {
    return this.#pending.findLast(({ properties }) => name in properties)?.properties[name]
  }

  /** The lake has those. */
  settle(commit: number): void {
    this.#pending = this.#pending.filter(({ since }) => since > commit)
  }
}
