package usdtsql_test

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"usdt.local/go-stubs/usdtsql"
)

// fakeDriver stands for the driver of a database.
type fakeDriver struct{}

func (fakeDriver) Open(name string) (driver.Conn, error) {
	return nil, errors.New("no server at " + name)
}

func ExampleNewDriver() {
	sql.Register("postgres+usdt", usdtsql.NewDriver(fakeDriver{}))
	db, err := sql.Open("postgres+usdt", "example.com")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(db.Ping())
	// Output: no server at example.com
}
