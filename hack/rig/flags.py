"""The flags of the control plane's programs, each that is not obvious with its reason."""

from pathlib import Path

SERVICE_NETWORK = "10.96.0.0/16"
KUBERNETES_SERVICE_ADDRESS = "10.96.0.1"
_ISSUER = "https://kubernetes.default.svc.cluster.local"
_LOOPBACK = "127.0.0.1"

# Metadata only: bodies would hold Secrets, and nobody needs them to see who asked for what.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


def etcd(workdir: Path, ports: tuple[int, int], *, fsync: bool) -> list[str]:
    """Storage on loopback, without TLS: its port is chosen at random and its data is worth nothing."""
    client, peer = (f"http://{_LOOPBACK}:{port}" for port in ports)
    arguments = [
        f"--data-dir={workdir / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--log-level=warn",
        # Room for the tests with many namespaces and large Secrets; the default is 2 GiB.
        f"--quota-backend-bytes={4 << 30}",
    ]
    # Test data survives no crash of the machine and need not: several times faster writes.
    return arguments if fsync else [*arguments, "--unsafe-no-fsync"]


def api_server(workdir: Path, address: str, port: int, etcd_port: int) -> list[str]:
    """The API server, secured as a real one: client certificates, RBAC, no anonymous rights beyond health."""
    pki = workdir / "pki"
    return [
        f"--etcd-servers=http://{_LOOPBACK}:{etcd_port}",
        f"--bind-address={address}",
        f"--advertise-address={address}",
        f"--secure-port={port}",
        f"--tls-cert-file={pki / 'api-server.crt'}",
        f"--tls-private-key-file={pki / 'api-server.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        f"--service-account-issuer={_ISSUER}",
        f"--service-account-key-file={pki / 'service-account.pub'}",
        f"--service-account-signing-key-file={pki / 'service-account.key'}",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        # A webhook's Service is resolved to its endpoint addresses: works without kube-proxy.
        "--enable-aggregator-routing=true",
        # Loopback is no valid endpoint of the Service "kubernetes"; the reconciler would log an error each second.
        *(["--endpoint-reconciler-type=none"] if address == _LOOPBACK else []),
        f"--cert-dir={workdir / 'api-server'}",
        "--profiling=false",
    ]


def audit(workdir: Path, log: Path) -> list[str]:
    """An audit log that is complete as soon as the answer is out, so that a test can read it at once."""
    policy = workdir / "audit-policy.json"
    return [f"--audit-policy-file={policy}", f"--audit-log-path={log}", "--audit-log-mode=blocking-strict"]


def controller_manager(workdir: Path) -> list[str]:
    """The controllers, each under its own service account as in a real cluster."""
    pki = workdir / "pki"
    return [
        f"--kubeconfig={workdir / 'controller-manager.kubeconfig'}",
        "--use-service-account-credentials=true",
        # There is no second one to wait for; the lease would cost the start some seconds.
        "--leader-elect=false",
        f"--service-account-private-key-file={pki / 'service-account.key'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        # Nobody scrapes it: no port, no certificate.
        "--secure-port=0",
        # The defaults (20 requests a second) make thousands of new namespaces take minutes to get a service account.
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    ]
