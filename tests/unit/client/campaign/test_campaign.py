"""Campaigns: every row has an outcome, nothing is lost, and what was interrupted goes on."""

import base64
import csv
import json
from pathlib import Path

import pytest
from sqlalchemy import LargeBinary, Text, create_engine, text

from tenant_security.client import Code, EncryptedDocument, Metadata
from tenant_security.client.campaign.journal import Campaign, Journal, JournalError
from tenant_security.client.campaign.rows import Columns, CsvFile, JsonLines
from tenant_security.client.campaign.sql import SqlTable
from tenant_security.client.campaign.work import Pacer, Work, plan
from tenant_security.outbound.flow import Reason
from tenant_security.testing.memory_proxy import MemoryProxy

TENANTS = ["tenant-a", "tenant-b"]
THIS = Campaign("test", None)


class Store:
    """Documents of two tenants."""

    def __init__(self, proxy: MemoryProxy, count: int = 20) -> None:
        client = proxy.client()
        self.documents = {
            str(each): (TENANTS[each % 2], client.encrypt({"a": str(each).encode()}, of(TENANTS[each % 2])))
            for each in range(1, count + 1)
        }

    def as_csv(self, path: Path) -> Path:
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["name", "tenant", "edek"])
            for each, (tenant, document) in self.documents.items():
                writer.writerow([f"row,{each}\n", tenant, document.edek])
        return path

    def as_lines(self, path: Path) -> Path:
        lines = [
            json.dumps({"who": tenant, "more": [each], "key": document.edek})
            for each, (tenant, document) in self.documents.items()
        ]
        path.write_text("\n".join(lines) + "\n")
        return path

    def opens_with(self, proxy: MemoryProxy, edeks: dict[str, str]) -> bool:
        client = proxy.client()
        for each, (tenant, document) in self.documents.items():
            opened = client.decrypt(EncryptedDocument(document.fields, edeks[each]), of(tenant))
            assert opened == {"a": each.encode()}
        return True

    def edeks(self) -> dict[str, str]:
        return {each: document.edek for each, (_, document) in self.documents.items()}


def of(tenant: str) -> Metadata:
    return Metadata(tenant, requesting_id="r")


@pytest.fixture
def store(memory: MemoryProxy) -> Store:
    return Store(memory)


def run(memory, source, journal: Path, **options):
    with Journal(journal, THIS) as written:
        return Work(memory.client(), source, written, **options).run()


