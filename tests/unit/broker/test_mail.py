"""Invitations reach a mailbox, over TLS or not at all, and a broken mail server breaks nothing else."""

import email
import email.policy
import socket
import ssl
from pathlib import Path

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from tests.unit.broker.browser import Browser, fragment
from tests.unit.broker.inhabited import VENDOR, inhabited

from tenant_security.broker.people.mail import Mail, MailError, MailRoute, sender

SENDER = "Acme <broker@acme.example>"


class Mailbox:
    """Keeps what is handed over."""

    def __init__(self):
        self.messages = []

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - the library's name
        self.messages.append((envelope.rcpt_tos, envelope.content))
        return "250 kept"


def authenticate(_server, _session, _envelope, _mechanism, said):
    right = isinstance(said, LoginPassword) and (said.login, said.password) == (b"user", b"p/ss")
    return AuthResult(success=right, handled=right)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def mailbox(authority):
    """A mail server that wants STARTTLS and a password."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    box = Mailbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Controller(
        box,
        hostname="localhost",
        port=port,
        tls_context=context,
        require_starttls=True,
        authenticator=authenticate,
        auth_required=True,
    )
    server.start()
    box.port = port
    yield box
    server.stop()


async def test_an_invitation_is_mailed_and_its_link_opens(world, mailbox, trusting):
    mail = Mail(MailRoute.parse(f"smtp://user:p%2Fss@localhost:{mailbox.port}"), SENDER, authorities=trusting)
    async with inhabited(world, mail=mail) as town:
        ann = await town.person("ann@example.com")
        made = await ann.post(f"{VENDOR}/invitations", {"email": "Bob@example.com", "role": "admin"})
        assert (made.status, made.json["mailed"], made.json["token"]) == (201, True, None)
        ((to, content),) = mailbox.messages
        message = email.message_from_bytes(content, policy=email.policy.default)
        assert to == ["bob@example.com"]
        assert (message["From"], message["Subject"]) == (SENDER, "Invitation to Acme")
        text = message.get_content()
        link = next(line for line in text.splitlines() if line.startswith("http://localhost:8080/invitation#"))
        said = fragment(link)
        assert said["r"] == world.vendor.root_fingerprint
        assert (await Browser(town.made).sign_up(said["t"])).status == 201
        listed = {each["email"]: each for each in (await ann.get(f"{VENDOR}/invitations")).json}
        assert (listed["bob@example.com"]["mailed"], listed["bob@example.com"]["status"]) == (True, "accepted")


async def test_a_mail_server_that_refuses_leaves_the_invitation_to_be_sent_again(world, mailbox, trusting):
    mail = Mail(MailRoute.parse(f"smtp://user:wrong@localhost:{mailbox.port}"), SENDER, authorities=trusting)
    async with inhabited(world, mail=mail) as town:
        ann = await town.person("ann@example.com")
        made = await ann.post(f"{VENDOR}/invitations", {"email": "bob@example.com", "role": "admin"})
        assert (made.status, made.json["mailed"], made.json["token"]) == (201, False, None)
        again = await ann.post(f"{VENDOR}/invitations/{made.json['id']}/resend", {"deliver": "link"})
        assert (await Browser(town.made).sign_up(again.json["token"])).status == 201
    assert mailbox.messages == []


async def test_a_server_that_nobody_vouches_for_gets_no_password(mailbox):
    mail = Mail(MailRoute.parse(f"smtp://user:p%2Fss@localhost:{mailbox.port}"), SENDER)
    with pytest.raises(MailError, match="refused"):
        await mail.send("a@b.c", "x", "y")
    plain = Mail(MailRoute.parse(f"smtp-plain://localhost:{mailbox.port}"), SENDER)
    with pytest.raises(MailError, match="refused"):
        await plain.send("a@b.c", "x", "y")
    assert mailbox.messages == []


async def test_in_development_mail_lies_in_a_directory_or_on_the_console(tmp_path):
    await Mail(MailRoute.parse(f"file://{tmp_path}/out"), SENDER).send("ä@b.example", "Über\r\nBcc: x@y.z", "Grüße")
    (path,) = Path(tmp_path / "out").iterdir()
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    assert message["Bcc"] is None
    assert "Grüße" in message.get_content()
    printed = []
    await Mail(MailRoute.parse("console:"), SENDER, console=printed.append).send("a@b.c", "Subject", "Text")
    assert "Text" in printed[0]


async def test_nobody_listening_is_said():
    with pytest.raises(MailError, match="refused"):
        await Mail(MailRoute.parse("smtp://localhost:1"), SENDER).send("a@b.c", "x", "y")


@pytest.mark.parametrize(
    "written", ["", "mail.example", "http://mail.example", "smtp://", "smtp://h:x", "file://", "smtp-plain://u:p@h"]
)
def test_a_route_that_is_none_is_refused(written):
    with pytest.raises(ValueError, match="smtp"):
        MailRoute.parse(written)


def test_a_route_shows_no_password():
    assert "p/ss" not in repr(MailRoute.parse("smtps://user:p%2Fss@h"))
    assert MailRoute.parse("smtps://h").port == 465
    with pytest.raises(ValueError, match="address"):
        sender("nobody")


async def test_an_account_in_somebody_elses_name_gives_way_to_the_mailbox(world, tmp_path):
    mail = Mail(MailRoute.parse(f"file://{tmp_path}/mail"), SENDER)
    await world.tenant("a")
    async with inhabited(world, mail=mail) as town:
        ann = await town.person("ann@example.com")
        mallory = await town.person("bob@example.com", "owner", "a")
        by_link = await ann.post(
            f"{VENDOR}/invitations", {"email": "bob@example.com", "role": "admin", "deliver": "link"}
        )
        assert (await Browser(town.made).sign_up(by_link.json["token"])).status == 409
        assert (await ann.post(f"{VENDOR}/invitations", {"email": "bob@example.com", "role": "admin"})).json["mailed"]
        bob = Browser(town.made)
        assert (await bob.sign_up(_token(tmp_path / "mail"))).status == 201
        assert (await bob.get(f"{VENDOR}/tenants")).status == 200
        session = (await mallory.get("/api/1/session")).json
        assert session["person"]["email"].endswith("@unverified.invalid")
        assert (await mallory.get(f"{VENDOR}/tenants")).status == 403
        body = {"email": "bob@example.com", "role": "auditor"}
        too_soon = await mallory.post(f"{VENDOR}/tenants/a/invitations", body)
        assert (too_soon.status, too_soon.code) == (429, "slow-down")
        town.world.now_s += 60
        # Bob's address is proved now, and gives way to nobody.
        (tmp_path / "mail").rename(tmp_path / "read")
        assert (await mallory.post(f"{VENDOR}/tenants/a/invitations", body)).json["mailed"]
        assert (await Browser(town.made).sign_up(_token(tmp_path / "mail"))).status == 409
        assert (await bob.post("/api/1/invitations/accept", {"token": _token(tmp_path / "mail")})).status == 200


def _token(directory):
    (path,) = directory.iterdir()
    text = email.message_from_bytes(path.read_bytes(), policy=email.policy.default).get_content()
    return fragment(next(line for line in text.splitlines() if line.startswith("http")))["t"]
