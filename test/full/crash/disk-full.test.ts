import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { EngineStatus } from '../../../src/index.ts'
import { Mirror } from '../../support/crash.ts'
import { startPostgres } from '../../support/postgres.ts'

// A small file system of its own needs no rights where user namespaces are allowed.
const namespace = ['unshare', '--user', '--map-root-user', '--mount', '--']
const allowed = spawnSync(namespace[0], [...namespace.slice(1), 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0
const skip = allowed ? false : 'user namespaces with mounts are not allowed here'

test('a full disk pauses commits; when there is room again nothing is missing', { skip, timeout: 400_000 }, async () => {
  const server = await startPostgres()
  const mirror = await Mirror.create({ url: server.url, seed: 31, writers: 1 })
  try {
    const lake = join(mirror.folder, 'lake')
    const script = 'mkdir -p "$0" && mount -t tmpfs -o size=64m tmpfs "$0" && exec "$@"'
    const daemon = await mirror.daemon({ wrapper: [...namespace, 'sh', '-c', script, lake] })
    await daemon.ready()
    // The mount is only there for the daemon: through its root we reach it too.
    const ballast = join(`/proc/${daemon.pid}/root`, lake, 'ballast')
    await fill(ballast)
    mirror.load()
    const reason = async (): Promise<string | null> => {
      const { sources } = JSON.parse((await daemon.get('/tables')).text) as EngineStatus
      return sources.find(({ type }) => type === 'postgres')?.reason ?? null
    }
    await daemon.until('it says that the disk is full', async () => {
      return /disk is full/.test((await reason()) ?? '')
    })
    await rm(ballast)
    await daemon.until('it says nothing any more', async () => (await reason()) === null)
    await mirror.calm()
    await mirror.same(daemon, 'after the disk was full')
    assert.equal(await daemon.terminate(), 0, daemon.log)
  } finally {
    await mirror.end()
    await server.stop()
  }
})

async function fill(path: string): Promise<void> {
  const block = Buffer.alloc(2 ** 20)
  try {
    for (;;) await writeFile(path, block, { flag: 'a' })
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC')
  }
}
