"""Trying an installation out: which image, and what counts as rewritten."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from replicated_proxy.settings import Settings, parse_settings
from replicated_proxy.trial.pods import NoImage, choose_image, image_of, judge, write_pod

_SECRET = "replicated-proxy-registry"
_ASSUME = {"quay.io": "Public", "*.dkr.ecr.*.amazonaws.com": "Private"}


def _settings(mode: str, **sections: Any) -> Settings:
    """Write settings of a mode."""
    rewrite = {"mode": mode} | sections.pop("rewrite", {})
    return parse_settings({"rewrite": rewrite, **sections}, {})


@pytest.mark.parametrize(
    ("settings", "image"),
    [
        (_settings("all"), "helm-test.invalid/helm-test/app:v1"),
        (_settings("private"), "helm-test.invalid/helm-test/app:v1"),
        (_settings("listed", rewrite={"include": ["quay.io/acme"]}), "quay.io/acme/helm-test/app:v1"),
        (_settings("listed", rewrite={"include": ["*.acme.example"]}), "helm-test.acme.example/helm-test/app:v1"),
        (
            _settings("private", detection={"onError": "Public", "assume": _ASSUME}),
            "helm-test.dkr.ecr.helm-test.amazonaws.com/helm-test/app:v1",
        ),
    ],
)
def test_the_image_is_one_that_the_settings_rewrite(settings: Settings, image: str) -> None:
    """Each mode has an image that it rewrites whatever registries answer."""
    assert choose_image(settings) == image


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (_settings("off"), "mode is off"),
        (_settings("listed"), "include is empty"),
        (_settings("private", detection={"onError": "Public", "assume": {"quay.io": "Public"}}), "--image"),
    ],
)
def test_without_such_an_image_the_remedy_is_named(settings: Settings, words: str) -> None:
    """Where nothing is rewritten for certain, the error says what to name."""
    with pytest.raises(NoImage, match=words):
        choose_image(settings)


def _answer(image: str, *secrets: str) -> dict[str, Any]:
    """Write the Pod that the API server sends back."""
    pod = copy.deepcopy(write_pod(image))
    pod["spec"]["imagePullSecrets"] = [{"name": name} for name in secrets]
    return pod


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (_answer("proxy.example/proxy/a/x", _SECRET), ""),
        (_answer("proxy.example/proxy/a/x", "mine", _SECRET), ""),
        (_answer("x", _SECRET), "the image x came back as it was"),
        (_answer("proxy.example/proxy/a/x"), "no pull secret"),
        (_answer("proxy.example/proxy/a/x", "mine"), "no pull secret"),
    ],
)
def test_a_pod_needs_the_new_name_and_the_secret(answer: dict[str, Any], words: str) -> None:
    """Both are looked for; the problem names what is missing."""
    problem = judge(answer, "x", _SECRET)
    assert words in problem
    assert bool(problem) == bool(words)


def test_the_pod_names_the_image_once() -> None:
    """One container, with the image that is tried."""
    assert image_of(write_pod("quay.io/acme/api:v1")) == "quay.io/acme/api:v1"
    assert image_of({}) == ""
