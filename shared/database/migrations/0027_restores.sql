-- Each restore of this database to its past: docs/decisions/0026-a-restored-past.md. While one is not resumed, nothing runs that no client asks for.
create table restores (
  id uuid primary key default gen_random_uuid(),
  -- The last commit that is there, and when the restore was made.
  restored_to timestamptz(3) not null,
  restored_at timestamptz(3) not null default now(),
  -- By so much the products' versions went up, past all that the forgotten time can have used.
  version_jump bigint not null,
  holds_kept_until timestamptz(3) not null,
  resumed_at timestamptz(3),
  resumed_by text,
  check ((resumed_at is null) = (resumed_by is null))
);
