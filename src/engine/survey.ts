import { assert } from '../base/index.ts'
import { surveyPostgresSource } from '../source/index.ts'
import type { SurveyedSource } from '../source/index.ts'
import { resolveConfig } from './config.ts'
import type { ReferenceParts } from './references.ts'
import { revealed } from './sources.ts'

/** A database as a first configuration would mirror it. */
export interface Survey extends SurveyedSource {
  /** Template of Iceberg names under which no two tables meet, null for the default. */
  readonly into: string | null
}

/** Templates of Iceberg names; the first that keeps all tables apart is taken, or else the last. */
const templates = ['{source}.{schema}_{table}', '{source}_{schema}.{table}']

/**
 * Looks at all tables of a database. `url` may have references as in a configuration. Throws `config` for a URL that is none,
 * and what keeps the database from being asked.
 */
export async function surveyDatabase(name: string, url: string, parts: ReferenceParts): Promise<Survey> {
  const survey = async (into: string | null): Promise<Survey> => {
    const source = { type: 'postgres', url, tables: ['*.*'], ...(into === null ? {} : { into }) }
    const config = resolveConfig({ sources: { [name]: source } }, parts)
    const found = config.sources[name]
    assert(found.type === 'postgres', 'it was made one above')
    return { ...(await surveyPostgresSource({ name, ...revealed(found) })), into }
  }
  let found = await survey(null)
  for (const into of templates) {
    if (!found.findings.some(({ code }) => code === 'same-name-twice')) break
    found = await survey(into)
  }
  return found
}
