"""Laws over whole histories: Licenses paused, ended, renewed, replaced and deleted in any order, whatever gets lost."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from builders import a_license, an_application
from replicated_proxy.core.applications import Application
from replicated_proxy.core.coverage import CoverageSettings, Sources, plan_table
from replicated_proxy.core.licenses import Expiry, ExpiryPolicy, License, LicenseID
from replicated_proxy.core.pull_secrets import Action, ObservedSecret, Ownership, read_secret, render_secret
from replicated_proxy.core.routes import Definitions, RoutingTable
from replicated_proxy.core.secret_contents import SecretContents
from replicated_proxy.core.validity import ExpiryStanding, Moment, ValidityPolicy, freezes

OWNERSHIP = Ownership("operators/release", "pull")
NOTHING_YET = RoutingTable("pull")
NAMES = ("home", "one", "two")
SLUGS = {"a": "app", "a2": "app", "b": "other"}

whose = st.sampled_from(sorted(SLUGS))
hours = st.sampled_from([-2, 1, 2, 50])
reaches = st.frozensets(st.sampled_from(["one", "two", "*"]), max_size=2)


def ids_in(copy: ObservedSecret | None) -> set[str]:
    """Return the license IDs that a copy holds."""
    if copy is None or copy.content is None:
        return set()
    entries = json.loads(copy.content)["auths"].values()
    return {base64.b64decode(entry["auth"]).decode().partition(":")[2] for entry in entries}


class History(RuleBasedStateMachine):
    """A cluster of three namespaces; each rule is an edit, and each edit is followed by a turn of the controller."""

    def __init__(self) -> None:
        super().__init__()
        self.licenses: dict[str, License] = {}
        self.applications: dict[str, Application] = {}
        self.ids: dict[str, set[str]] = {}
        self.number = 0
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.agreed = True
        self.policy = ExpiryPolicy.RETAIN
        self.kind = "a-0"
        self.table = NOTHING_YET
        self.copies: dict[str, ObservedSecret | None] = dict.fromkeys(NAMES)
        self.edited = True
        self.before: dict[str, ObservedSecret | None] = {}

    def next(self) -> int:
        """Return a number that was not there before."""
        self.number += 1
        return self.number

    @initialize(policy=st.sampled_from(ExpiryPolicy), names=st.lists(whose, min_size=1, unique=True), reach=reaches)
    def begin(self, policy: ExpiryPolicy, names: list[str], reach: frozenset[str]) -> None:
        """Choose what follows from an end, and apply some Licenses."""
        self.policy = policy
        for slug in ("app", "other"):
            self.widen(slug, reach)
        for name in names:
            self.apply_new(name, 2)

    @rule(name=whose, ends=st.none() | hours)
    def apply_new(self, name: str, ends: int | None) -> None:
        """Make a License, or make it anew under its name."""
        number = self.next()
        metadata = {
            "namespace": "home",
            "name": name,
            "uid": f"uid-{number}",
            "creationTimestamp": f"2026-01-{1 + number % 3:02}",
        }
        lic = a_license(SLUGS[name], metadata=metadata, licenseID=f"{name}-{number}")
        self.put(name, replace(lic, expiry=self.end(ends)))

    @rule(name=whose)
    def rotate(self, name: str) -> None:
        """Give a License another ID."""
        self.edit(name, license_id=LicenseID(f"{name}-{self.next()}"))

    @rule(name=whose, paused=st.booleans(), accepted=st.booleans())
    def freeze(self, name: str, *, paused: bool, accepted: bool) -> None:
        """Freeze a License, or let it go."""
        self.edit(name, paused=paused, accepted=accepted)

    @rule(name=whose, ends=st.none() | hours)
    def renew(self, name: str, ends: int | None) -> None:
        """Give a License another end."""
        self.edit(name, expiry=self.end(ends))

    @rule(name=whose)
    def break_end(self, name: str) -> None:
        """Write an end that cannot be read."""
        self.edit(name, expiry=Expiry(problem="no date"))

    @rule(name=whose)
    def delete(self, name: str) -> None:
        """Delete a License."""
        self.licenses.pop(name, None)
        self.turn(edited=True)

    @rule(slug=st.sampled_from(["app", "other"]), reach=reaches)
    def widen(self, slug: str, reach: frozenset[str]) -> None:
        """Apply an Application."""
        metadata = {"namespace": "home", "name": f"of-{slug}", "labels": {"kots.io/app-slug": slug}}
        self.applications[slug] = an_application(*sorted(reach), metadata=metadata)
        self.turn(edited=True)

    @rule()
    def remake_kind(self) -> None:
        """Delete the definition of Applications, and with it all of them, and make it anew."""
        self.kind = f"a-{self.next()}"
        self.applications = {}
        self.turn(edited=True)

    @rule()
    def lose_table(self) -> None:
        """Delete the published table while the controller is down."""
        self.table = NOTHING_YET
        self.turn(edited=True)

    @rule(passed=st.sampled_from([1, 3]), agreed=st.booleans())
    def wait(self, passed: int, *, agreed: bool) -> None:
        """Let time pass, by clocks that agree or not."""
        self.now += timedelta(hours=passed)
        self.agreed = agreed
        self.turn(edited=False)

    def end(self, ends: int | None) -> Expiry:
        """Return an end, so many hours from now."""
        return Expiry() if ends is None else Expiry(self.now + timedelta(hours=ends))

    def edit(self, name: str, **differs: object) -> None:
        """Change a License that is there."""
        if name in self.licenses:
            self.put(name, replace(self.licenses[name], **differs))  # type: ignore[arg-type]  # by name

    def put(self, name: str, lic: License) -> None:
        """Store a License, and take a turn."""
        self.licenses[name] = lic
        self.ids.setdefault(lic.identity.uid, set()).add(lic.license_id.reveal())
        self.turn(edited=True)

    def plan(self) -> SecretContents:
        """Plan from what is there."""
        licenses = tuple(self.licenses.values())
        sources = Sources(
            licenses,
            tuple(self.applications.values()),
            Definitions("l-0", self.kind),
            noted=frozenset(uid for copy in self.copies.values() if copy for uid in copy.licenses),
            moment=Moment(self.now, self.now if self.agreed else None),
        )
        coverage = CoverageSettings("pull", frozenset(), validity=ValidityPolicy(on_expiry=self.policy))
        planned = plan_table(sources, (), coverage, self.table)
        return SecretContents(planned, {lic.identity.uid: lic for lic in licenses})

    def turn(self, *, edited: bool) -> None:
        """Plan, publish and write; then a second plan must change nothing."""
        self.edited, self.before = edited, dict(self.copies)
        contents = self.plan()
        self.table = contents.plan.table
        for name in NAMES:
            self.write(name, contents)
        again = self.plan()
        plans = [again.plan_copy(name, self.copies[name]) for name in NAMES]

        assert again.plan.table == self.table
        assert again.decides_like(contents)
        assert {plan.action for plan in plans if plan} <= {Action.NOTHING}

    def write(self, name: str, contents: SecretContents) -> None:
        """Carry out what is planned for a namespace."""
        plan = contents.plan_copy(name, self.copies[name])
        if plan is not None and plan.action is Action.DELETE:
            self.copies[name] = None
        elif plan is not None and plan.desired is not None:
            self.copies[name] = read_secret(render_secret(name, plan.desired, OWNERSHIP), OWNERSHIP)

    @invariant()
    def only_licenses_that_are_there_have_entries(self) -> None:
        """Deleting revokes, whatever was frozen or lost."""
        known = {one for lic in self.licenses.values() for one in self.ids[lic.identity.uid]}
        for copy in self.copies.values():
            assert ids_in(copy) <= known

    @invariant()
    def revoked_licenses_have_none(self) -> None:
        """Whatever else holds a License: at its end its credentials go, and what is frozen then stays as it is."""
        standings = self.plan().plan.standings
        for lic in self.licenses.values():
            if standings[lic.identity.uid] is ExpiryStanding.REVOKED and not freezes(lic):
                for copy in self.copies.values():
                    assert not ids_in(copy) & self.ids[lic.identity.uid]

    @invariant()
    def frozen_licenses_keep_what_they_have(self) -> None:
        """Nothing new is written for one, and nothing taken away but by another License of its application."""
        for lic in filter(freezes, self.licenses.values()):
            alone = [item.app_slug for item in self.licenses.values()].count(lic.app_slug) == 1
            for name, copy in self.copies.items():
                had, has = (ids_in(item) & self.ids[lic.identity.uid] for item in (self.before.get(name, copy), copy))
                assert has <= had
                assert has == had or not alone

    @invariant()
    def doubtful_clocks_revoke_nothing(self) -> None:
        """Time alone takes no credential from a namespace while the clocks do not agree and ends are to be acted on."""
        if self.edited or self.agreed or self.policy is ExpiryPolicy.RETAIN:
            return
        for name, copy in self.copies.items():
            assert bool(ids_in(copy)) == bool(ids_in(self.before[name]))


History.TestCase.settings = settings(max_examples=600, stateful_step_count=8, deadline=None)
TestHistory = History.TestCase
