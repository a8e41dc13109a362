package usdtfiber

import (
	"io"
	"net/http/httptest"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/recover"
)

func app(middleware fiber.Handler) *fiber.App {
	app := fiber.New()
	app.Use(recover.New(), middleware)
	app.Get("/items/:id", func(c *fiber.Ctx) error { return c.Status(fiber.StatusTeapot).SendString(c.Params("id")) })
	app.Get("/gone", func(*fiber.Ctx) error { return fiber.ErrGone })
	app.Get("/panic", func(*fiber.Ctx) error { panic("x") })
	return app
}

func TestResponsesAreTheSame(t *testing.T) {
	for name, middleware := range map[string]fiber.Handler{"off": Middleware, "traced": serve} {
		for path, want := range map[string]int{"/items/7": 418, "/gone": 410, "/panic": 500, "/missing": 404} {
			response, err := app(middleware).Test(httptest.NewRequest("GET", path, nil))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != want {
				t.Errorf("%s: %s: got %d %q %v, want %d", name, path, response.StatusCode, body, err, want)
			}
		}
	}
}
