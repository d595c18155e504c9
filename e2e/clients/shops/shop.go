// clients.scenario.ts compiles and runs this beside the client that oapi-codegen makes.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	ctx := context.Background()
	authorize := func(_ context.Context, request *http.Request) error {
		request.Header.Set("Authorization", "Bearer "+os.Args[2])
		return nil
	}
	client := must(NewClientWithResponses(os.Args[1], WithRequestEditorFn(authorize)))

	sku, stock := fmt.Sprintf("GO-%d", time.Now().UnixNano()), 3
	product := must(client.CreateProductWithResponse(ctx, nil, CreateProductRequest{Sku: sku, Name: "Tea pot", InitialStock: &stock})).JSON201
	var two, five ReserveLine
	if err := two.FromReserveLineByProductId(ReserveLineByProductId{ProductId: product.Id, Quantity: 2}); err != nil {
		panic(err)
	}
	if err := five.FromReserveLineBySku(ReserveLineBySku{Sku: sku, Quantity: 5}); err != nil {
		panic(err)
	}
	held := must(client.ReserveStockWithResponse(ctx, nil, ReserveStockRequest{Lines: []ReserveLine{two}})).JSON201
	confirmed := must(client.ConfirmReservationWithResponse(ctx, held.Id, nil, ConfirmReservationRequest{})).JSON200
	refused := must(client.ReserveStockWithResponse(ctx, nil, ReserveStockRequest{Lines: []ReserveLine{five}}))
	problem := must(refused.ApplicationproblemJSON409.AsInsufficientStock())
	for _, shortage := range problem.Shortages {
		fmt.Println(confirmed.State, shortage.Requested, shortage.Available)
	}
}
