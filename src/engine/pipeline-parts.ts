import { systemClock, systemRandom } from '../base/index.ts'
import { SqliteCatalog } from '../iceberg/catalog/index.ts'
import { createPostgresSource } from '../source/index.ts'
import { openStore } from '../storage/index.ts'
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
      openSource: (parts) =>
        createPostgresSource(
          {
            name: options.name,
            lakeId: options.lakeId,
            url: options.source.url,
            tables: options.source.tables,
            into: options.source.into,
            slot: options.source.slot,
            publication: options.source.publication,
            backlog: options.source.backlog,
            failover: options.source.failover,
            outOfRange: options.source.outOfRange,
            columns: options.source.columns,
          },
          { ...parts, observe: (event) => listener.event(event) },
        ),
    })
  } catch (error) {
    await catalog.close()
    throw error
  }
}
