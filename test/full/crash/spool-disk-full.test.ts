import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Daemon } from '../../support/daemon.ts'

// A small file system of its own needs no rights where user namespaces are allowed.
const namespace = ['unshare', '--user', '--map-root-user', '--mount', '--']
const allowed = spawnSync(namespace[0], [...namespace.slice(1), 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0
const skip = allowed ? false : 'user namespaces with mounts are not allowed here'

test(
  'a full disk of the spool: 507 and nothing stored, what was stored stays, and with room it goes on',
  { skip, timeout: 400_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'frazil-spool-full-'))
    const local = join(folder, 'local')
    const script = 'mkdir -p "$0" && mount -t tmpfs -o size=16m tmpfs "$0" && exec "$@"'
    const daemon = await Daemon.spawn({
      folder,
      config: { warehouse: './lake', local: './local', commit: { every: '1h' } },
      wrapper: [...namespace, 'sh', '-c', script, local],
    })
    try {
      await daemon.ready()
      const schema = [{ name: 'id', data_type: 'int64', nullable: false }]
      const made = await daemon.post('/tables/t', { database: 'app', table: 't', schema })
      assert.equal(made.status, 200, made.text)
      const rows = (from: number, count: number): object[] => Array.from({ length: count }, (_, i) => ({ id: from + i }))
      assert.equal((await daemon.post('/ingest/t', rows(1, 100))).status, 200)
      // The mount is only there for the daemon: through its root we reach it too.
      const ballast = join(`/proc/${daemon.pid}/root`, local, 'ballast')
      await fill(ballast)
      // More than the spool has prepared room for.
      for (let i = 0; i < 3; i++) {
        const refused = await daemon.post('/ingest/t', rows(1000, 200_000))
        assert.deepEqual([refused.status, (JSON.parse(refused.text) as { code: string }).code], [507, 'disk-full'])
      }
      assert.deepEqual((await daemon.query('select count(*), max(id) from app.t')).rows, [['100', '100']])
      await rm(ballast)
      assert.equal((await daemon.post('/ingest/t', rows(101, 50_000))).status, 200)
      await daemon.commit('app', 't')
      assert.deepEqual((await daemon.query('select count(*), count(distinct id), max(id) from app.t')).rows, [
        ['50100', '50100', '50100'],
      ])
      assert.equal(await daemon.terminate(), 0, daemon.log)
    } finally {
      await daemon.kill()
      await rm(folder, { recursive: true, force: true })
    }
  },
)

async function fill(path: string): Promise<void> {
  for (const size of [2 ** 20, 4096]) {
    try {
      for (;;) await writeFile(path, Buffer.alloc(size), { flag: 'a' })
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC')
    }
  }
}
