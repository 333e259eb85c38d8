"""Everything an administrator can set, as one frozen value.

The chart renders `settings.yaml` from its values; the few things that only a container knows come from the
environment. Every problem is reported at once, each naming the key, the value and the remedy.
"""

from replicated_proxy.settings.decoding import camel_case
from replicated_proxy.settings.detecting import DetectionSettings
from replicated_proxy.settings.loading import InvalidSettings, load_settings, parse_settings
from replicated_proxy.settings.model import (
    CertificateMode,
    CertificateSettings,
    ControllerSettings,
    LicenseSettings,
    ProxySettings,
    RewriteSettings,
    SecretSettings,
    SecretSource,
    Settings,
    SourceSettings,
    WebhookSettings,
)

__all__ = [
    "CertificateMode",
    "CertificateSettings",
    "ControllerSettings",
    "DetectionSettings",
    "InvalidSettings",
    "LicenseSettings",
    "ProxySettings",
    "RewriteSettings",
    "SecretSettings",
    "SecretSource",
    "Settings",
    "SourceSettings",
    "WebhookSettings",
    "camel_case",
    "load_settings",
    "parse_settings",
]
