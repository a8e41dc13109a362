package main

import (
	"net/http"
	"net/http/httptest"

	"github.com/gin-gonic/gin"
)

func serveRequests() {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.GET("/items/:id", func(c *gin.Context) { c.String(http.StatusOK, c.Param("id")) })
	engine.POST("/items", func(c *gin.Context) {
		c.Error(http.ErrBodyNotAllowed)
		c.String(http.StatusInternalServerError, "failed")
	})
	for _, request := range [][2]string{{"GET", "/items/1"}, {"GET", "/items/22"}, {"POST", "/items"}, {"GET", "/none"}} {
		engine.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(request[0], request[1], nil))
	}
}
