"""The command line: settings in, a role out."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import click

from replicated_proxy import composition
from replicated_proxy.settings import InvalidSettings, load_settings

_INVALID_SETTINGS: Final = 2
# Lines after a backspace are kept as they are (click).
_HELP: Final = """Makes every Pod of a Replicated application pull its images through the proxy registry.

\b
Exit codes: 0 stopped as asked, 1 failed while running, 2 wrong usage or settings.
Example:
  replicated-proxy run --kubeconfig ~/.kube/config --settings settings.yaml
"""

_settings_option = click.option(
    "--settings",
    "settings_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file (YAML). Without it every setting has its default.",
)
_kubeconfig_option = click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    envvar="KUBECONFIG",
    help="How to reach the API server. Without it: the service account of the Pod.",
)


@click.group(help=_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="replicated-proxy-operator", prog_name="replicated-proxy")
def main() -> None:
    """Run the command line."""


@main.command()
@_settings_option
@_kubeconfig_option
def controller(settings_file: Path | None, kubeconfig: Path | None) -> None:
    """Keep pull secrets, routing table, statuses and certificates as they should be."""
    composition.run_controller(_installation(settings_file, kubeconfig))


@main.command()
@_settings_option
@_kubeconfig_option
def webhook(settings_file: Path | None, kubeconfig: Path | None) -> None:
    """Answer the API server's admission reviews."""
    composition.run_webhook(_installation(settings_file, kubeconfig))


@main.command()
@_settings_option
@_kubeconfig_option
def run(settings_file: Path | None, kubeconfig: Path | None) -> None:
    """Run both roles in one process, for development.

    Where the settings give both the same health port (the default), the webhook's is the next one: 8080 and 8081. Both
    are in the log. The API server has to reach the HTTPS port of this machine, so give its name in
    certificates.extraNames.
    """
    composition.run_both(_installation(settings_file, kubeconfig))


@main.command()
@_settings_option
@_kubeconfig_option
@click.option(
    "--timeout",
    "seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=240.0,
    show_default=True,
    help="Seconds after which it gives up, with exit code 1.",
)
def cleanup(settings_file: Path | None, kubeconfig: Path | None, seconds: float) -> None:
    """Delete what this installation made: its pull secrets in every namespace, and its objects at home.

    Secrets of others stay, those of other installations too. It waits for a controller that still runs to stop, and
    may be run again at any time. Licenses and Applications stay.
    """
    composition.run_cleanup(_installation(settings_file, kubeconfig), seconds)


@main.command("check-admission")
@_settings_option
@_kubeconfig_option
@click.option("--namespace", required=True, help="Where the Pod would be created; a License has to cover it.")
@click.option("--image", default="", help="Image to try. Without it: one that the settings rewrite for certain.")
@click.option(
    "--timeout",
    "seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds after which it gives up, with exit code 1.",
)
def check_admission(
    settings_file: Path | None, kubeconfig: Path | None, namespace: str, image: str, seconds: float
) -> None:
    """Show that Pods are rewritten: have the API server try one out that is never stored, and look at its image.

    It takes the permission to create Pods in that namespace and nothing else.
    """
    composition.run_admission_check(_installation(settings_file, kubeconfig), namespace, image, seconds)


def _installation(settings_file: Path | None, kubeconfig: Path | None) -> composition.Installation:
    """Read the settings, or end with every problem in words."""
    try:
        settings = load_settings(settings_file, os.environ)
        composition.check_trusted_keys(settings)
    except InvalidSettings as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(_INVALID_SETTINGS)
    return composition.Installation(settings, kubeconfig)
