// Package usdtsql wraps drivers of database/sql so that statements fire static probes (USDT).
//
//	db := sql.OpenDB(usdtsql.Connector(connector))
//	sql.Register("postgres+usdt", usdtsql.Driver(&pq.Driver{}))
//
// The probes have the names of the toolkit's runtime-native ones (sql:query, sql:query_done and so on), so scripts and
// dashboards work with both. Use one of the two in a program: with both, each statement fires its probes twice.
//
// The optional interfaces of a driver keep working: database/sql runs its statements as it would without the wrapper.
// While no tracer is attached, a statement costs two loads and tests more than a wrapper that only passes it on, and no
// allocation.
package usdtsql

import (
	"context"
	"database/sql/driver"
	"io"
)

// Driver returns a driver whose connections fire the probes. It is a driver.DriverContext where base is one.
func Driver(base driver.Driver) driver.Driver {
	if inner, ok := base.(driver.DriverContext); ok {
		return &driverContext{wrappedDriver{base}, inner}
	}
	return &wrappedDriver{base}
}

// Connector returns a connector whose connections fire the probes.
func Connector(base driver.Connector) driver.Connector {
	return &connector{base, Driver(base.Driver())}
}

type wrappedDriver struct{ base driver.Driver }

func (d *wrappedDriver) Open(name string) (driver.Conn, error) { return wrapConn(d.base.Open(name)) }

type driverContext struct {
	wrappedDriver
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
	return wrapConn(c.base.Connect(ctx))
}

func (c *connector) Driver() driver.Driver { return c.driver }

// Close closes the base connector if it is an io.Closer, for sql.DB.Close.
func (c *connector) Close() error {
	if closer, ok := c.base.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// wrapConn wraps the result of opening a connection.
func wrapConn(base driver.Conn, err error) (driver.Conn, error) {
	if err != nil {
		return nil, err
	}
	return newConn(base), nil
}
