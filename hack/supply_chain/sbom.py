"""The bill of materials of an image, in CycloneDX: read from the finished image, not from what should be in it.

Four kinds of components: Python distributions (their own metadata), Debian packages (the records that the build wrote
for the files that it took), the interpreter, and what wheels say is compiled into them (PEP 770), OpenSSL among it.
"""

import json
import re
import uuid
from collections.abc import Iterable
from datetime import datetime
from email.parser import HeaderParser
from typing import Any, Final

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from supply_chain.archive import Image

VERSION: Final = SchemaVersion.V1_6
_RECORD: Final = re.compile(r"/var/lib/dpkg/status\.d/[^/]+")
_METADATA: Final = re.compile(r".*/site-packages/[^/]+\.dist-info/METADATA")
_EMBEDDED: Final = re.compile(r".*/site-packages/([^/]+)\.dist-info/sboms/[^/]+\.json")
_ENVIRONMENT: Final = re.compile(r".*/pyvenv\.cfg")
_RELEASE: Final = "/usr/lib/os-release"
_CREATED: Final = "org.opencontainers.image.created"
_OPERATOR: Final = "replicated-proxy-operator"


class InvalidBill(ValueError):
    """The document does not follow the CycloneDX schema."""


def bill_of_materials(image: Image) -> str:
    """Return the bill of an image as JSON; the same image gives the same bytes.

    Raises:
        InvalidBill: what was made does not follow the schema.
    """
    files = dict(image.files())
    release = _release(files[_RELEASE].decode())
    bom = Bom(components=_components(files, release))
    bom.metadata.component = _container(image)
    bom.metadata.timestamp = datetime.fromisoformat(image.labels.get(_CREATED) or image.created)
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, f"oci:{image.digest}")
    bom.register_dependency(bom.metadata.component, bom.components)
    text = make_outputter(bom, OutputFormat.JSON, VERSION).output_as_string(indent=2)
    check_bill(text)
    return text + "\n"


def check_bill(text: str) -> None:
    """Validate a bill against the schema.

    Raises:
        InvalidBill: it does not follow it.
    """
    problem = JsonStrictValidator(VERSION).validate_str(text)
    if problem is not None:
        raise InvalidBill(f"the bill of materials does not follow CycloneDX {VERSION.to_version()}: {problem.data}")


def _container(image: Image) -> Component:
    labels = image.labels
    _, _, digest = image.digest.partition(":")
    url = PackageURL("oci", None, _OPERATOR, image.digest, {"arch": image.architecture})
    return Component(
        type=ComponentType.CONTAINER,
        name=labels["org.opencontainers.image.title"],
        version=labels["org.opencontainers.image.version"],
        licenses=[LicenseFactory().make_from_string(labels["org.opencontainers.image.licenses"])],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        purl=url,
        bom_ref=str(url),
        properties=[Property(name=name, value=value) for name, value in sorted(labels.items()) if value],
    )


def _components(files: dict[str, bytes], release: dict[str, str]) -> list[Component]:
    name, version = release["ID"], release["VERSION_ID"]
    kind = ComponentType.OPERATING_SYSTEM
    found = {name: Component(type=kind, name=name, version=version, bom_ref=f"{name}-{version}")}
    for path, content in sorted(files.items()):
        for component in _described_by(path, content, release):
            found.setdefault(str(component.purl), component)
    return list(found.values())


def _described_by(name: str, content: bytes, release: dict[str, str]) -> Iterable[Component]:
    if _METADATA.fullmatch(name):
        return [_python_package(content.decode())]
    if _RECORD.fullmatch(name):
        return [_debian_package(content.decode(), release)]
    if _ENVIRONMENT.fullmatch(name):
        return [_interpreter(content.decode())]
    if embedded := _EMBEDDED.fullmatch(name):
        return _compiled_in(json.loads(content), embedded.group(1))
    return []


def _python_package(metadata: str) -> Component:
    fields = HeaderParser().parsestr(metadata)
    name, version = re.sub(r"[-_.]+", "-", fields["Name"]).lower(), fields["Version"]
    expression = fields["License-Expression"] or _short(fields["License"])
    licenses = [LicenseFactory().make_from_string(expression)] if expression else []
    return _library(PackageURL("pypi", None, name, version), fields["Name"], licenses=licenses)


def _short(text: str | None) -> str:
    """Return a license's name; some packages have its whole text in that place."""
    return "" if text is None or "\n" in text.strip() else text.strip()


def _debian_package(control: str, release: dict[str, str]) -> Component:
    fields = HeaderParser().parsestr(control)
    name, version, source = fields["Package"], fields["Version"], fields["Source"]
    qualifiers = {"arch": fields["Architecture"], "distro": f"{release['ID']}-{release['VERSION_ID']}"}
    properties = [Property(name="debian:source", value=source)] if source else []
    return _library(PackageURL("deb", release["ID"], name, version, qualifiers), name, properties=properties)


def _interpreter(configuration: str) -> Component:
    (version,) = re.findall(r"^version = (.+)$", configuration, re.MULTILINE)
    return _library(PackageURL("generic", None, "python", version), "python")


def _compiled_in(bill: dict[str, Any], package: str) -> list[Component]:
    """Return what a wheel's own bill of materials lists."""
    urls = [PackageURL.from_string(each["purl"]) for each in bill.get("components", []) if each.get("purl")]
    properties = [Property(name="compiled-into", value=package)]
    plain = [PackageURL(each.type, each.namespace, each.name, each.version) for each in urls]
    return [_library(each, each.name, properties=properties) for each in plain if each.version]


def _library(url: PackageURL, name: str, **more: Any) -> Component:
    return Component(type=ComponentType.LIBRARY, name=name, version=url.version, purl=url, bom_ref=str(url), **more)


def _release(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name: value.strip('"') for name, _, value in pairs}
