"""Many selectors or patterns, asked about many images.

Applications bring the selectors and Pods bring the images, so a tenant chooses how many there are of both. Comparing
each with each would take a minute for what one Pod and one Application can hold; a set takes one look-up for an image,
however many entries it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from replicated_proxy.core.images import ImageReference, ImageSelector, RepositoryPattern


class ImageSelection:
    """The images that selectors name.

    A selector names the very text; or, when it parses, the same repository in any spelling with the selector's tag and
    digest where it has them (`nginx` selects `docker.io/library/nginx:1.25`).
    """

    __slots__ = ("_parsed", "_texts")

    def __init__(self, selectors: Iterable[ImageSelector] = ()) -> None:
        known = tuple(selectors)
        self._texts = frozenset(selector.text for selector in known)
        references = (selector.reference for selector in known)
        self._parsed = frozenset((one.repository, one.tag, one.digest) for one in references if one is not None)

    def holds(self, reference: ImageReference) -> bool:
        """Tell whether a selector names the image."""
        if not self._texts:
            return False
        if reference.text in self._texts:
            return True
        repository = reference.repository
        spellings = ((tag, digest) for tag in (None, reference.tag) for digest in (None, reference.digest))
        return any((repository, tag, digest) in self._parsed for tag, digest in spellings)


class RepositorySelection:
    """The repositories that lie under patterns, by host and whole path segments.

    Never a regular expression, and never a string prefix: `quay.io/acme` does not hold `quay.io/acme2/api`.
    `*.example.com` holds every host below `example.com`, however deep, and not `example.com` itself.
    """

    __slots__ = ("_longest_host", "_paths", "_segments")

    def __init__(self, patterns: Iterable[RepositoryPattern] = ()) -> None:
        paths: dict[tuple[bool, str], set[tuple[str, ...]]] = {}
        for pattern in patterns:
            paths.setdefault((pattern.any_subdomain, pattern.host), set()).add(pattern.segments)
        self._paths = paths
        self._longest_host = max((len(host) for _, host in paths), default=0)
        self._segments = max((len(path) for known in paths.values() for path in known), default=0)

    def holds(self, reference: ImageReference) -> bool:
        """Tell whether the image lies under a pattern."""
        if not self._paths:
            return False
        found = [known for host in self._hosts(reference.domain) if (known := self._paths.get(host))]
        if not found:
            return False
        segments = tuple(reference.path.split("/"))
        prefixes = [segments[:length] for length in range(min(len(segments), self._segments) + 1)]
        return any(prefix in known for known in found for prefix in prefixes)

    def _hosts(self, domain: str) -> Iterator[tuple[bool, str]]:
        """Yield what the host may be written as: itself, and as one below each of its parents that is short enough."""
        yield False, domain
        dot = domain.find(".", max(0, len(domain) - self._longest_host - 1))
        while dot >= 0:
            yield True, domain[dot + 1 :]
            dot = domain.find(".", dot + 1)
