// Package usdtsql wraps drivers of database/sql so that statements and transactions fire static
// probes (USDT).
//
//	db := sql.OpenDB(usdtsql.NewConnector(connector))
//	sql.Register("postgres+usdt", usdtsql.NewDriver(&pq.Driver{}))
//
// The probes have the names of the runtime-native probes that usdt-gen adds to package
// database/sql, such as sql:query, so scripts and dashboards work with both. Use only one of the
// two in a program: with both, each statement fires its probes twice.
//
// The optional interfaces of a driver keep working: database/sql runs statements as it would
// without the wrapper. While no tracer is attached, a statement costs two loads and two tests more
// than with a wrapper that only calls the driver, and allocates nothing.
package usdtsql

import (
	"context"
	"database/sql/driver"
	"io"
)

// NewDriver returns a driver that wraps base and whose connections fire the probes. It implements
// driver.DriverContext if base does.
func NewDriver(base driver.Driver) driver.Driver {
	if inner, ok := base.(driver.DriverContext); ok {
		return &driverContext{wrappedDriver{base}, inner}
	}
	return &wrappedDriver{base}
}

// NewConnector returns a connector that wraps base and whose connections fire the probes.
func NewConnector(base driver.Connector) driver.Connector {
	return &connector{base, NewDriver(base.Driver())}
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

// Close closes the base connector if it is an io.Closer. sql.DB.Close calls it.
func (c *connector) Close() error {
	if closer, ok := c.base.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// wrapConn wraps the connection that a driver or connector returned.
func wrapConn(base driver.Conn, err error) (driver.Conn, error) {
	if err != nil {
		return nil, err
	}
	return newConn(base), nil
}
