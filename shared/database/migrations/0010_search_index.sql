-- Apart from the column, which nobody may read the table beside: while the index is built they may, and only writers wait. It is there
-- already in databases where both were one file.
create index if not exists products_search on products using gin (search_grams(search_text)) where deleted_at is null;
