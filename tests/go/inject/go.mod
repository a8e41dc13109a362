module usdt.local/inject

go 1.21

require (
	github.com/cespare/xxhash/v2 v2.3.0
	go.opentelemetry.io/otel/trace v1.20.0
	gopkg.in/yaml.v3 v3.0.1
)

require go.opentelemetry.io/otel v1.20.0 // indirect
