-- Identifiers are UUIDv7, made by the service: their order is close to the order of creation, so indexes grow at one end.
-- Texts that are sorted or compared use the C collation: the same order on every server, and keyset pages rely on it.

create table api_keys (
  id uuid primary key,
  name text not null,
  scopes text[] not null,
  prefix text not null,
  -- SHA-256. The key has 192 random bits, so a slow hash would protect nothing and cost every request.
  key_hash bytea not null unique,
  expires_at timestamptz(3),
  created_at timestamptz(3) not null default now()
);

create table idempotency_keys (
  api_key_id uuid not null,
  key text not null,
  fingerprint bytea not null,
  request_id text not null,
  -- json, not jsonb: a replay answers with the members in the order of the first answer.
  result json,
  failure json,
  created_at timestamptz not null,
  primary key (api_key_id, key)
);
create index idempotency_keys_created_at on idempotency_keys (created_at);

create table products (
  id uuid primary key,
  sku text collate "C" not null,
  name text collate "C" not null,
  description text,
  price_amount bigint,
  price_currency text,
  attributes json not null default '{}',
  status text not null default 'active' check (status in ('active', 'archived')),
  low_stock_threshold integer,
  version integer not null default 1,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  deleted_at timestamptz(3),
  check ((price_amount is null) = (price_currency is null))
);
create unique index products_sku on products (sku) where deleted_at is null;
create index products_created_at on products (created_at, id) where deleted_at is null;
create index products_name on products (name, id) where deleted_at is null;

create table locations (
  code text collate "C" primary key,
  name text not null,
  -- The lower, the earlier it is asked to serve a line that names no location.
  priority integer not null,
  created_at timestamptz(3) not null default now()
);
insert into locations (code, name, priority) values ('main', 'Main', 0);

-- A product has a row at 'main' from its creation on. That row is the product's lock: every change of its stock takes it
-- first, so that what follows may read and write the product's other rows as if it were alone. Its version counts the
-- product's events. Rows shrink and grow in place (HOT) as long as a page has room, hence the fill factor.
create table stock_levels (
  product_id uuid not null references products,
  location text collate "C" not null references locations,
  on_hand integer not null default 0,
  reserved integer not null default 0,
  version bigint not null default 0,
  primary key (product_id, location),
  constraint never_oversold check (0 <= reserved and reserved <= on_hand)
) with (fillfactor = 80);

create table reservations (
  id uuid primary key,
  state text not null check (state in ('held', 'confirmed', 'released', 'expired')),
  reference text,
  holder text,
  expires_at timestamptz(3) not null,
  created_at timestamptz(3) not null,
  updated_at timestamptz(3) not null
);
-- One hold a shopper and cart: a second one replaces the first, and two at once can't both win.
create unique index reservations_held_once on reservations (holder, reference)
  where state = 'held' and holder is not null and reference is not null;
create index reservations_reference on reservations (reference, id) where reference is not null;
create index reservations_holder on reservations (holder, id) where holder is not null;
create index reservations_overdue on reservations (expires_at) where state = 'held';

create table reservation_lines (
  reservation_id uuid not null references reservations on delete cascade,
  line integer not null,
  product_id uuid not null,
  sku text not null,
  location text not null,
  quantity integer not null check (quantity > 0),
  confirmed_quantity integer not null default 0 check (confirmed_quantity between 0 and quantity),
  -- The reservation's deadline while it is held, null afterwards: what finds a product's holds, and its overdue ones.
  held_until timestamptz(3),
  primary key (reservation_id, line)
);
create index reservation_lines_held on reservation_lines (product_id, held_until) where held_until is not null;
create index reservation_lines_product on reservation_lines (product_id, reservation_id);

-- The ledger. Rows are only ever added. `sequence` is drawn while the product is locked, so for one product its order is
-- the order in which the balances changed, whatever the clocks say.
create table stock_movements (
  product_id uuid not null,
  sequence bigint generated always as identity,
  id uuid not null,
  location text not null,
  type text not null check (type in ('adjustment', 'reserved', 'released', 'expired', 'confirmed', 'count')),
  on_hand_delta integer not null,
  reserved_delta integer not null,
  on_hand_after integer not null,
  reserved_after integer not null,
  reason text,
  reference text,
  note text,
  reservation_id uuid,
  actor text not null,
  occurred_at timestamptz(3) not null,
  primary key (product_id, sequence)
);

-- Events, written with the change they tell of. `sequence` is drawn before the commit, so a reader must not go past
-- transactions that still run: `transaction_id` is what it compares with pg_snapshot_xmin().
create table outbox (
  sequence bigint generated always as identity primary key,
  id uuid not null,
  topic text not null,
  type text not null,
  product_id uuid not null,
  version bigint not null,
  data json not null,
  occurred_at timestamptz(3) not null,
  traceparent text not null,
  tracestate text,
  transaction_id xid8 not null default pg_current_xact_id()
);
