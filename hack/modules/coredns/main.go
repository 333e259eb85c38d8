// CoreDNS with the plugins that the rig's clusters need and no others: the names of Services, those of a zone file,
// and what kubeadm's own configuration names (the node that kind runs).
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/file"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/loop"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
)

func main() {
	// The order in which a question passes the plugins, whatever the order in the configuration.
	dnsserver.Directives = []string{
		"reload", "bind", "health", "ready", "prometheus", "errors", "cache", "loadbalance", "file", "kubernetes", "loop", "forward",
	}
	coremain.Run()
}
