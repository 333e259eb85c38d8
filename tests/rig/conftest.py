"""A node without the operator, for all tests of the rig."""

import os
from collections.abc import Iterator

import pytest

from rig.clusters import KIND_ASSEMBLED
from rig.node import Node

# It installs Debian twice and assembles an image: minutes, for those who ask for it (make test-kind).
collect_ignore = [] if os.environ.get("CLUSTER") == KIND_ASSEMBLED else ["test_kind.py"]


@pytest.fixture(scope="session")
def bare_node() -> Iterator[Node]:
    """One node as it comes up."""
    with Node() as node:
        yield node
