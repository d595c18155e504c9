-- What may go on of the `baggage` of the request that caused a row, as BAGGAGE_KEYS says: 512 bytes at most, null in most rows. A table a
-- file, so that none is kept waiting while another is waited for.
alter table outbox add column baggage text;
