import { setTimeout as delay } from 'node:timers/promises'
import { Client } from 'pg'

/** A small shop in Postgres: what it looks like, how it begins, how it keeps changing, and what to compare. */

export const shopTables = ['customers', 'orders', 'order_lines'] as const

const initialCustomers = 2000
const initialOrders = 40_000
const initialDays = 30

const definition = `
create type order_status as enum ('placed', 'paid', 'shipped', 'returned');
create table customers (
  id bigint generated always as identity primary key,
  name text not null,
  email text not null,
  tags text[] not null default '{}',
  profile jsonb not null default '{}',
  credit numeric(12, 2) not null default 0,
  born date,
  created_at timestamptz not null default now()
);
create table orders (
  id uuid primary key default gen_random_uuid(),
  customer_id bigint not null references customers,
  status order_status not null default 'placed',
  total numeric(12, 2) not null,
  coupon text,
  placed_at timestamptz not null default clock_timestamp(),
  shipped_at timestamptz
);
create table order_lines (
  order_id uuid not null references orders on delete cascade,
  line int not null,
  product text not null,
  quantity int not null,
  price numeric(10, 2) not null,
  discounts numeric(4, 3)[] not null default '{}',
  primary key (order_id, line)
);
create index on orders (placed_at);
`

/** Customers $1 from now on; rows are computed by the server so that filling is fast. */
const addCustomers = `
insert into customers (name, email, tags, profile, credit, born)
select 'Customer ' || n, 'c' || n || '@example.com',
       (array['{}', '{new}', '{vip,early}']::text[])[1 + n % 3]::text[],
       jsonb_build_object('visits', n % 50, 'newsletter', n % 2 = 0),
       (n * 37 % 100000) / 100.0, date '1950-01-01' + (n * 7919 % 20000)
from generate_series(1, $1::int) n`

/** $1 orders of $2 customers, with two lines each, placed within the last $3 days (0: now); older ones have got somewhere. */
const addOrders = `
with placed as (
  insert into orders (customer_id, status, total, coupon, placed_at)
  select 1 + floor(random() * $2::int),
         case when $3::int = 0 then 'placed' else (array['placed', 'paid', 'shipped', 'shipped', 'returned'])[1 + floor(random() * 5)] end::order_status,
         round((5 + random() * 495)::numeric, 2),
         case when random() < 0.1 then 'WELCOME' end,
         clock_timestamp() - random() * make_interval(days => $3::int)
  from generate_series(1, $1::int)
  returning id, total
)
insert into order_lines (order_id, line, product, quantity, price, discounts)
select id, line, (array['lamp', 'chair', 'desk', 'shelf', 'rug'])[1 + floor(random() * 5)],
       1 + floor(random() * 4), round(total / 2, 2), case when random() < 0.2 then '{0.05,0.1}' else '{}' end::numeric(4, 3)[]
from placed, generate_series(1, 2) line`

/** $1 orders move on, from a moment by chance: placed → paid → shipped, and a few shipped ones come back. */
const moveOrders = `
with moving as (
  select id from orders
  where placed_at >= (select min(placed_at) + random() * (max(placed_at) - min(placed_at)) from orders)
    and (status in ('placed', 'paid') or status = 'shipped' and random() < 0.02)
  order by placed_at limit $1
)
update orders set
  status = case status when 'placed' then 'paid' when 'paid' then 'shipped' else 'returned' end::order_status,
  shipped_at = case when status = 'paid' then clock_timestamp() else shipped_at end
from moving where orders.id = moving.id`

const touchCustomers = `
update customers set credit = credit + 1.25, profile = jsonb_set(profile, '{visits}', to_jsonb((profile->>'visits')::int + 1))
where id = any (select 1 + floor(random() * $2::int)::bigint from generate_series(1, $1::int))`

/** The oldest orders go, with their lines. */
const dropOrders = `delete from orders where id in (select id from orders order by placed_at limit $1)`

/** Creates and fills the shop. Done in one transaction: a shop is there completely or not at all. */
export async function createShop(client: Client): Promise<void> {
  await client.query('begin')
  await client.query(definition)
  await client.query(addCustomers, [initialCustomers])
  await client.query(addOrders, [initialOrders, initialCustomers, initialDays])
  await client.query('commit')
  await client.query('analyze')
}

export async function shopExists(client: Client): Promise<boolean> {
  const { rows } = await client.query<{ there: boolean }>(`select to_regclass('public.order_lines') is not null as there`)
  return rows[0].there
}

/** Transactions a second, and orders placed in each; a fifth as many are dropped. */
const transactionsPerSecond = 20
const ordersPerTransaction = 25

/** Changes the shop at a steady rate until `signal` aborts. */
export async function keepShopBusy(client: Client, signal: AbortSignal): Promise<void> {
  let next = performance.now()
  while (!signal.aborted) {
    await client.query('begin')
    await client.query(addOrders, [ordersPerTransaction, initialCustomers, 0])
    await client.query(moveOrders, [ordersPerTransaction * 2])
    await client.query(touchCustomers, [10, initialCustomers])
    await client.query(dropOrders, [ordersPerTransaction / 5])
    await client.query('commit')
    next = Math.max(next + 1000 / transactionsPerSecond, performance.now() - 1000)
    await delay(Math.max(0, next - performance.now()), undefined, { signal }).catch(() => {})
  }
}

/** What people watch: it moves while the shop does. */
export const watchedQuery = `select status, count(*) as orders, sum(total) as revenue, max(placed_at) as latest
from shop.orders group by status order by orders desc`

/** For each table a statement that both sides understand, whose answers must be equal. */
export const comparisons: Readonly<Record<(typeof shopTables)[number], string>> = {
  customers:
    'select count(*) as n, cast(sum(credit) as varchar) as total, cast(max(id) as varchar) as last from {schema}.customers',
  orders: `select count(*) as n, cast(sum(total) as varchar) as total,
    cast(min(cast(id as varchar)) as varchar) as last from {schema}.orders`,
  order_lines: `select count(*) as n, cast(sum(price * quantity) as varchar) as total,
    cast(min(cast(order_id as varchar)) as varchar) as last from {schema}.order_lines`,
}

/** Connects; the caller ends the client. */
export async function connectShop(url: string): Promise<Client> {
  const client = new Client({ connectionString: url, application_name: 'frazil demo' })
  // A server that goes away shows in the next query; without a listener it would end the process.
  client.on('error', () => {})
  await client.connect()
  return client
}

/** The configuration of the demo, as `frazil.yaml` says it. */
export function demoYaml(url: string, httpPort: number): string {
  return `# Written by frazil demo, anew at each start.
warehouse: .
local: ./.frazil
listen: 127.0.0.1:${httpPort}
memory: 256MB
commit: { every: 2s }
sources:
  shop:
    type: postgres
    url: ${url}
    tables: [${shopTables.map((table) => `public.${table}`).join(', ')}]
`
}
