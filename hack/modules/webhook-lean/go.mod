// The webhook that the benchmark holds ours against: net/http, and only the needed fields decoded.
module replicated-proxy-operator.test/hack/webhook-lean

go 1.26.0

require github.com/goccy/go-json v0.12.0
