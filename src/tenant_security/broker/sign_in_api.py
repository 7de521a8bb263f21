"""How people get in: signing in and up, sessions, proofs, single sign-on."""

from typing import Annotated, Any, Final, Literal

from litestar import Controller, Response, delete, get, post
from litestar.datastructures import Cookie
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from tenant_security.broker.access import Somebody, origin, require_own_page, signed_in
from tenant_security.broker.http import Asked, Broker, GivenBroker, say_no
from tenant_security.broker.people import invitations, sessions, set_up, sign_in, sign_on, sign_up
from tenant_security.broker.people.personal import personal, places
from tenant_security.broker.refusals import NotAllowedNowError, NotFoundError, NotSignedInError
from tenant_security.wire import people_api as api

SMALL_BYTES: Final = 256 * 1024
"""The longest body of a request about people. Units: bytes."""


class SignInApi(Controller):
    """The endpoints that need no identity, or only a session."""

    path = "/api/1"
    tags = ("people",)
    request_max_body_size = SMALL_BYTES

    # -- sessions ----------------------------------------------------------------------------------------------------

    @get("/session")
    async def session(self, request: Asked, broker: GivenBroker) -> api.Session:
        """Say who is signed in."""
        return describe(await signed_in(request, broker), broker.now_ms(), broker.web.lives)

    @delete("/session")
    async def sign_out(self, request: Asked, broker: GivenBroker) -> Response[None]:
        """End the session, and make the browser forget."""
        somebody = await signed_in(request, broker)
        async with personal(broker.database, somebody.session.actor) as own:
            await sessions.end(own.connection, own.person, only=somebody.session.token_hash)
            await own.record("sign-out")
        headers = {"Clear-Site-Data": '"cache", "cookies", "storage"'}
        return Response(None, status_code=204, headers=headers, cookies=[session_cookie("", 0)])

    @get("/sessions")
    async def list_sessions(self, request: Asked, broker: GivenBroker) -> list[api.SessionLine]:
        """List the person's own sessions."""
        somebody = await signed_in(request, broker)
        async with broker.database.read() as connection:
            rows = await sessions.lines(connection, somebody.session.person, broker.now_ms(), broker.web.lives)
        return [
            api.SessionLine(
                id=sessions.session_id(row.token_hash),
                current=row.token_hash == somebody.session.token_hash,
                method=row.method,
                created=row.created_ms,
                seen=row.seen_ms,
                expires=row.expires_ms,
                address=row.address,
                agent=row.agent,
            )
            for row in rows
        ]

    @delete("/sessions/{session_id:str}")
    async def end_session(self, request: Asked, broker: GivenBroker, session_id: FromPath[str]) -> None:
        """End one of the person's sessions."""
        somebody = await signed_in(request, broker)
        async with personal(broker.database, somebody.session.actor) as own:
            rows = await sessions.lines(own.connection, own.person, own.now_ms, broker.web.lives)
            found = [row.token_hash for row in rows if sessions.session_id(row.token_hash) == session_id]
            if not found:
                raise NotFoundError("you have no such session")
            await sessions.end(own.connection, own.person, only=found[0])
            await own.record("session.end", session_id)

    @delete("/sessions")
    async def end_other_sessions(self, request: Asked, broker: GivenBroker) -> None:
        """End all of the person's sessions but this one."""
        somebody = await signed_in(request, broker)
        async with personal(broker.database, somebody.session.actor) as own:
            ended = await sessions.end(own.connection, own.person, but=somebody.session.token_hash)
            await own.record("session.end-others", detail={"ended": ended})

    @post("/session/proof/begin", status_code=200)
    async def begin_proof(self, request: Asked, broker: GivenBroker) -> api.Begun:
        """Begin to prove once more, with a passkey, who sits there."""
        somebody = await signed_in(request, broker)
        return await sign_in.begin_passkey(broker, somebody.session)

    @post("/session/proof", status_code=200)
    async def prove(self, request: Asked, broker: GivenBroker, data: JSONBody[api.Proof]) -> Response[api.Session]:
        """Prove once more who sits there."""
        somebody = await signed_in(request, broker)
        method: api.Method = "passkey" if data.credential is not None else "passphrase"
        kept = await sign_in.prove(broker, somebody.session, data, origin(request, broker, method))
        return await _with_cookie(broker, kept.token)

    # -- signing in --------------------------------------------------------------------------------------------------

    @post("/sign-in/passkey/begin", status_code=200)
    async def begin_passkey(self, request: Asked, broker: GivenBroker) -> api.Begun:
        """Begin a sign-in with a passkey."""
        require_own_page(request, broker)
        return await sign_in.begin_passkey(broker)

    @post("/sign-in/passkey", status_code=200)
    async def by_passkey(
        self, request: Asked, broker: GivenBroker, data: JSONBody[api.PasskeyProof]
    ) -> Response[api.Session]:
        """Sign in with a passkey."""
        require_own_page(request, broker)
        kept = await sign_in.by_passkey(broker, data, origin(request, broker, "passkey"))
        return await _with_cookie(broker, kept.token, replaces=request)

    @post("/sign-in/passphrase", status_code=200)
    async def by_passphrase(
        self, request: Asked, broker: GivenBroker, data: JSONBody[api.PassphraseSignIn]
    ) -> Response[api.Session]:
        """Sign in with a passphrase and a second factor."""
        require_own_page(request, broker)
        kept = await sign_in.by_passphrase(broker, data, origin(request, broker, "passphrase"))
        return await _with_cookie(broker, kept.token, replaces=request)

    @post("/sign-in/sso", status_code=200)
    async def begin_sign_on(
        self, request: Asked, broker: GivenBroker, data: JSONBody[api.BeginSignOn]
    ) -> Response[api.SignOnBegun]:
        """Begin an organisation's single sign-on."""
        require_own_page(request, broker)
        prover = await signed_in(request, broker) if data.again else None
        begun = await sign_on.begin(broker, data, None if prover is None else prover.session)
        return Response(api.SignOnBegun(begun.location), cookies=[_sign_on_cookie(begun.cookie)])

    @get("/sign-in/sso/return")
    async def end_sign_on(
        self,
        request: Asked,
        broker: GivenBroker,
        code: FromQuery[str | None] = None,
        given_state: Annotated[str | None, QueryParameter(name="state")] = None,
        iss: FromQuery[str | None] = None,
        error: FromQuery[str | None] = None,
    ) -> Response[Any]:
        """Where an organisation's provider sends the browser back to."""
        came = sign_on.Came(code, given_state, iss, request.cookies.get(sign_on.COOKIE), error)
        led = await sign_on.finish(broker, came, lambda place: origin(request, broker, "sso", place))
        cookies = [_sign_on_cookie("")]
        if led.token is not None:
            await _end_old(broker, request)
            cookies.append(session_cookie(led.token, broker.web.lives.life_ms))
        return Response(None, status_code=303, headers={"Location": led.location}, cookies=cookies)

    # -- signing up --------------------------------------------------------------------------------------------------

    @get("/set-up")
    async def set_up(self, broker: GivenBroker) -> dict[str, bool]:
        """Say whether the broker waits for its first owner."""
        async with broker.database.read() as connection:
            return {"needed": await set_up.is_needed(connection)}

    @post("/invitations/look", status_code=200)
    async def look(self, request: Asked, broker: GivenBroker, data: JSONBody[api.TokenOnly]) -> api.Invited:
        """Say what a token invites to."""
        require_own_page(request, broker)
        async with broker.database.read() as connection:
            return invitations.describe(await invitations.find(connection, data.token, broker.now_ms()))

    @post("/invitations/accept", status_code=200)
    async def accept(self, request: Asked, broker: GivenBroker, data: JSONBody[api.TokenOnly]) -> api.Session:
        """Accept an invitation as who is signed in."""
        somebody = await signed_in(request, broker)
        async with broker.database.read() as connection:
            invited = await invitations.find(connection, data.token, broker.now_ms())
        if invited.email != somebody.session.email:
            raise NotAllowedNowError("the invitation is for another address; sign in with the account of that one")
        if somebody.session.place is not None:
            raise NotAllowedNowError("sign in with your own passkey or passphrase to accept an invitation")
        async with personal(broker.database, somebody.session.actor) as own:
            await invitations.accept(own, data.token)
        return describe(await signed_in(request, broker), broker.now_ms(), broker.web.lives)

    @post("/sign-up/begin", status_code=200)
    async def begin_sign_up(
        self, request: Asked, broker: GivenBroker, data: JSONBody[api.BeginSignUp]
    ) -> api.Begun | api.AuthenticatorBegun:
        """Begin a sign-up."""
        require_own_page(request, broker)
        return await sign_up.begin(broker, data)

    @post("/sign-up")
    async def finish_sign_up(
        self, request: Asked, broker: GivenBroker, data: JSONBody[api.SignUp]
    ) -> Response[api.SignedUp]:
        """Make an account and sign in."""
        require_own_page(request, broker)
        method: api.Method = "passkey" if data.credential is not None else "passphrase"
        made = await sign_up.finish(broker, data, origin(request, broker, method))
        session = await _described(broker, made.token)
        said = api.SignedUp(session, made.recovery_codes)
        return Response(said, status_code=201, cookies=[session_cookie(made.token, broker.web.lives.life_ms)])


