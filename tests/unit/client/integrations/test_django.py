"""Django fields: the database sees ciphertext, and a value is decrypted when it is looked at."""

from collections.abc import Iterator
from types import SimpleNamespace

import django
import pytest
from django.apps import AppConfig, apps
from django.conf import settings
from django.core.exceptions import FieldError, ImproperlyConfigured

from tenant_security.client import KmsError, Metadata, NoTenantError, acting_for
from tenant_security.client.inspection import Kind, describe
from tenant_security.testing.memory_proxy import MemoryProxy

PROXY = MemoryProxy()
ACME = Metadata("acme", requesting_id="r")


def make_client():
    return PROXY.client()


def whose(request):
    return None if request.tenant is None else Metadata(request.tenant, requesting_id="r")


@pytest.fixture(scope="module")
def shop() -> SimpleNamespace:
    """A Django application of one model, with its table in memory."""
    if not settings.configured:
        settings.configure(
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            TENANT_SECURITY={"CLIENT": f"{__name__}.make_client", "METADATA": f"{__name__}.whose"},
            DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        )
        django.setup()
    from django.db import connection, models

    from tenant_security.client.integrations import django as ours

    class ShopConfig(AppConfig):
        name = "shop"
        label = "shop"
        path = "."

    if "shop" not in apps.app_configs:
        config = ShopConfig("shop", SimpleNamespace(__file__=__file__))
        config.apps = apps
        apps.app_configs["shop"] = config
        config.models = apps.all_models["shop"]

    class Customer(models.Model):
        name = models.TextField()
        ssn = ours.EncryptedTextField(null=True)
        scan = ours.EncryptedBinaryField(null=True)

        class Meta:
            app_label = "shop"

        def __str__(self):
            return self.name

    with connection.schema_editor() as editor:
        editor.create_model(Customer)
    return SimpleNamespace(Customer=Customer, ours=ours, connection=connection)


@pytest.fixture
def rows(shop, monkeypatch) -> Iterator[SimpleNamespace]:
    import sys

    monkeypatch.setitem(sys.modules, "shop_settings", sys.modules[__name__])
    settings.TENANT_SECURITY = {"CLIENT": "shop_settings.make_client", "METADATA": "shop_settings.whose"}
    shop.ours.default_client.cache_clear()
    with acting_for(ACME):
        shop.Customer.objects.create(name="Anna", ssn="000-12-2345", scan=b"\x00\xff")
        shop.Customer.objects.create(name="Bert")
    PROXY.calls.clear()
    yield shop
    shop.Customer.objects.all().delete()


def test_what_is_written_comes_back_and_the_database_sees_none_of_it(rows):
    with acting_for(ACME):
        anna = rows.Customer.objects.get(name="Anna")
        assert (anna.ssn, anna.scan) == ("000-12-2345", b"\x00\xff")
    with rows.connection.cursor() as cursor:
        cursor.execute("SELECT ssn, scan FROM shop_customer WHERE name = 'Anna'")
        assert [describe(bytes(each)).kind for each in cursor.fetchone()] == [Kind.ATTACHED] * 2


def test_a_value_is_decrypted_when_it_is_looked_at(rows):
    with acting_for(ACME):
        people = list(rows.Customer.objects.order_by("name"))
        assert PROXY.calls == []
        assert people[0].ssn == people[0].ssn == "000-12-2345"
        assert len(PROXY.calls) == 1
        assert people[1].ssn is None


def test_many_rows_are_decrypted_with_one_request(rows):
    with acting_for(ACME):
        for each in range(10):
            rows.Customer.objects.create(name=f"n{each}", ssn=str(each))
        PROXY.calls.clear()
        people = list(rows.Customer.objects.order_by("id"))
        rows.ours.open_all(people, "ssn", "scan")
        assert [each.ssn for each in people][2:] == [str(each) for each in range(10)]
        assert [call.operation for call in PROXY.calls] == ["document/batch-unwrap"]


def test_what_nobody_looked_at_is_written_back_as_it_is(rows):
    anna = rows.Customer.objects.get(name="Anna")
    anna.name = "Anne"
    anna.save()
    assert PROXY.calls == []
    with acting_for(ACME):
        assert rows.Customer.objects.get(name="Anne").ssn == "000-12-2345"
        anna.ssn = "new"
        anna.save()
        anna.refresh_from_db()
        assert anna.ssn == "new"


def test_values_are_sealed_until_they_are_opened(rows):
    sealed = rows.Customer.objects.values_list("ssn", flat=True).get(name="Anna")
    assert "bytes" in repr(sealed)
    with acting_for(ACME):
        assert sealed.open() == "000-12-2345"


def test_another_tenant_and_nobody_read_nothing(rows):
    anna = rows.Customer.objects.get(name="Anna")
    with acting_for(Metadata("other", requesting_id="r")), pytest.raises(KmsError):
        _ = anna.ssn
    with pytest.raises(NoTenantError):
        _ = anna.ssn
    with pytest.raises(NoTenantError):
        rows.Customer.objects.create(name="x", ssn="y")


def test_searching_for_what_could_never_be_found_is_refused(rows):
    assert rows.Customer.objects.filter(ssn__isnull=True).count() == 1
    for lookup in ("ssn", "ssn__exact", "ssn__contains", "scan__in"):
        with pytest.raises(FieldError):
            list(rows.Customer.objects.filter(**{lookup: ["x"]}))
    from django.db.models import F

    with pytest.raises(FieldError), acting_for(ACME):
        rows.Customer.objects.update(ssn=F("name"))


def test_plaintext_is_not_serialised_unawares(rows):
    from django.core import serializers

    with acting_for(ACME), pytest.raises(FieldError, match="not serialised"):
        serializers.serialize("json", rows.Customer.objects.all())


def test_a_request_works_for_its_tenant(rows):
    def view(_request):
        return rows.Customer.objects.get(name="Anna").ssn

    serve = rows.ours.TenantMiddleware(view)
    assert serve(SimpleNamespace(tenant="acme")) == "000-12-2345"
    with pytest.raises(KmsError):
        serve(SimpleNamespace(tenant="other"))
    with pytest.raises(NoTenantError):
        serve(SimpleNamespace(tenant=None))


@pytest.mark.parametrize("told", [None, {}, {"URL": "https://x"}, {"API_KEY": "k"}])
def test_settings_that_lack_something_say_what(rows, told):
    settings.TENANT_SECURITY = told
    rows.ours.default_client.cache_clear()
    with pytest.raises(ImproperlyConfigured, match="TENANT_SECURITY"):
        rows.ours.default_client()
    with pytest.raises(ImproperlyConfigured, match="METADATA"):
        rows.ours.TenantMiddleware(lambda _: None)


def test_the_settings_make_a_client(rows):
    settings.TENANT_SECURITY = {"URL": "http://x", "API_KEY": "k", "OPTIONS": {"allow_insecure_http": True}}
    rows.ours.default_client.cache_clear()
    assert rows.ours.default_client() is rows.ours.default_client()
    rows.ours.default_client().close()


def test_migrations_and_forms_know_the_fields(shop):
    field = shop.ours.EncryptedTextField(null=True)
    _, path, args, kwargs = field.deconstruct()
    assert path == "tenant_security.client.integrations.django.EncryptedTextField"
    assert (args, kwargs["null"]) == ([], True)
    assert field.clone().formfield().clean("x") == "x"
