"""The lease book against a simple model: whatever happens, no key is used past its bounds or without the right."""

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tenant_security.directory.tenants import TenantDirectory
from tenant_security.errors import Code, TenantSecurityError
from tenant_security.proxy.app import wanted_in
from tenant_security.proxy.keys import Keys
from tenant_security.proxy.leasing import LeaseBook, LeasePolicy
from tenant_security.proxy.several import WrapWithKms
from tenant_security.testing.clock import SteppingClock, settle
from tenant_security.testing.scripted_kms import ScriptedKms
from tenant_security.testing.tenants import PlainConfig, directory, tenant, use
from tenant_security.wire import edek

POLICY = LeasePolicy(life_s=100.0, most_wraps=4, most_unwrapping=3)
TENANTS = ("a", "b")
TENANT = st.sampled_from(TENANTS)
PAUSE = st.sampled_from([1.0, 19.0, 20.0, 80.0, 81.0, 100.0])
PASSING = [Code.KMS_UNREACHABLE, Code.KMS_THROTTLED]
REVOKING = [Code.KMS_AUTHORIZATION_FAILED, Code.KMS_CONFIGURATION_INVALID, Code.KMS_ACCOUNT_ISSUE]
FAULT = st.sampled_from([None, None, None, *PASSING, *REVOKING])


class LeaseBookMachine(RuleBasedStateMachine):
    """Two tenants that share one config of the vendor; the KMS comes and goes; the directory changes.

    The model is four small books: when the KMS last granted a leased key to a tenant, when it made one for wrapping,
    which of those it has taken back, and how often each has wrapped.
    """

    def __init__(self):
        super().__init__()
        self.loop = asyncio.Runner()
        self.clock = SteppingClock()
        self.version = 1
        self.states = dict.fromkeys(TENANTS, "leasing")
        self.made: list[tuple[bytes, bytes]] = []
        self.granted: dict[tuple[str, bytes], float] = {}
        self.made_at: dict[tuple[str, bytes], float] = {}
        self.taken_back: set[tuple[str, bytes]] = set()
        self.uses: dict[tuple[str, bytes], int] = {}
        self.fault: Code | None = None
        self.current = TenantDirectory()

    @initialize()
    def start(self):
        async def build():
            self.kms = ScriptedKms()
            ask = self.kms.as_proxy_calls_it()
            self.tasks = set()

            async def wrap(who, config, key):
                try:
                    blob = await ask.wrap(who, config, key)
                except TenantSecurityError as fault:
                    if fault.code in REVOKING:
                        self.taken_back |= {each for each in self.uses if each[0] == who}
                    raise
                self.granted[who, blob] = self.made_at[who, blob] = self.clock()
                return blob

            async def unwrap(who, config, blob):
                try:
                    key = await ask.unwrap(who, config, blob)
                except TenantSecurityError as fault:
                    if fault.code in REVOKING:
                        self.granted.pop((who, blob), None)
                    raise
                self.granted[who, blob] = self.clock()
                return key

            def begin(work):
                task = asyncio.get_running_loop().create_task(work)
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)

            reach = WrapWithKms(wrap, unwrap)
            self.book = LeaseBook(reach, POLICY, begin, clock=self.clock)
            self.keys = Keys(lambda: self.current, self.book, reach)

        self.loop.run(build())
        self.publish()

    def publish(self):
        config = PlainConfig(700, self.version)
        self.current = directory(
            *(
                tenant(each, use(config, active=state != "disabled", leasing=state == "leasing"))
                for each, state in self.states.items()
                if state != "removed"
            )
        )

    def run(self, who, work):
        """Do something for a tenant; None where it was rightly refused."""

        async def whole():
            try:
                return await work(self.keys.tenant(who))
            finally:
                await settle()

        may = self.states[who] in ("leasing", "unleased")
        try:
            if self.fault is None:
                found = self.loop.run(whole())
            else:
                with self.kms.failing(self.fault):
                    found = self.loop.run(whole())
        except TenantSecurityError as fault:
            expected = self.fault if may else Code.UNKNOWN_TENANT_OR_NO_ACTIVE_KMS_CONFIGURATIONS
            assert fault.code is expected  # noqa: PT017 - a refusal is one of two right outcomes
            return None
        assert may
        return found

    def check_lease(self, who, wrapped, book):
        key = (who, edek.decode(wrapped).data)
        assert key in book, "the KMS never granted this key to this tenant"
        assert self.clock() - book[key] < POLICY.life_s, "a leased key was used past its life"
        return key

    def wrap(self, who):
        found = self.run(who, self.keys.wrap)
        if found is None:
            return
        self.made.append((found.edek, found.dek))
        entry = edek.decode(found.edek)
        assert found.leased is entry.leased is (self.states[who] == "leasing")
        if entry.leased:
            lease = self.check_lease(who, entry.wrapped_lease, self.made_at)
            assert lease not in self.taken_back or self.fault is not None, "wrapped under a key that was taken back"
            self.uses[lease] = self.uses.get(lease, 0) + 1
            assert self.uses[lease] <= POLICY.most_wraps, "a leased key wrapped more often than it may"

    def unwrap(self, who, made):
        wrapped, dek = made
        entry = edek.decode(wrapped)
        before = self.granted.copy()
        found = self.run(who, lambda known: self.keys.unwrap_entries(known, [entry]))
        if found is None:
            return
        assert found.dek == dek
        if entry.leased:
            # What was refused while it was used may serve this one caller still, and nobody after it.
            self.check_lease(who, entry.wrapped_lease, before | self.granted)

    @rule(who=TENANT, times=st.integers(1, 6))
    def wraps(self, who, times):
        for _ in range(times):
            self.wrap(who)

    @rule(who=TENANT, data=st.data())
    def unwraps(self, who, data):
        if self.made:
            self.unwrap(who, data.draw(st.sampled_from(self.made)))

    @rule(who=TENANT, steps=st.lists(st.tuples(PAUSE, FAULT), min_size=1, max_size=6))
    def lives_on(self, who, steps):
        for pause_s, self.fault in steps:
            self.clock.advance(pause_s)
            self.wrap(who)
            if self.made:
                self.unwrap(who, self.made[-1])
                self.unwrap(who, self.made[0])

    @rule(seconds=PAUSE)
    def time_passes(self, seconds):
        self.clock.advance(seconds)

    @rule(fault=FAULT)
    def the_kms_changes(self, fault):
        self.fault = fault

    @rule(
        who=TENANT,
        state=st.sampled_from(["leasing", "leasing", "leasing", "unleased", "disabled", "removed"]),
        renewed=st.integers(0, 4),
        told=st.booleans(),
    )
    def the_directory_changes(self, who, state, renewed, told):
        self.states[who] = state
        self.version += renewed == 0
        self.publish()
        if told:
            self.book.retain(wanted_in(self.current))

    @invariant()
    def the_book_is_bounded(self):
        if hasattr(self, "book"):
            counts = self.book.count()
            assert counts["unwrap"] <= POLICY.most_unwrapping
            assert counts["wrap"] <= len(TENANTS)

    def teardown(self):
        self.loop.close()


TestLeaseBook = LeaseBookMachine.TestCase
TestLeaseBook.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
