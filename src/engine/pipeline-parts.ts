import { join } from 'node:path'
import { systemClock, systemRandom } from '../base/index.ts'
import { SqliteCatalog } from '../iceberg/catalog/index.ts'
import type { Catalog } from '../iceberg/catalog/index.ts'
import type { EngineEvent } from '../observe/index.ts'
import { HttpSource, OtlpSource, createPostgresSource } from '../source/index.ts'
import type { Source, SourceParts } from '../source/index.ts'
import { locationSegment, openStore } from '../storage/index.ts'
import { Compactions, FilePool, Uploader } from '../table/index.ts'
import { addedTables } from './added-tables.ts'
import { fencedCatalog } from './lease.ts'
import { Pipeline } from './pipeline.ts'
import type { PipelineListener, PipelineOptions, PipelinePorts } from './pipeline-contract.ts'

/** Starts a pipeline in this thread with the real parts: sqlite catalog, local store, its source. It lets go of them when it is closed. */
export async function startPipeline(
  options: PipelineOptions,
  ports: PipelinePorts,
  listener: PipelineListener,
): Promise<Pipeline> {
  const files = new FilePool(ports.files)
  const compactions = new Compactions(ports.compaction)
  let catalog: Catalog | null = null
  try {
    const opened = await SqliteCatalog.open(options.catalogPath)
    catalog = opened
    const added = await addedOf(options, opened, listener)
    return await Pipeline.start(options, {
      clock: systemClock,
      random: systemRandom,
      store: openStore(options.warehouse),
      catalog: fencedCatalog(opened, options.fence),
      files,
      compactions,
      uploader: new Uploader(),
      listener,
      openSource: (parts) => openSource(options, added, parts, listener),
    })
  } catch (error) {
    // Whoever closes the engine waits until its ports are closed.
    files.close()
    compactions.close()
    await catalog?.close()
    throw error
  }
}

/** Tables that were added to the source, as far as the configuration still lets it have any. */
async function addedOf(
  { name, source, withAdded }: PipelineOptions,
  catalog: Catalog,
  listener: PipelineListener,
): Promise<readonly string[]> {
  if (source.type !== 'postgres') return []
  const added = await addedTables(catalog, name)
  if (withAdded || added.length === 0) return added
  const message = `source ${name}: tables that were added to it (${added.length}) are not read, because http.from-postgres does not name it any more`
  listener.event({
    type: 'notice',
    level: 'warn',
    message,
    hint: `name ${name} there again, or name these tables under tables of the source`,
  })
  return []
}

function openSource(
  { name, source, lakeId, local, tables }: PipelineOptions,
  added: readonly string[],
  parts: SourceParts,
  listener: PipelineListener,
): Source {
  const spool = join(local, 'spool', locationSegment(name))
  const observe = (event: EngineEvent): void => listener.event(event.type === 'retry' ? { ...event, source: name } : event)
  if (source.type === 'http') return new HttpSource({ name, spool }, parts)
  if (source.type === 'otlp') return new OtlpSource({ name, spool, ...source }, { ...parts, observe })
  return createPostgresSource(
    {
      name,
      lakeId,
      url: source.url,
      tables: source.tables,
      added,
      into: source.into,
      slot: source.slot,
      publication: source.publication,
      backlog: source.backlog,
      failover: source.failover,
      copyConnections: source.copy.connections,
      copyPartBytes: source.copy.part,
      newTablesEveryMs: source.findTables,
      newColumns: Object.keys(tables).filter((table) => tables[table].onSchemaChange === 'new-column'),
      outOfRange: source.outOfRange,
      columns: source.columns,
    },
    { ...parts, observe },
  )
}
