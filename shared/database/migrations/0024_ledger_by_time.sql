-- For the stock at a past moment. Without the location, a balance that seldom changes would be looked for through all movements at the
-- product's other locations. While the index is built, changes of stock wait: 7 s for a ledger of 4 million rows. For a long one it can be
-- built before the upgrade, with `concurrently`, and is found here.
create index if not exists stock_movements_by_time on stock_movements (product_id, location collate "C", occurred_at, sequence);
