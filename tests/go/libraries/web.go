package main

import (
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gofiber/fiber/v2"
	fiberrecover "github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"

	"usdt.local/go-stubs/libraries/usdtchi"
	"usdt.local/go-stubs/libraries/usdtecho"
	"usdt.local/go-stubs/libraries/usdtfiber"
	"usdt.local/go-stubs/libraries/usdtgin"
)

// handleRequests sends the same requests to each framework. The host names the framework.
func handleRequests() {
	app := fiberApp()
	for host, serve := range map[string]func(*http.Request){
		"gin.test":  serveWith(ginEngine()),
		"echo.test": serveWith(echoServer()),
		"chi.test":  serveWith(chiRouter()),
		"fiber.test": func(request *http.Request) {
			_, err := app.Test(request, int(timeout.Milliseconds()))
			must(err)
		},
	} {
		for _, path := range []string{"/items/7", "/missing", "/panic"} {
			request := httptest.NewRequest("GET", "http://"+host+path, nil)
			request.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
			serve(request)
		}
	}
}

func serveWith(handler http.Handler) func(*http.Request) {
	return func(request *http.Request) {
		// As a server does.
		defer func() { recover() }()
		handler.ServeHTTP(httptest.NewRecorder(), request)
	}
}

func ginEngine() http.Handler {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.Use(gin.RecoveryWithWriter(io.Discard), usdtgin.Middleware)
	engine.GET("/items/:id", func(c *gin.Context) { c.String(http.StatusTeapot, "item "+c.Param("id")) })
	engine.GET("/panic", func(*gin.Context) { panic(http.ErrAbortHandler) })
	return engine
}

func echoServer() http.Handler {
	server := echo.New()
	server.Use(echomiddleware.RecoverWithConfig(echomiddleware.RecoverConfig{LogErrorFunc: func(_ echo.Context, err error, _ []byte) error { return err }}))
	server.Use(usdtecho.Middleware)
	server.GET("/items/:id", func(c echo.Context) error { return c.String(http.StatusTeapot, "item "+c.Param("id")) })
	server.GET("/panic", func(echo.Context) error { panic("handler") })
	return server
}

func chiRouter() http.Handler {
	router := chi.NewRouter()
	router.Use(usdtchi.Middleware)
	router.Get("/items/{id}", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, "item "+chi.URLParam(r, "id"))
	})
	router.Get("/panic", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	return router
}

func fiberApp() *fiber.App {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Use(fiberrecover.New(), usdtfiber.Middleware)
	app.Get("/items/:id", func(c *fiber.Ctx) error {
		return c.Status(fiber.StatusTeapot).SendString("item " + c.Params("id"))
	})
	app.Get("/panic", func(*fiber.Ctx) error { panic("handler") })
	return app
}