def read_csv(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        return {str(number): row["edek"] for number, row in enumerate(csv.DictReader(file), start=1)}


def test_a_csv_file_is_rekeyed_and_nothing_else_in_it_changes(memory, store, tmp_path):
    source = CsvFile(store.as_csv(tmp_path / "in.csv"), tmp_path / "out.csv", Columns())
    report = run(memory, source, tmp_path / "journal")
    assert (report.rows, report.rekeyed, report.failed, report.stopped) == (20, 20, 0, None)
    new = read_csv(tmp_path / "out.csv")
    assert not set(new.values()) & set(store.edeks().values())
    assert store.opens_with(memory, new)
    with (tmp_path / "out.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["name"] == "row,1\n"


def test_json_lines_are_rekeyed_and_nothing_else_in_them_changes(memory, store, tmp_path):
    columns = Columns(edek="key", tenant="who")
    source = JsonLines(store.as_lines(tmp_path / "in.jsonl"), tmp_path / "out.jsonl", columns)
    assert run(memory, source, tmp_path / "journal").rekeyed == 20
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert rows[2]["more"] == ["3"]
    assert store.opens_with(memory, {str(number): row["key"] for number, row in enumerate(rows, start=1)})


def test_rows_move_to_another_tenant(memory, tmp_path):
    encrypted = memory.client().encrypt({"a": b"1"}, of("old"))
    (tmp_path / "in.csv").write_text(f"edek\n{encrypted.edek}\n")
    source = CsvFile(tmp_path / "in.csv", tmp_path / "out.csv", Columns(one_tenant="old"))
    assert run(memory, source, tmp_path / "journal", new_tenant_id="new").rekeyed == 1
    moved = read_csv(tmp_path / "out.csv")["1"]
    assert memory.client().decrypt(EncryptedDocument(encrypted.fields, moved), of("new")) == {"a": b"1"}


def test_a_row_that_fails_keeps_its_edek_and_is_told(memory, store, tmp_path):
    memory.refuse("tenant-b")
    source = CsvFile(store.as_csv(tmp_path / "in.csv"), tmp_path / "out.csv", Columns())
    report = run(memory, source, tmp_path / "journal")
    assert (report.rekeyed, report.failed, report.by_code) == (10, 10, {206: 10})
    assert {each.tenant for each in report.failures} == {"tenant-b"}
    new, old = read_csv(tmp_path / "out.csv"), store.edeks()
    assert sum(new[each] == old[each] for each in new) == 10
    memory.restore("tenant-b")
    again = run(memory, source, tmp_path / "journal")
    assert (again.before, again.rekeyed, again.failed) == (10, 10, 0)
    assert store.opens_with(memory, read_csv(tmp_path / "out.csv"))


def test_a_proxy_that_goes_away_stops_it_and_it_goes_on_later(memory, store, tmp_path):
    source = CsvFile(store.as_csv(tmp_path / "in.csv"), tmp_path / "out.csv", Columns())
    client_calls = 0

    def on_row() -> None:
        nonlocal client_calls
        client_calls += 1
        if client_calls == 5:
            memory.fail_next(*[Reason.CONNECT] * 500)

    report = run(memory, source, tmp_path / "journal", at_once=1, on_row=on_row)
    assert "no connection" in str(report.stopped)
    assert (report.rekeyed, report.failed) == (5, 0)
    assert not (tmp_path / "out.csv").exists()
    memory._failing.clear()
    report = run(memory, source, tmp_path / "journal")
    assert (report.before, report.rekeyed, report.stopped) == (5, 15, None)
    assert store.opens_with(memory, read_csv(tmp_path / "out.csv"))


def test_a_new_edek_that_does_not_hold_the_key_is_not_taken(memory, store, tmp_path, monkeypatch):
    wrapped = MemoryProxy._wrapped
    monkeypatch.setattr(MemoryProxy, "_wrapped", lambda self, _dek, tenant: wrapped(self, bytes(32), tenant))
    source = CsvFile(store.as_csv(tmp_path / "in.csv"), tmp_path / "out.csv", Columns())
    rekey = MemoryProxy._rekey

    def lying(self, body):
        told = json.loads(rekey(self, body))
        told["dek"] = base64.b64encode(b"x" * 32).decode()
        return json.dumps(told).encode()

    from tenant_security.testing import memory_proxy

    monkeypatch.setitem(memory_proxy._ROUTES, "document/rekey", (memory_proxy._ROUTES["document/rekey"][0], lying))
    report = run(memory, source, tmp_path / "journal")
    assert (report.rekeyed, report.failed) == (0, 20)
    assert "keep the old one" in str(report.failures[0].message)
    assert read_csv(tmp_path / "out.csv") == store.edeks()


def test_a_journal_cut_off_by_a_kill_is_read_to_its_last_whole_line(memory, store, tmp_path):
    source = CsvFile(store.as_csv(tmp_path / "in.csv"), tmp_path / "out.csv", Columns())
    journal = tmp_path / "journal"
    run(memory, source, journal)
    whole = journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    for cut in (1, len(lines[0]) - 1, len(lines[0]), len(lines[0]) + 1, len(whole) - 1):
        journal.write_bytes(whole[:cut])
        report = run(memory, source, journal)
        assert report.before + report.rekeyed == 20
        assert len(journal.read_bytes().splitlines()) == 21
        assert store.opens_with(memory, read_csv(tmp_path / "out.csv"))


def test_another_campaigns_journal_is_refused(memory, store, tmp_path):
    path = store.as_csv(tmp_path / "in.csv")
    source = CsvFile(path, tmp_path / "out.csv", Columns())
    run(memory, source, tmp_path / "journal")
    with pytest.raises(JournalError, match="another campaign"), Journal(tmp_path / "journal", Campaign("other", None)):
        pass
    other = Store(memory)
    other.as_csv(path)
    with pytest.raises(JournalError, match="is not what it was"):
        run(memory, source, tmp_path / "journal")
    (tmp_path / "junk").write_text("junk\n")
    with pytest.raises(JournalError, match="not a journal"), Journal(tmp_path / "junk", THIS):
        pass


@pytest.mark.parametrize("kind", [Text, LargeBinary])
def test_a_database_is_rekeyed_row_by_row(memory, store, tmp_path, kind):
    url, binary = f"sqlite:///{tmp_path}/app.db", kind is LargeBinary
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            text(f"CREATE TABLE documents (id INTEGER, tenant TEXT, edek {'BLOB' if binary else 'TEXT'})")
        )
        for each, (tenant, document) in store.documents.items():
            edek = base64.b64decode(document.edek) if binary else document.edek
            connection.execute(
                text("INSERT INTO documents VALUES (:i, :t, :e)"), {"i": int(each), "t": tenant, "e": edek}
            )
    query = "SELECT id, tenant, edek FROM documents"
    update = "UPDATE documents SET edek = :edek WHERE id = :id AND edek = :was"
    source = SqlTable(url, query, update, tmp_path / "kept")
    list(source.rows())
    with engine.begin() as connection:  # what somebody changes meanwhile is theirs
        connection.execute(text("UPDATE documents SET edek = 'theirs' WHERE id = 1"))
        connection.execute(text("DELETE FROM documents WHERE id = 2"))
    report = run(memory, source, tmp_path / "journal")
    assert (report.rekeyed, report.changed) == (18, 2)
    with engine.connect() as connection:
        rows = {str(row.id): row.edek for row in connection.execute(text(query))}
    assert rows.pop("1") == "theirs"
    new = {each: base64.b64encode(edek).decode() if binary else edek for each, edek in rows.items()}
    assert not set(new.values()) & set(store.edeks().values())
    del store.documents["1"], store.documents["2"]
    assert store.opens_with(memory, new)
    again = run(memory, SqlTable(url, query, update, tmp_path / "kept"), tmp_path / "journal")
    assert (again.before, again.changed) == (18, 2)
    engine.dispose()


@pytest.mark.parametrize("before_update", [True, False])
def test_a_kill_while_a_row_is_changed_neither_loses_it_nor_calls_it_somebody_elses(
    memory, tmp_path, monkeypatch, before_update
):
    url, client = f"sqlite:///{tmp_path}/app.db", memory.client()
    encrypted = client.encrypt({"a": b"1"}, of("tenant-a"))
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE documents (id INTEGER, edek TEXT)"))
        connection.execute(text("INSERT INTO documents VALUES (1, :e)"), {"e": encrypted.edek})
    update = "UPDATE documents SET edek = :edek WHERE id = :id AND edek = :was"
    source = SqlTable(url, "SELECT id, edek FROM documents", update, tmp_path / "kept", one_tenant="tenant-a")

    class KilledError(Exception):
        pass

    def killed(*_arguments: object) -> bool:
        raise KilledError

    with monkeypatch.context() as patch:
        if before_update:
            patch.setattr(source, "store", killed)
        else:
            record = Journal.record
            patch.setattr(
                Journal,
                "record",
                lambda self, outcome: killed() if outcome.outcome == "rekeyed" else record(self, outcome),
            )
        with pytest.raises(KilledError):
            run(memory, source, tmp_path / "journal")
    report = run(memory, source, tmp_path / "journal")
    assert (report.rekeyed, report.changed) == (1, 0)
    with engine.connect() as connection:
        edek = connection.execute(text("SELECT edek FROM documents")).scalar_one()
    assert edek != encrypted.edek
    assert client.decrypt(EncryptedDocument(encrypted.fields, edek), of("tenant-a")) == {"a": b"1"}
    assert run(memory, source, tmp_path / "journal").before == 1
    engine.dispose()


def test_values_with_their_own_edek_are_rekeyed_too(memory, tmp_path):
    url, client = f"sqlite:///{tmp_path}/app.db", memory.client()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE people (id INTEGER, ssn BLOB)"))
        connection.execute(text("INSERT INTO people VALUES (1, :v)"), {"v": client.encrypt_attached(b"123", of("old"))})
    source = SqlTable(
        url,
        "SELECT id, ssn AS edek FROM people",
        "UPDATE people SET ssn = :edek WHERE id = :id AND ssn = :was",
        tmp_path / "kept",
        one_tenant="old",
    )
    assert run(memory, source, tmp_path / "journal", new_tenant_id="new").rekeyed == 1
    with engine.connect() as connection:
        value = connection.execute(text("SELECT ssn FROM people")).scalar_one()
    assert client.decrypt_attached(value, of("new")) == b"123"
    engine.dispose()


@pytest.mark.parametrize(
    ("query", "update", "word"),
    [
        ("SELECT 1 AS id, 't' AS tenant, 'e' AS edek", "UPDATE x SET edek = :edek WHERE id = :id", ":was"),
        ("SELECT 1 AS id, 'e' AS edek", "UPDATE x SET edek = :edek WHERE id = :id AND edek = :was", "'tenant'"),
        (
            "SELECT 1 AS id, 't' AS tenant, 'e' AS edek UNION ALL SELECT 1, 't', 'f'",
            "UPDATE x SET edek = :edek WHERE id = :id AND edek = :was",
            "twice",
        ),
    ],
)
def test_a_query_that_cannot_be_right_is_refused(tmp_path, query, update, word):
    with pytest.raises(ValueError, match=word):
        list(SqlTable("sqlite://", query, update, tmp_path / "kept").rows())


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("name,tenant\na,b\n", "no column 'edek'"),
        ("edek,tenant\nx,\n", "row 1 has no tenant"),
        ("edek,tenant\n,t\n", "row 1 has no EDEK"),
        ("edek,tenant\nx,t,more\n", "not as many cells"),
        ("edek,tenant\nx\n", "not as many cells"),
        ("", "no column"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused(tmp_path, content, word):
    (tmp_path / "in.csv").write_text(content)
    with pytest.raises(ValueError, match=word):
        list(CsvFile(tmp_path / "in.csv", tmp_path / "out", Columns()).rows())


def test_lines_that_are_not_objects_are_refused(tmp_path):
    (tmp_path / "in.jsonl").write_text('{"edek": "x", "tenant": "t"}\n\n[]\n')
    with pytest.raises(ValueError, match="line 3"):
        list(JsonLines(tmp_path / "in.jsonl", tmp_path / "out", Columns()).rows())


def test_a_plan_asks_nobody(memory, store, tmp_path):
    path = store.as_csv(tmp_path / "in.csv")
    path.write_text(path.read_text() + "x,tenant-a,junk\n")
    calls = len(memory.calls)
    with Journal(tmp_path / "journal", THIS) as journal:
        found = plan(CsvFile(path, tmp_path / "out.csv", Columns()), journal)
    assert (found.rows, found.before, found.leased, found.unreadable) == (21, 0, 0, ["21"])
    assert found.tenants == {"tenant-a": 11, "tenant-b": 10}
    assert len(found.kms_configs) == 2
    assert len(memory.calls) == calls


def test_a_pace_is_kept():
    now, slept = 0.0, []

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    pacer = Pacer(10.0, sleep, lambda: now)
    for _ in range(5):
        pacer.wait()
    assert sum(slept) == pytest.approx(0.4)
    now += 100.0
    pacer.wait()
    pacer.wait()
    assert sum(slept) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="more than 0"):
        Pacer(0)


def test_codes_of_the_proxy_itself_are_no_rows_fault(memory, store, tmp_path):
    memory.fail_next(*[Code.UNAUTHORIZED_REQUEST] * 100)
    source = CsvFile(store.as_csv(tmp_path / "in.csv"), tmp_path / "out.csv", Columns())
    report = run(memory, source, tmp_path / "journal")
    assert report.stopped
    assert (report.failed, report.rekeyed) == (0, 0)
