"""Django: a model whose text is encrypted with each tenant's key. One file in place of a project."""

import os
from types import SimpleNamespace

import django
from django.apps import AppConfig, apps
from django.conf import settings


def metadata_of(request: object) -> object:
    """Say whose request it is: here an attribute, in your project the session's or the token's tenant."""
    from tenant_security.client import Metadata

    return Metadata(request.tenant, requesting_id=request.user)  # type: ignore[attr-defined]


settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    TENANT_SECURITY={
        "URL": os.environ.get("TENANT_SECURITY_PROXY", "http://localhost:7777"),
        "API_KEY": os.environ["API_KEY"],
        "OPTIONS": {"allow_insecure_http": True},
        "METADATA": "__main__.metadata_of",
    },
)
django.setup()
# A project has its apps in INSTALLED_APPS; this one is the file itself.
notes = AppConfig("notes", SimpleNamespace(__file__=__file__))  # type: ignore[arg-type]
notes.apps, notes.models, apps.app_configs["notes"] = apps, apps.all_models["notes"], notes

from django.db import connection, models  # noqa: E402 - Django wants its settings first

from tenant_security.client.integrations.django import (  # noqa: E402
    EncryptedTextField,
    TenantMiddleware,
    default_client,
    open_all,
)


class Note(models.Model):
    """A note; its text is encrypted, its title is not."""

    title = models.CharField(max_length=100)
    text = EncryptedTextField()

    class Meta:
        """Where it belongs."""

        app_label = "notes"

    def __str__(self) -> str:
        return self.title


def write_and_read(_request: object) -> list[str]:
    """What a view does: it never mentions a key."""
    for number in range(3):
        Note.objects.create(title=f"note {number}", text=f"text {number}")
    found = list(Note.objects.order_by("title"))
    open_all(found, "text")  # one request for all of them; without it, one for each
    return [note.text for note in found]


with connection.schema_editor() as editor:
    editor.create_model(Note)
serve = TenantMiddleware(write_and_read)  # a project names it in MIDDLEWARE
print(serve(SimpleNamespace(tenant="tenant-gcp-l", user="user-1")))
default_client().close()
