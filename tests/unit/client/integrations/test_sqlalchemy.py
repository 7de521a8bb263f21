"""SQLAlchemy types: the database sees ciphertext, the application does not."""

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tenant_security.client import (
    DocumentError,
    FieldForm,
    KmsError,
    Metadata,
    NoTenantError,
    acting_for,
    current_metadata,
)
from tenant_security.client.inspection import Kind, describe
from tenant_security.client.integrations.sqlalchemy import (
    DeterministicBytes,
    DeterministicText,
    EncryptedBytes,
    EncryptedText,
)
from tenant_security.testing.memory_proxy import MemoryProxy

ACME = Metadata("acme", requesting_id="r")


@pytest.fixture
def database(memory: MemoryProxy) -> Iterator[tuple[type, Session]]:
    client = memory.client()

    class Base(DeclarativeBase):
        pass

    class Customer(Base):
        __tablename__ = "customers"
        id: Mapped[int] = mapped_column(primary_key=True)
        ssn: Mapped[str | None] = mapped_column(EncryptedText(client))
        scan: Mapped[bytes | None] = mapped_column(EncryptedBytes(client))
        email: Mapped[str | None] = mapped_column(DeterministicText(client, FieldForm.TSC, "customers", "email"))
        token: Mapped[bytes | None] = mapped_column(DeterministicBytes(client, FieldForm.ALLOY, "customers", "token"))

    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session, acting_for(ACME):
        session.add(Customer(ssn="000-12-2345", scan=b"\x00\xff", email="anna@example.com", token=b"t"))
        session.add(Customer(email="bert@example.com"))
        session.commit()
        yield Customer, session
    engine.dispose()


def test_what_is_written_comes_back_and_the_database_sees_none_of_it(database):
    customer, session = database
    anna = session.scalars(select(customer).where(customer.id == 1)).one()
    assert (anna.ssn, anna.scan, anna.email, anna.token) == ("000-12-2345", b"\x00\xff", "anna@example.com", b"t")
    row = session.execute(text("SELECT ssn, scan, email, token FROM customers WHERE id = 1")).one()
    kinds = [describe(each).kind for each in row]
    assert kinds == [Kind.ATTACHED, Kind.ATTACHED, Kind.DETERMINISTIC, Kind.DETERMINISTIC]
    assert b"2345" not in b"".join(row)


def test_null_stays_null_and_can_be_asked_for(database):
    customer, session = database
    assert session.scalars(select(customer.id).where(customer.ssn.is_(None))).all() == [2]
    assert session.scalars(select(customer.id).where(customer.ssn != None)).all() == [1]  # noqa: E711
    assert session.scalars(select(customer.id).where(customer.token.is_(None))).all() == [2]


def test_deterministic_columns_are_found_while_their_secret_rotates(database, memory):
    customer, session = database
    wanted = select(customer.id).where(customer.email == "anna@example.com")
    assert session.scalars(wanted).all() == [1]
    memory.begin_rotation("acme", "customers")
    session.add(customer(email="anna@example.com"))
    session.commit()
    assert session.scalars(select(customer.id).where(customer.email == "anna@example.com")).all() == [1, 3]
    assert session.scalars(select(customer.id).where(customer.email != "anna@example.com")).all() == [2]


def test_comparisons_that_could_never_be_true_are_refused(database):
    customer, _ = database
    for comparison in (
        lambda: customer.ssn == "000-12-2345",
        lambda: customer.ssn.like("0%"),
        lambda: customer.email < "b",
        lambda: customer.email.like("a%"),
    ):
        with pytest.raises(TypeError, match="compared"):
            comparison()


def test_another_tenants_row_is_not_read(database):
    customer, session = database
    session.expire_all()
    with acting_for(Metadata("other", requesting_id="r")), pytest.raises(KmsError):
        session.scalars(select(customer.ssn)).all()
    with acting_for(Metadata("other", requesting_id="r")), pytest.raises(DocumentError):
        session.scalars(select(customer.email)).all()


def test_nobodys_row_is_not_read():
    with pytest.raises(NoTenantError, match="acting_for"):
        current_metadata()
    with acting_for(ACME):
        with acting_for(Metadata("inner", requesting_id="r")):
            assert current_metadata().tenant_id == "inner"
        assert current_metadata() == ACME
    with pytest.raises(NoTenantError):
        current_metadata()
