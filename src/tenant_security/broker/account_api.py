"""What people read and change about themselves."""

from litestar import Controller, delete, get, patch, post, put
from litestar.params import FromPath, JSONBody

from tenant_security.broker.access import owner_of_account, signed_in
from tenant_security.broker.http import Asked, GivenBroker
from tenant_security.broker.people import account, claims
from tenant_security.broker.people.personal import personal
from tenant_security.broker.refusals import OwnSignInRequiredError
from tenant_security.broker.sign_in_api import SMALL_BYTES
from tenant_security.wire import people_api as api


class AccountApi(Controller):
    """The endpoints of the account of whoever is signed in."""

    path = "/api/1"
    tags = ("people",)
    request_max_body_size = SMALL_BYTES

    @get("/account")
    async def read(self, request: Asked, broker: GivenBroker) -> api.Account:
        """Describe the account."""
        somebody = await signed_in(request, broker)
        async with broker.database.read() as connection:
            return await account.read(connection, somebody.session.person)

    @patch("/account", status_code=204)
    async def rename(self, request: Asked, broker: GivenBroker, data: JSONBody[api.Named]) -> None:
        """Change the name."""
        await account.rename(broker, (await owner_of_account(request, broker)).session, data.name)

    @post("/account/passkeys/begin", status_code=200)
    async def begin_passkey(self, request: Asked, broker: GivenBroker) -> api.Begun:
        """Begin to add a passkey."""
        return await account.begin_passkey(broker, (await owner_of_account(request, broker)).session)

    @post("/account/passkeys")
    async def add_passkey(self, request: Asked, broker: GivenBroker, data: JSONBody[api.NewPasskey]) -> api.PasskeyLine:
        """Add a passkey."""
        return await account.add_passkey(broker, (await owner_of_account(request, broker)).session, data)

    @patch("/account/passkeys/{passkey:str}", status_code=204)
    async def rename_passkey(
        self, request: Asked, broker: GivenBroker, passkey: FromPath[str], data: JSONBody[api.Named]
    ) -> None:
        """Give a passkey another name."""
        somebody = await owner_of_account(request, broker)
        await account.rename_passkey(broker, somebody.session, passkey, data.name)

    @delete("/account/passkeys/{passkey:str}")
    async def remove_passkey(self, request: Asked, broker: GivenBroker, passkey: FromPath[str]) -> None:
        """Remove a passkey."""
        await account.remove_passkey(broker, (await owner_of_account(request, broker)).session, passkey)

    @post("/account/passphrase/begin", status_code=200)
    async def begin_passphrase(self, request: Asked, broker: GivenBroker) -> api.AuthenticatorBegun:
        """Begin to set a passphrase and an authenticator."""
        return await account.begin_passphrase(broker, (await owner_of_account(request, broker)).session)

    @put("/account/passphrase")
    async def put_passphrase(
        self, request: Asked, broker: GivenBroker, data: JSONBody[api.NewPassphrase]
    ) -> api.RecoveryCodes:
        """Set passphrase and authenticator."""
        return await account.put_passphrase(broker, (await owner_of_account(request, broker)).session, data)

    @delete("/account/passphrase")
    async def remove_passphrase(self, request: Asked, broker: GivenBroker) -> None:
        """Take the passphrase away."""
        await account.remove_passphrase(broker, (await owner_of_account(request, broker)).session)

    @post("/account/recovery-codes", status_code=200)
    async def renew_recovery_codes(self, request: Asked, broker: GivenBroker) -> api.RecoveryCodes:
        """Make new recovery codes."""
        return await account.renew_recovery_codes(broker, (await owner_of_account(request, broker)).session)

    @get("/account/keys")
    async def keys(self, request: Asked, broker: GivenBroker) -> api.StoredKeys:
        """Send the person's own keys, as their browser encrypted them."""
        somebody = await signed_in(request, broker)
        if not somebody.owns_account:
            raise OwnSignInRequiredError
        async with broker.database.read() as connection:
            return await claims.read_keys(connection, somebody.session.person)

    @put("/account/keys", status_code=204)
    async def put_keys(self, request: Asked, broker: GivenBroker, data: JSONBody[api.NewKeys]) -> None:
        """Keep the person's keys."""
        session = (await owner_of_account(request, broker)).session
        async with personal(broker.database, session.actor) as own:
            await claims.put_keys(own, session.email, data)

    @put("/invitations/{invitation:str}/proof", status_code=204)
    async def put_proof(
        self, request: Asked, broker: GivenBroker, invitation: FromPath[str], data: JSONBody[api.EnrolmentProof]
    ) -> None:
        """Keep the proof that belongs to an invitation that was accepted."""
        session = (await owner_of_account(request, broker)).session
        async with personal(broker.database, session.actor) as own:
            await claims.put_proof(own, invitation, data.proof)
