import type { Config, Engine, EngineOptions } from '../../src/engine/index.ts'
import * as product from '../../src/engine/index.ts'
import { checkClosed } from './check-lake.ts'

/** Engines of tests: as the product opens them, and when one is closed, all commits of its lake are checked ({@link checkClosed}). */

export async function openEngine(config: Config, options?: EngineOptions): Promise<Engine> {
  const engine = await product.openEngine(config, options)
  checkWhenClosed(engine, config.warehouse)
  return engine
}

export async function open(input: product.ConfigInput, options: product.OpenOptions = {}): Promise<product.Frazil> {
  const lake = await product.open(input, options)
  const { warehouse } = product.resolveConfig(input, { folder: options.folder ?? process.cwd(), env: process.env })
  checkWhenClosed(lake.engine, warehouse)
  return lake
}

function checkWhenClosed(engine: Engine, warehouse: string): void {
  const close = engine.close.bind(engine)
  const closeAndCheck = async (): Promise<void> => {
    try {
      await close()
    } finally {
      await checkClosed(warehouse)
    }
  }
  let closing: Promise<void> | null = null
  engine.close = () => (closing ??= closeAndCheck())
}
