"""SQLAlchemy: one column that is encrypted, and one that is encrypted and can be searched for."""

import os

from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tenant_security.client import FieldForm, Metadata, TenantSecurityClient, acting_for
from tenant_security.client.integrations.sqlalchemy import DeterministicText, EncryptedText

url = os.environ.get("TENANT_SECURITY_PROXY", "http://localhost:7777")
client = TenantSecurityClient(url, os.environ["API_KEY"], allow_insecure_http=True)


class Base(DeclarativeBase):
    """All tables."""


class Customer(Base):
    """A customer of a tenant."""

    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    ssn: Mapped[str] = mapped_column(EncryptedText(client))
    email: Mapped[str] = mapped_column(DeterministicText(client, FieldForm.TSC, "customers", "email"))


engine = create_engine("sqlite://")
Base.metadata.create_all(engine)
# A web application does this once for each request.
with acting_for(Metadata("tenant-gcp-l", requesting_id="user-1")), Session(engine) as session:
    session.add(Customer(ssn="000-12-2345", email="anna@example.com"))
    session.commit()
    found = session.scalars(select(Customer).where(Customer.email == "anna@example.com")).one()
    print(found.ssn)
engine.dispose()
client.close()
