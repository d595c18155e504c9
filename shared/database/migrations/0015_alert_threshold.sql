-- The threshold by which a product was last seen. One that is lowered ends `low` without a `stock.back`: nothing has come back.
alter table stock_alerts add column threshold integer;
update stock_alerts as alert set threshold = product.low_stock_threshold
from products as product where product.id = alert.product_id and alert.state = 'low';
