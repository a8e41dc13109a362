// Package usdtsql wraps drivers of database/sql so that statements fire static probes (USDT).
//
//	db := sql.OpenDB(usdtsql.Connector(connector))
//	sql.Register("postgres+usdt", usdtsql.Driver(&pq.Driver{}))
//
// The probes are those that the toolkit's runtime-native bridge has, sql:query, sql:query_done and so on, so scripts and
// dashboards work on both. Use one of them in a program: with both, each statement is seen twice.
//
// What a driver can do beyond the minimum, it can do behind the wrapper, in the way that database/sql would have done it.
// While nobody traces, a statement costs a load and a test more, and no allocation.
package usdtsql

import (
	"context"
	"database/sql/driver"
	"io"
)

// Driver returns a driver whose connections fire the probes. It is a driver.DriverContext where base is one.
func Driver(base driver.Driver) driver.Driver {
	if inner, ok := base.(driver.DriverContext); ok {
		return &driverContext{wrapped{base}, inner}
	}
	return &wrapped{base}
}

// Connector returns a connector whose connections fire the probes.
func Connector(base driver.Connector) driver.Connector {
	return &connector{base, Driver(base.Driver())}
}

type wrapped struct{ base driver.Driver }

func (d *wrapped) Open(name string) (driver.Conn, error) { return opened(d.base.Open(name)) }

type driverContext struct {
	wrapped
	inner driver.DriverContext
}

func (d *driverContext) OpenConnector(name string) (driver.Connector, error) {
	base, err := d.inner.OpenConnector(name)
	if err != nil {
		return nil, err
	}
	return &connector{base, d}, nil
}

type connector struct {
	base   driver.Connector
	driver driver.Driver
}

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	return opened(c.base.Connect(ctx))
}

func (c *connector) Driver() driver.Driver { return c.driver }

// Close is what sql.DB.Close looks for.
func (c *connector) Close() error {
	if closer, ok := c.base.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

func opened(base driver.Conn, err error) (driver.Conn, error) {
	if err != nil {
		return nil, err
	}
	return newConn(base), nil
}
