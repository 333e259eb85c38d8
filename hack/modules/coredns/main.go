// CoreDNS with the plugins that a node needs and no others: the names of Services, and those of a zone file.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/file"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
)

func main() {
	// The order in which a question passes the plugins, whatever the order in the configuration.
	dnsserver.Directives = []string{"bind", "ready", "errors", "file", "kubernetes"}
	coremain.Run()
}
