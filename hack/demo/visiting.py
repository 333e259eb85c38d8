"""The part of the story that is told on somebody else's cluster: nothing is stored there that is not taken back."""

from __future__ import annotations

from demo.local import AdmissionStory
from demo.telling import StepFailed, Teller
from rig.clusters import Wish, open_existing
from rig.existing import Existing
from rig.roles import CHART, NAMESPACE, RELEASE

_APPLICATION = "my-app"
_LICENSES = "licenses.kots.io"


def tell_on_existing(teller: Teller, wish: Wish) -> None:
    """Tell it: the chart by helm, pull secrets and rewritten Pods that are only tried, then all of it removed."""
    teller.console.print(f"What is made goes into the namespaces {NAMESPACE} and {_APPLICATION}, and is removed again.")
    teller.console.print("No registry has the made-up images, so the mode is `all`, and Pods are only tried.")
    with open_existing(wish) as cluster:
        _refuse_licenses(cluster)
        for namespace in (_APPLICATION, NAMESPACE):
            cluster.create_namespace(namespace)
        story = AdmissionStory(cluster, teller)
        story.image_is_left_alone()
        with teller.step("helm install"):
            cluster.install(RELEASE, CHART, NAMESPACE, values(wish.image))
            teller.saw("Pods", cluster.kubectl("get", "pods", "-n", NAMESPACE, "-o", "name").split())
        story.image_is_rewritten()
        story.license_is_deleted()
        with teller.step("Everything removed"):
            cluster.down()
            teller.saw("left", "nothing")


def values(image: str) -> list[str]:
    """Return helm's arguments for an image that the cluster can pull."""
    name, _, digest = image.partition("@")
    repository, _, tag = name.rpartition(":")
    if not repository or "/" in tag:
        repository, tag = name, ""
    registry, _, path = repository.rpartition("/") if "/" not in repository else repository.partition("/")
    chosen = {"registry": registry, "repository": path, "tag": tag, "digest": digest}
    # As strings: a tag may look like a number.
    image_values = [word for key, value in chosen.items() for word in ("--set-string", f"image.{key}={value}")]
    # The definitions are ours to delete with the release: a cluster that had them is refused.
    return [*image_values, "--set", "settings.rewrite.mode=all", "--set", "crds.keep=false"]


def _refuse_licenses(cluster: Existing) -> None:
    """Stop where Licenses are served already: they belong to somebody, and the operator would act on them."""
    if cluster.kubectl("get", "customresourcedefinition", _LICENSES, "--ignore-not-found", "-o", "name").strip():
        raise StepFailed(f"the cluster serves {_LICENSES} already: this demo is for clusters without Licenses")
