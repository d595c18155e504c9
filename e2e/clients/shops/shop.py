# clients.scenario.ts runs this with the client that openapi-generator makes.
import sys
import time

from openapi_client import ApiClient, Configuration, ProductsApi, ReservationsApi
from openapi_client.exceptions import ConflictException
from openapi_client.models.create_product_request import CreateProductRequest
from openapi_client.models.insufficient_stock import InsufficientStock
from openapi_client.models.reserve_line import ReserveLine
from openapi_client.models.reserve_line_by_product_id import ReserveLineByProductId
from openapi_client.models.reserve_line_by_sku import ReserveLineBySku
from openapi_client.models.reserve_stock_request import ReserveStockRequest

_, url, key = sys.argv
client = ApiClient(Configuration(host=url, access_token=key))
products, reservations = ProductsApi(client), ReservationsApi(client)

sku = f"PYTHON-{time.time_ns()}"
product = products.create_product(CreateProductRequest(sku=sku, name="Tea pot", initial_stock=3))
two = ReserveLine(ReserveLineByProductId(product_id=str(product.id), quantity=2))
held = reservations.reserve_stock(ReserveStockRequest(lines=[two]))
confirmed = reservations.confirm_reservation(held.id)
try:
    reservations.reserve_stock(ReserveStockRequest(lines=[ReserveLine(ReserveLineBySku(sku=sku, quantity=5))]))
except ConflictException as conflict:
    problem = conflict.data.actual_instance
    assert isinstance(problem, InsufficientStock), problem
    for shortage in problem.shortages:
        print(confirmed.state, shortage.requested, shortage.available)
