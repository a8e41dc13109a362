package usdtfiber

import (
	"io"
	"net/http/httptest"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/valyala/fasthttp"
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

// route returns a function that routes a request through middleware.
func route(middleware fiber.Handler) func() {
	app := fiber.New()
	app.Use(middleware)
	app.Get("/", func(*fiber.Ctx) error { return nil })
	handler, request := app.Handler(), &fasthttp.RequestCtx{}
	request.Request.SetRequestURI("/")
	return func() { handler(request) }
}

func passThrough(c *fiber.Ctx) error { return c.Next() }

func TestDisabledAddsNoAllocation(t *testing.T) {
	got, want := testing.AllocsPerRun(1000, route(Middleware)), testing.AllocsPerRun(1000, route(passThrough))
	if got != want {
		t.Errorf("%v allocations, want %v", got, want)
	}
}

// The context of Fiber counts the calls of Next, so that only a whole request can be repeated.
func BenchmarkRequest(b *testing.B) {
	for name, middleware := range map[string]fiber.Handler{"between": passThrough, "wrapped": Middleware} {
		route := route(middleware)
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				route()
			}
		})
	}
}