def session_cookie(token: str, life_ms: int) -> Cookie:
    """Return the cookie that keeps a session's token in the browser, or without one makes it forget."""
    return _cookie(sessions.COOKIE, token, "strict", life_ms)


def say_session_ended(request: Asked, refusal: Exception) -> Response[dict[str, object]]:
    """Answer that a session's time is up, and make the browser forget it."""
    response = say_no(request, refusal)
    response.set_cookie(session_cookie("", 0))
    return response


def _sign_on_cookie(text: str) -> Cookie:
    """Return the cookie that waits for a provider to send the browser back, which is a request from another site."""
    return _cookie(sign_on.COOKIE, text, "lax", sign_on.LIFE_MS)


def _cookie(name: str, value: str, same_site: Literal["lax", "strict"], life_ms: int) -> Cookie:
    return Cookie(
        key=name,
        value=value,
        path="/",
        secure=True,
        httponly=True,
        samesite=same_site,
        max_age=life_ms // 1_000 if value else 0,
    )


def describe(somebody: Somebody, now_ms: int, lives: sessions.Lives) -> api.Session:
    """Say who is signed in and where that counts."""
    session = somebody.session
    return api.Session(
        person=api.Who(session.person, session.email, session.name),
        method=session.method,
        now=now_ms,
        created=session.created_ms,
        expires=session.expires_ms,
        idle_expires=min(session.expires_ms, max(now_ms, session.seen_ms) + lives.idle_ms),
        proved=session.proved_ms,
        proved_until=session.proved_ms + sessions.PROOF_MS,
        own_sign_in=somebody.owns_account,
        has_keys=session.has_keys,
        organisations=tuple(
            api.Place(
                vendor=place.vendor,
                vendor_name=place.vendor_name,
                root_fingerprint=place.root_fingerprint,
                tenant=place.tenant_id,
                tenant_name=place.tenant_name,
                role=place.role,
                sso_required=bool(place.sso_required),
                available=somebody.has_rights_in(place),
            )
            for place in somebody.places
        ),
    )


async def _described(broker: Broker, token: str) -> api.Session:
    now_ms = broker.now_ms()
    async with broker.database.read() as connection:
        session = await sessions.find(connection, token, now_ms, broker.web.lives)
        found = [] if session is None else await places(connection, session.person)
    if session is None:
        raise NotSignedInError("the session has ended; sign in again")
    return describe(
        Somebody(session, [place for place in found if place.disabled_ms is None]), now_ms, broker.web.lives
    )


async def _with_cookie(broker: Broker, token: str, *, replaces: Asked | None = None) -> Response[api.Session]:
    """Answer with a session and its cookie. The session that the browser had before ends."""
    if replaces is not None:
        await _end_old(broker, replaces)
    return Response(await _described(broker, token), cookies=[session_cookie(token, broker.web.lives.life_ms)])


async def _end_old(broker: Broker, request: Asked) -> None:
    old = request.cookies.get(sessions.COOKIE)
    if not old:
        return
    async with broker.database.note() as connection:
        found = await sessions.find(connection, old, broker.now_ms(), broker.web.lives)
        if found is not None:
            await sessions.end(connection, found.person, only=found.token_hash)
