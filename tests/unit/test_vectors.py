"""The vectors: one test case for each row, here or in the folder that REPLICATED_PROXY_VECTORS names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from builders import a_pod, a_table
from keyring import Keyring
from replicated_proxy.core.admission import PodReview, review_pod
from replicated_proxy.core.challenges import MalformedChallenge, parse_challenges
from replicated_proxy.core.images import InvalidImageReference, parse_image
from replicated_proxy.core.rewriting import Mode, RewritePolicy

Row = dict[str, Any]

FOLDER = Path(os.environ.get("REPLICATED_PROXY_VECTORS") or Path(__file__).parents[1] / "vectors")


def read_rows(name: str, text_field: str) -> list[Any]:
    """Read a file of rows; each is named by its line and the beginning of its text."""
    rows = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return [pytest.param(row, id=f"{number}-{row[text_field][:60] or '(empty)'}") for number, row in enumerate(rows, 1)]


def describe(text: str) -> Row:
    """Parse a reference into the fields that the vectors have."""
    try:
        found = parse_image(text)
    except InvalidImageReference as error:
        return dict.fromkeys(("domain", "path", "tag", "digest", "normalized", "docker_ref", "familiar"), None) | {
            "valid": False,
            "error": error.kind,
        }
    return {
        "valid": True,
        "domain": found.domain,
        "path": found.path,
        "tag": found.tag,
        "digest": found.digest,
        "normalized": found.normalized,
        "docker_ref": found.docker_ref,
        "familiar": found.familiar,
        "error": None,
    }


@pytest.mark.parametrize("row", read_rows("references.json", "input"))
def test_reference_is_parsed_as_the_kubelet_does(row: Row) -> None:
    """Every part of a reference, or the kind of its error, is what distribution/reference gives."""
    actual = describe(row["input"])

    assert {field: row.get(field) for field in actual} == actual


@pytest.mark.parametrize("row", read_rows("rewrites.json", "image"))
def test_image_is_rewritten_as_told(row: Row) -> None:
    """With default hosts, mode `all` and the namespace's own License an image becomes what the row says."""
    verdict = review_pod(PodReview("app", a_pod(row["image"])), a_table(), RewritePolicy(mode=Mode.ALL))

    (decision,) = verdict.decisions

    assert (row["rewritten"], row["reason"]) == (decision.image, decision.reason)


@pytest.mark.parametrize("row", read_rows("credentials.json", "repository"))
def test_keyring_gives_the_entries_that_the_kubelet_tries(row: Row) -> None:
    """The model finds the same entries of a docker config for a repository as the kubelet, in its order."""
    keys = {key: key for key in row["auth_keys"]}

    assert row["matches"] == Keyring(keys).lookup(row["repository"])


@pytest.mark.parametrize("row", read_rows("challenges.json", "header"))
def test_challenge_is_read_by_the_grammar(row: Row) -> None:
    """Schemes and parameters are what RFC 9110 makes of the header, or the header is refused."""
    try:
        found = [{"scheme": each.scheme, "params": each.parameters} for each in parse_challenges([row["header"]])]
        malformed = False
    except MalformedChallenge:
        found, malformed = [], True

    assert (row["challenges"], row["malformed"]) == (found, malformed)
