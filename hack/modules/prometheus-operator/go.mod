// The custom resource definitions of prometheus-operator, pinned: its files are read, nothing of it is built.
module replicated-proxy-operator.test/hack/prometheus-operator

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0 // indirect
