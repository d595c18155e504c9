-- Products that are low or out are counted every few seconds, and are few among all. Waits for a moment: an alert is one row a product.
create index stock_alerts_raised on stock_alerts (state) where state <> 'none';
