import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ControlConnection } from '../../../src/source/postgres/control-connection.ts'
import { postgresForFile } from '../../support/postgres-for-file.ts'

const applicationName = 'frazil_control'
const { server, client } = await postgresForFile()

/** Pids of connections that have said who they are. */
async function connections(): Promise<number[]> {
  const { rows } = await client.query<{ pid: number }>('select pid from pg_stat_activity where application_name = $1', [
    applicationName,
  ])
  return rows.map(({ pid }) => pid)
}

test('a question is asked once more when its connection has gone', { timeout: 300_000 }, async () => {
  const control = new ControlConnection({ url: server.url, applicationName })
  const pids: number[] = []
  const answer = await control.ask(async (asked) => {
    const { rows } = await asked.query<{ pid: number }>('select pg_backend_pid() as pid')
    pids.push(rows[0].pid)
    if (pids.length === 1) {
      await client.query('select pg_terminate_backend($1)', [pids[0]])
      await asked.query('select 1')
    }
    return pids.length
  })
  assert.equal(answer, 2)
  assert.notEqual(pids[0], pids[1])
  await control.close()
})

test('a connection that was closed is not made again for whoever still asks', { timeout: 300_000 }, async () => {
  const control = new ControlConnection({ url: server.url, applicationName })
  const asking = Promise.withResolvers<void>()
  let times = 0
  // The server has no answer to this before the connection is closed.
  const first = control.ask(async (asked) => {
    times++
    const answer = asked.query('select pg_sleep(600)')
    asking.resolve()
    await answer
  })
  const second = control.ask(async () => {
    times++
  })
  const ended = Promise.all([
    assert.rejects(first, { kind: 'unavailable' }),
    assert.rejects(second, { kind: 'unavailable', code: 'closed' }),
  ])
  await asking.promise
  const before = await connections()
  await control.close()
  await ended
  await assert.rejects(
    control.ask(async () => undefined),
    { kind: 'unavailable', code: 'closed' },
  )
  assert.equal(times, 1)
  // The server itself finds out later that nobody waits for the first answer.
  assert.deepEqual(
    (await connections()).filter((pid) => !before.includes(pid)),
    [],
  )
})
