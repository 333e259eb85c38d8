"""``python -m supply_chain``: the release's image, its bill of materials, the audit of dependencies."""

import argparse
import sys
from pathlib import Path

from rig.cache import REPOSITORY
from rig.errors import RigError
from rig.images import build_for_all_platforms
from rig.progress import say
from supply_chain.archive import Image, read_images
from supply_chain.audit import run_audit
from supply_chain.sbom import bill_of_materials

_OUTPUT = REPOSITORY / "build/image"
_LAYERS = ("system", "dependencies", "operator")


def _image(arguments: argparse.Namespace) -> int:
    for image in _built(arguments.output)[1]:
        print(_costs(image))
    return 0


def _sbom(arguments: argparse.Namespace) -> int:
    for image in _built(arguments.output)[1]:
        path = arguments.output / f"replicated-proxy-operator-{image.architecture}.cdx.json"
        path.write_text(bill_of_materials(image))
        print(path)
    return 0


def _built(output: Path) -> tuple[str, list[Image]]:
    output.mkdir(parents=True, exist_ok=True)
    archive = output / "replicated-proxy-operator.oci.tar"
    build_for_all_platforms(archive)
    digest, images = read_images(archive)
    say(f"{archive}: {digest}, for {' and '.join(each.architecture for each in images)}")
    return digest, images


def _costs(image: Image) -> str:
    """Return what each layer costs: compressed, which a node pulls, and unpacked."""
    named = zip(_LAYERS, image.layers, strict=True)
    lines = [f"{image.architecture} {image.digest}"]
    lines += [f"  {name:13}{each.compressed / 1e6:6.1f} MB  {len(each.content) / 1e6:6.1f} MB" for name, each in named]
    return "\n".join(lines)


def _audit(arguments: argparse.Namespace) -> int:
    return run_audit(arguments.osv_url, insist=arguments.insist)


def main() -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="supply_chain", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, action, explanation in (
        ("image", _image, "build the image of every platform into one archive, and say what each layer costs"),
        ("sbom", _sbom, "write its bills of materials"),
        ("audit", _audit, "audit the dependencies"),
    ):
        command = commands.add_parser(name, help=explanation)
        command.set_defaults(action=action)
        command.add_argument("--output", type=Path, default=_OUTPUT)
        if action is _audit:
            command.add_argument("--osv-url", default="", help="another address of the OSV service than its own")
            command.add_argument("--insist", action="store_true", help="fail where nobody answered")
    arguments = parser.parse_args()
    try:
        result: int = arguments.action(arguments)
    except RigError as error:
        say(f"error: {error}")
        return 1
    return result


if __name__ == "__main__":
    sys.exit(main())
