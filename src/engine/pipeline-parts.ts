import { join } from 'node:path'
import { systemClock, systemRandom } from '../base/index.ts'
import { SqliteCatalog } from '../iceberg/catalog/index.ts'
import type { EngineEvent } from '../observe/index.ts'
import { HttpSource, OtlpSource, createPostgresSource } from '../source/index.ts'
import type { Source, SourceParts } from '../source/index.ts'
import { locationSegment, openStore } from '../storage/index.ts'
import { Compactions, FilePool } from '../table/index.ts'
import { fencedCatalog } from './lease.ts'
import { Pipeline } from './pipeline.ts'
import type { PipelineListener, PipelineOptions, PipelinePorts } from './pipeline-contract.ts'

/** Starts a pipeline in this thread with the real parts: sqlite catalog, local store, its source. */
export async function startPipeline(
  options: PipelineOptions,
  ports: PipelinePorts,
  listener: PipelineListener,
): Promise<Pipeline> {
  const catalog = await SqliteCatalog.open(options.catalogPath)
  try {
    return await Pipeline.start(options, {
      clock: systemClock,
      random: systemRandom,
      store: openStore(options.warehouse),
      catalog: fencedCatalog(catalog, options.fence),
      files: new FilePool(ports.files),
      compactions: new Compactions(ports.compaction),
      listener,
      openSource: (parts) => openSource(options, parts, listener),
    })
  } catch (error) {
    await catalog.close()
    throw error
  }
}

function openSource(
  { name, source, lakeId, local, tables }: PipelineOptions,
  parts: SourceParts,
  listener: PipelineListener,
): Source {
  const spool = join(local, 'spool', locationSegment(name))
  const observe = (event: EngineEvent): void => listener.event(event)
  if (source.type === 'http') return new HttpSource({ name, spool }, parts)
  if (source.type === 'otlp') return new OtlpSource({ name, spool, ...source }, { ...parts, observe })
  return createPostgresSource(
    {
      name,
      lakeId,
      url: source.url,
      tables: source.tables,
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
