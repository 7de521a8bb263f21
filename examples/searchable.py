"""Find a record by an encrypted field: the same value always has the same ciphertext."""

import os
import sqlite3

from tenant_security.client import Field, FieldForm, Metadata, TenantSecurityClient

url = os.environ.get("TENANT_SECURITY_PROXY", "http://localhost:7777")
metadata = Metadata("tenant-gcp", requesting_id="user-1")
with (
    TenantSecurityClient(url, os.environ["API_KEY"], allow_insecure_http=True) as client,
    sqlite3.connect(":memory:") as database,
):
    fields = client.deterministic(FieldForm.TSC)
    database.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, email BLOB)")
    for email in (b"anna@example.com", b"bert@example.com"):
        encrypted = fields.encrypt(Field(email, "customers", "email"), metadata)
        database.execute("INSERT INTO customers (email) VALUES (?)", [encrypted.ciphertext])

    # While the tenant's secret is being rotated there are two terms: under the new one, and under the old.
    terms = fields.search_terms(Field(b"bert@example.com", "customers", "email"), metadata)
    places = ", ".join("?" * len(terms))
    print(database.execute(f"SELECT id FROM customers WHERE email IN ({places})", terms).fetchall())  # noqa: S608
database.close()
