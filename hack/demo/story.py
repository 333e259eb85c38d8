"""The story where Pods run: a private image refused, then pulled through the proxy; a public one that stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from demo.telling import Teller, await_that
from rig.images import OperatorImage
from rig.layout import PUBLIC_REGISTRY
from rig.release import AUTHORITY, install_command, install_release
from rig.roles import NAMESPACE as OPERATOR
from rig.whole import WholeCluster

IMAGE = "quay.io/my-org/api:v1.0.1"
PROXIED = "proxy.replicated.com/proxy/my-kots-app/quay.io/my-org/api:v1.0.1"
PUBLIC = f"{PUBLIC_REGISTRY}/my-org/tool:v1"
LICENSE_ID = "2RKkAzwpKQDEMOxxxxxxxxxxxxx"
SECRET = "replicated-proxy-registry"  # noqa: S105 - the name of a Secret.
REFUSALS = {"ErrImagePull", "ImagePullBackOff"}
Json = dict[str, Any]

LICENSE: Json = {
    "apiVersion": "kots.io/v1beta1",
    "kind": "License",
    "metadata": {"name": "my-kots-app", "namespace": "my-app"},
    "spec": {
        "appSlug": "my-kots-app",
        "licenseID": LICENSE_ID,
        "licenseType": "prod",
        "customerName": "Example Corp",
        "channelName": "Stable",
        "entitlements": {"expires_at": {"title": "Expiration", "value": "", "valueType": "String"}},
    },
}
APPLICATION: Json = {
    "apiVersion": "kots.io/v1beta1",
    "kind": "Application",
    "metadata": {"name": "my-kots-app", "namespace": "my-app"},
    "spec": {"title": "My KOTS app", "additionalNamespaces": ["workers", "reports"]},
}


class Story:
    """The steps, in order; each leaves the cluster as the next one needs it."""

    def __init__(self, node: WholeCluster, teller: Teller) -> None:
        self._node = node
        self._teller = teller

    def tell(self, image: OperatorImage, *, keep: bool = False) -> None:
        """Tell all of it; a cluster that is kept keeps the operator, with the license valid again.

        Raises:
            StepFailed: the first check that did not hold.
            RigError: something did not happen in time.
        """
        self.private_image_is_refused()
        self.operator_is_installed(image)
        self.license_is_applied()
        self.same_pod_runs()
        self.public_image_stays()
        self.new_namespace_is_served()
        self.revoked_license_is_refused()
        if keep:
            self._node.stand_in.restore(LICENSE_ID)
        else:
            self.operator_is_uninstalled()

    def private_image_is_refused(self) -> None:
        """Without the operator the upstream registry refuses the Pod's image."""
        with self._teller.step("A Pod with a private image, before the operator is there"):
            self._node.push_private_image(IMAGE)
            for namespace in ("my-app", "workers"):
                self._kubectl("create", "namespace", namespace)
            self._run_pod("my-app", "api")
            reason = await_that(lambda: self._waiting_reason("my-app", "api"), "the pull to be refused")
            self._teller.saw("image", self._image("my-app", "api"))
            self._teller.saw("Pod", reason)
            self._teller.saw("event", self._refusal("my-app", "api"))
            self._teller.check(holds=reason in REFUSALS, claim="the kubelet cannot pull the image")
            self._node.kubectl("delete", "pod", "api", "-n", "my-app", "--now")

    def operator_is_installed(self, image: OperatorImage) -> None:
        """Helm installs both roles and waits until they are ready."""
        with self._teller.step("helm install"):
            self._teller.did(f"kubectl create namespace {OPERATOR}")
            self._teller.did(f"kubectl create configmap {AUTHORITY} -n {OPERATOR} --from-file=ca.crt")
            self._teller.did(f"helm {' '.join(install_command())}")
            self._teller.saw("the settings", "only because registries here have private addresses and certificates")
            install_release(self._node, image)
            pods = self._get("pods", "-n", OPERATOR)["items"]
            for pod in pods:
                self._teller.saw("Pod", f"{pod['metadata']['name']}  {pod['status']['phase']}")
            await_that(self._bundle, "the webhook's certificate to be published")
            self._teller.check(holds=len(pods) == 3, claim="one controller and two webhook replicas")

    def license_is_applied(self) -> None:
        """License and Application bring pull secrets into the namespaces they name."""
        with self._teller.step("License and Application applied"):
            self._node.stand_in.issue(LICENSE_ID, "my-kots-app")
            self._apply("license.yaml", LICENSE)
            self._apply("application.yaml", APPLICATION)
            for namespace in ("my-app", "workers"):
                self._teller.saw("pull secret", await_that(lambda: self._secret(namespace), f"secret in {namespace}"))  # noqa: B023
            await_that(lambda: self._license_row() if "True" in self._license_row() else "", "the License to be ready")
            self._teller.saw("License", self._license_row())

    def same_pod_runs(self) -> None:
        """The very same Pod is rewritten at admission and runs."""
        with self._teller.step("The same Pod again"):
            self._run_pod("my-app", "api")
            self._await_running("my-app", "api")
            pod = self._get("pod", "api", "-n", "my-app")
            secrets = [item["name"] for item in pod["spec"]["imagePullSecrets"]]
            originals = pod["metadata"]["annotations"]["proxy.kots.io/original-images"]
            self._teller.saw("image before", IMAGE)
            self._teller.saw("image after", pod["spec"]["containers"][0]["image"])
            self._teller.saw("imagePullSecrets", secrets)
            self._teller.saw("original names", originals)
            self._teller.saw("Pod", pod["status"]["phase"])
            self._teller.saw("pulled by license", self._pulls())
            self._teller.check(holds=pod["spec"]["containers"][0]["image"] == PROXIED, claim=PROXIED)
            self._teller.check(holds=SECRET in secrets, claim=f"pull secret {SECRET}")
            self._teller.check(holds=json.loads(originals) == {"containers/api": IMAGE}, claim="the original name")

    def public_image_stays(self) -> None:
        """An image that its registry gives to everybody keeps its name."""
        with self._teller.step("A Pod with a public image"):
            self._node.push_public_image(PUBLIC)
            self._run_pod("my-app", "tool", PUBLIC)
            self._await_running("my-app", "tool")
            pod = self._get("pod", "tool", "-n", "my-app")
            self._teller.saw("image", self._image("my-app", "tool"))
            self._teller.saw("imagePullSecrets", pod["spec"].get("imagePullSecrets", "none"))
            self._teller.saw("Pod", pod["status"]["phase"])
            self._teller.check(holds=self._image("my-app", "tool") == PUBLIC, claim=f"{PUBLIC}, as it was")

    def new_namespace_is_served(self) -> None:
        """A namespace and a Pod in one manifest: the secret arrives while the kubelet still tries."""
        with self._teller.step("A listed namespace that is created only now, in one manifest with a Pod"):
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "reports"}}
            self._apply("reports.yaml", namespace, self._pod("reports", "daily"))
            self._teller.saw("pull secret", await_that(lambda: self._secret("reports"), "the secret"))
            self._await_running("reports", "daily")
            self._teller.saw("image", self._image("reports", "daily"))
            self._teller.saw("Pod", "Running")

    def revoked_license_is_refused(self) -> None:
        """Replicated revokes the license: the next pull is refused by the proxy itself."""
        with self._teller.step("The license is revoked: the next pull is refused"):
            self._node.stand_in.revoke(LICENSE_ID)
            self._run_pod("workers", "late")
            reason = await_that(lambda: self._waiting_reason("workers", "late"), "the pull to be refused")
            self._teller.saw("image", self._image("workers", "late"))
            self._teller.saw("Pod", reason)
            self._teller.saw("event", self._refusal("workers", "late"))
            self._teller.check(holds="401" in self._refusal("workers", "late"), claim="the proxy answers 401")

    def operator_is_uninstalled(self) -> None:
        """Helm takes the operator out, and no admission is left behind."""
        with self._teller.step("helm uninstall"):
            self._teller.did(f"helm uninstall {OPERATOR} --namespace {OPERATOR}")
            self._node.helm("uninstall", OPERATOR, "--namespace", OPERATOR, "--wait", "--timeout", "3m")
            left = self._node.kubectl("get", "mutatingwebhookconfigurations", "-o", "name").strip()
            self._teller.saw("webhooks left", left or "none")
            self._teller.saw("pull secret", f"{self._secret('my-app')} stays, so that running Pods can restart")
            self._teller.check(holds=not left, claim="no webhook configuration is left")

    def _kubectl(self, *arguments: str) -> str:
        """Run kubectl and show it."""
        self._teller.did(f"kubectl {' '.join(arguments)}")
        return self._node.kubectl(*arguments)

    def _apply(self, name: str, *objects: Json) -> None:
        """Apply objects as if from a file."""
        self._teller.did(f"kubectl apply -f {name}")
        self._node.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(objects))

    def _get(self, *what: str) -> Json:
        """Read an object."""
        found: Json = json.loads(self._node.kubectl("get", *what, "-o", "json"))
        return found

    def _pod(self, namespace: str, name: str) -> Json:
        """Write the Pod that `kubectl run` would make."""
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"containers": [{"name": name, "image": IMAGE, "imagePullPolicy": "Always"}]},
        }

    def _run_pod(self, namespace: str, name: str, image: str = IMAGE) -> None:
        """Create the Pod by hand, as a user does."""
        await_that(
            lambda: self._node.kubectl("get", "sa", "default", "-n", namespace, "--ignore-not-found"), "service account"
        )
        self._kubectl("run", name, "-n", namespace, f"--image={image}", "--image-pull-policy=Always")

    def _image(self, namespace: str, name: str) -> str:
        """Return the image that stands in a Pod."""
        image: str = self._get("pod", name, "-n", namespace)["spec"]["containers"][0]["image"]
        return image

    def _waiting_reason(self, namespace: str, name: str) -> str:
        """Return why a Pod's container waits, once it is for its image."""
        statuses = self._get("pod", name, "-n", namespace)["status"].get("containerStatuses", [])
        reasons = [item["state"].get("waiting", {}).get("reason", "") for item in statuses]
        return next((reason for reason in reasons if reason in REFUSALS), "")

    def _await_running(self, namespace: str, name: str) -> None:
        """Wait until a Pod runs."""
        self._node.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "-n", namespace, "--timeout=90s")

    def _refusal(self, namespace: str, name: str) -> str:
        """Return the kubelet's own words about a refused pull."""
        selector = f"involvedObject.name={name},reason=Failed"

        def first() -> str:
            items = self._get("events", "-n", namespace, f"--field-selector={selector}")["items"]
            return next((item["message"] for item in items if "pull" in item["message"]), "")

        return await_that(first, "the event of the refused pull")

    def _secret(self, namespace: str) -> str:
        """Return the pull secret of a namespace in words, or nothing."""
        text = self._node.kubectl("get", "secret", SECRET, "-n", namespace, "--ignore-not-found", "-o", "json")
        return f"{namespace}/{SECRET}  {json.loads(text)['type']}" if text.strip() else ""

    def _license_row(self) -> str:
        """Return what `kubectl get license` shows."""
        return self._node.kubectl("get", "licenses.kots.io", "-n", "my-app", "--no-headers").strip()

    def _bundle(self) -> bool:
        """Tell whether the webhook's certificate authority is published."""
        configuration = self._get("mutatingwebhookconfiguration", OPERATOR)
        return all(entry["clientConfig"].get("caBundle") for entry in configuration["webhooks"])

    def _pulls(self) -> str:
        """Return what the stand-in of Replicated's service was asked for, last of all."""
        answered = [item for item in self._node.stand_in.requests() if item.status == 200 and item.slug]
        return f"{answered[-1].method} {answered[-1].path}" if answered else "nothing"


def hint(kubeconfig: Path) -> str:
    """Say how to use a cluster that was left up."""
    return (
        f"The cluster stays up with the operator in it, until Ctrl-C:\n"
        f"  export KUBECONFIG={kubeconfig}\n"
        f"  kubectl get licenses,applications -A\n"
        f"  kubectl run again -n my-app --image={IMAGE}\n"
        f"  kubectl run public -n my-app --image={PUBLIC}"
    )
