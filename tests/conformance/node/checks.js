"use strict";
// Every promise that the published Node client, unmodified, needs the proxy to keep. One line of JSON per check.

const assert = require("node:assert/strict");
const {randomBytes} = require("node:crypto");
const {readFileSync} = require("node:fs");
const {Writable} = require("node:stream");
const world = require("./world");

const {tsc, client, text, fromBase64, forDocument, forField, refusal, bytesIn} = world;
const {TenantSecurityErrorCode: Code, KmsException, TscException, TspServiceException} = tsc;
const fields = client.deterministicClient;

const GCP = "INTEGRATION-TEST-GCP";
const AWS = "INTEGRATION-TEST-AWS";
const AZURE = "INTEGRATION-TEST-AZURE";
const COMBO = "INTEGRATION-TEST-COMBO";

// EDEKs under configs that no client can ask for, with a document each: {edek, document, plaintext}.
const prepared = JSON.parse(readFileSync(world.need("PREPARED"), "utf8"));

const encryptedOf = ({edek, document}) => ({edek, encryptedDocument: {body: fromBase64(document)}});

function person() {
    return {name: text("Ada Lovelace"), note: text("née Byron, ünïcödé"), empty: Buffer.alloc(0), blob: randomBytes(4096)};
}

function assertSame(actual, expected) {
    assert.deepEqual(Object.keys(actual).sort(), Object.keys(expected).sort());
    for (const [field, bytes] of Object.entries(expected)) {
        assert.ok(bytes.equals(actual[field]), `field ${field} differs`);
    }
}

function assertRefused(error, kind, code) {
    assert.ok(error instanceof kind, `${error && error.constructor.name}: ${error && error.message}`);
    assert.equal(error.errorCode, code, error.message);
}

function sink() {
    const chunks = [];
    const stream = new Writable({
        write(chunk, _, done) {
            chunks.push(chunk);
            done();
        },
    });
    return {stream, bytes: () => Buffer.concat(chunks)};
}

async function encryptStream(plaintext, tenant) {
    const out = sink();
    const {edek} = await client.encryptStream(bytesIn(plaintext), out.stream, forDocument(tenant));
    return {edek, bytes: out.bytes()};
}

async function roundtrip(tenant) {
    const plain = person();
    const first = await client.encryptDocument(plain, forDocument(tenant));
    for (const [field, bytes] of Object.entries(plain)) {
        assert.ok(client.isCiphertext(first.encryptedDocument[field]));
        assert.ok(bytes.length < 8 || !first.encryptedDocument[field].includes(bytes));
    }
    const opened = await client.decryptDocument(first, forDocument(tenant));
    assertSame(opened.plaintextDocument, plain);
    assert.equal(opened.edek, first.edek);

    const changed = {...plain, name: text("Augusta Ada King")};
    const again = await client.encryptDocumentWithExistingKey(
        {plaintextDocument: changed, edek: opened.edek},
        forDocument(tenant)
    );
    assert.equal(again.edek, first.edek);
    assertSame((await client.decryptDocument(again, forDocument(tenant))).plaintextDocument, changed);
}

async function batchRoundtrip(tenant) {
    const plain = Object.fromEntries(["0", "1", "patient/7", "ünï"].map((id) => [id, person()]));
    const ids = Object.keys(plain).sort();
    const encrypted = await client.encryptDocumentBatch(plain, forDocument(tenant));
    assert.ok(encrypted.hasSuccesses && !encrypted.hasFailures);
    assert.deepEqual(Object.keys(encrypted.successes).sort(), ids);
    assert.equal(new Set(Object.values(encrypted.successes).map(({edek}) => edek)).size, ids.length);

    const opened = await client.decryptDocumentBatch(encrypted.successes, forDocument(tenant));
    assert.ok(opened.hasSuccesses && !opened.hasFailures);
    ids.forEach((id) => assertSame(opened.successes[id].plaintextDocument, plain[id]));

    const again = await client.encryptDocumentBatchWithExistingKey(opened.successes, forDocument(tenant));
    assert.ok(!again.hasFailures);
    ids.forEach((id) => assert.equal(again.successes[id].edek, encrypted.successes[id].edek));
    const reopened = await client.decryptDocumentBatch(again.successes, forDocument(tenant));
    assert.ok(!reopened.hasFailures);
    ids.forEach((id) => assertSame(reopened.successes[id].plaintextDocument, plain[id]));
}

async function rekey(from, to) {
    const plain = person();
    const encrypted = await client.encryptDocument(plain, forDocument(from));
    const edek = await client.rekeyEdek(encrypted.edek, to, forDocument(from));
    assert.notEqual(edek, encrypted.edek);
    const moved = {edek, encryptedDocument: encrypted.encryptedDocument};
    assertSame((await client.decryptDocument(moved, forDocument(to))).plaintextDocument, plain);
    if (from !== to) {
        assertRefused(await refusal(client.decryptDocument(moved, forDocument(from))), KmsException, Code.KMS_CONFIGURATION_DISABLED);
    }
    assertSame((await client.decryptDocument(encrypted, forDocument(from))).plaintextDocument, plain);
}

const field = (value, secretPath, derivationPath) => ({plaintextField: text(value), secretPath, derivationPath});

async function fieldRoundtrip(tenant) {
    const plain = field("123-45-6789", "people", "ssn");
    const encrypted = await fields.encryptField(plain, forField(tenant));
    assert.ok(fields.isCiphertext(encrypted.encryptedField));
    const again = await fields.encryptField(plain, forField(tenant));
    assert.ok(encrypted.encryptedField.equals(again.encryptedField), "the same input must give the same ciphertext");
    assert.ok(!encrypted.encryptedField.equals((await fields.encryptField({...plain, derivationPath: "name"}, forField(tenant))).encryptedField));
    const opened = await fields.decryptField(encrypted, forField(tenant));
    assert.ok(opened.plaintextField.equals(plain.plaintextField));
}

async function fieldBatchRoundtrip(tenant) {
    const plain = {
        a: field("alpha", "people", "ssn"),
        b: field("beta", "people", "ssn"),
        c: field("gamma", "people", "name/first"),
        d: field("delta", "invoices", "total"),
    };
    const encrypted = await fields.encryptFieldBatch(plain, forField(tenant));
    assert.ok(encrypted.hasSuccesses && !encrypted.hasFailures);
    assert.deepEqual(Object.keys(encrypted.successes).sort(), Object.keys(plain));
    const opened = await fields.decryptFieldBatch(encrypted.successes, forField(tenant));
    assert.ok(!opened.hasFailures);
    Object.entries(plain).forEach(([id, one]) => assert.ok(opened.successes[id].plaintextField.equals(one.plaintextField)));
    const alone = await fields.encryptField(plain.d, forField(tenant));
    assert.ok(alone.encryptedField.equals(encrypted.successes.d.encryptedField), "batch and single calls must agree");
}

async function foreignField(secretPath, derivationPath) {
    return fields.encryptField(field("value", secretPath, derivationPath), forField(GCP));
}

async function partialUnwrap(operation, input) {
    const result = await client[operation](
        {good: input(prepared.active), bad: input(prepared.disabled)},
        forDocument(COMBO)
    );
    assert.ok(result.hasSuccesses && result.hasFailures);
    assert.deepEqual(Object.keys(result.successes), ["good"]);
    assert.deepEqual(Object.keys(result.failures), ["bad"]);
    assertRefused(result.failures.bad, KmsException, Code.KMS_CONFIGURATION_DISABLED);
    return result;
}

async function opens(tenant, specimen) {
    const opened = await client.decryptDocument(encryptedOf(specimen), forDocument(tenant));
    assert.equal(opened.plaintextDocument.body.toString(), specimen.plaintext);
}

const event = (tenant, name = tsc.UserEvent.LOGIN) =>
    client.logSecurityEvent(name, new tsc.EventMetadata(tenant, "conformance-node", "label", 1_700_000_000_000, "198.51.100.7", "object", "ray", {k: "v"}));

world.run({
    "document that is none: key unwrapped, bytes refused": async () => {
        const junk = {edek: prepared.active.edek, encryptedDocument: {body: text("neither magic nor header")}};
        assertRefused(await refusal(client.decryptDocument(junk, forDocument(COMBO))), TscException, Code.INVALID_ENCRYPTED_DOCUMENT);
    },
    "edek that is none: 203": async () => {
        for (const edek of ["edek", "not protobuf at all\n", "\u0001"]) {
            const input = {...encryptedOf(prepared.active), edek: text(edek).toString("base64")};
            assertRefused(await refusal(client.decryptDocument(input, forDocument(COMBO))), KmsException, Code.INVALID_PROVIDED_EDEK);
        }
    },
    "roundtrip, GCP": () => roundtrip(GCP),
    "roundtrip, AWS": () => roundtrip(AWS),
    "roundtrip, Azure": () => roundtrip(AZURE),
    "encrypting twice is refused": async () => {
        const once = await client.encryptDocument(person(), forDocument(GCP));
        assertRefused(await refusal(client.encryptDocument(once.encryptedDocument, forDocument(GCP))), TscException, Code.DOCUMENT_ENCRYPT_FAILED);
    },
    "stream roundtrip": async () => {
        const plain = randomBytes(1_500_000);
        const encrypted = await encryptStream(plain, GCP);
        const out = sink();
        await client.decryptStream(encrypted.edek, bytesIn(encrypted.bytes), out.stream, forDocument(GCP));
        assert.ok(out.bytes().equals(plain));
    },
    "document opens as a stream, stream as a document": async () => {
        const plain = randomBytes(10_000);
        const whole = await client.encryptDocument({body: plain}, forDocument(GCP));
        const out = sink();
        await client.decryptStream(whole.edek, bytesIn(whole.encryptedDocument.body), out.stream, forDocument(GCP));
        assert.ok(out.bytes().equals(plain));
        const streamed = await encryptStream(plain, GCP);
        const opened = await client.decryptDocument({edek: streamed.edek, encryptedDocument: {body: streamed.bytes}}, forDocument(GCP));
        assert.ok(opened.plaintextDocument.body.equals(plain));
    },
    "stream with another document's key writes nothing": async () => {
        const mine = await encryptStream(randomBytes(50_000), GCP);
        const other = await encryptStream(text("other"), GCP);
        const out = sink();
        const error = await refusal(client.decryptStream(other.edek, bytesIn(mine.bytes), out.stream, forDocument(GCP)));
        assertRefused(error, TscException, Code.DOCUMENT_DECRYPT_FAILED);
        assert.equal(out.bytes().length, 0);
    },
    "altered stream is refused": async () => {
        const encrypted = await encryptStream(randomBytes(50_000), GCP);
        encrypted.bytes[encrypted.bytes.length - 1] ^= 1;
        const error = await refusal(client.decryptStream(encrypted.edek, bytesIn(encrypted.bytes), sink().stream, forDocument(GCP)));
        assertRefused(error, TscException, Code.DOCUMENT_DECRYPT_FAILED);
    },
    "batch roundtrip, GCP": () => batchRoundtrip(GCP),
    "batch roundtrip, AWS": () => batchRoundtrip(AWS),
    "batch roundtrip, Azure": () => batchRoundtrip(AZURE),
    "rekey, AWS to AWS": () => rekey(AWS, AWS),
    "rekey, AWS to GCP": () => rekey(AWS, GCP),
    "rekey, GCP to GCP": () => rekey(GCP, GCP),
    "rekey, GCP to Azure": () => rekey(GCP, AZURE),
    "rekey, Azure to Azure": () => rekey(AZURE, AZURE),
    "rekey, Azure to AWS": () => rekey(AZURE, AWS),
    "encrypt without a primary config: 200": async () => {
        assertRefused(await refusal(client.encryptDocument(person(), forDocument(COMBO))), KmsException, Code.NO_PRIMARY_KMS_CONFIGURATION);
    },
    "batch encrypt without a primary config fails whole: 200": async () => {
        const error = await refusal(client.encryptDocumentBatch({a: person(), b: person()}, forDocument(COMBO)));
        assertRefused(error, KmsException, Code.NO_PRIMARY_KMS_CONFIGURATION);
    },
    "decrypt under a disabled config: 202": async () => {
        const error = await refusal(client.decryptDocument(encryptedOf(prepared.disabled), forDocument(COMBO)));
        assertRefused(error, KmsException, Code.KMS_CONFIGURATION_DISABLED);
    },
    "decrypt under an active config that is not primary": () => opens(COMBO, prepared.active),
    "encrypt again under an active config that is not primary": async () => {
        const plaintextDocument = {body: text("a new text")};
        const again = await client.encryptDocumentWithExistingKey({plaintextDocument, edek: prepared.active.edek}, forDocument(COMBO));
        assert.equal(again.edek, prepared.active.edek);
        assertSame((await client.decryptDocument(again, forDocument(COMBO))).plaintextDocument, plaintextDocument);
    },
    "batch encrypt again fails only where the config is disabled": async () => {
        const input = ({edek}) => ({edek, plaintextDocument: {body: text("a new text")}});
        const result = await partialUnwrap("encryptDocumentBatchWithExistingKey", input);
        assert.equal(result.successes.good.edek, prepared.active.edek);
    },
    "encrypt for an unknown tenant: 201": async () => {
        const error = await refusal(client.encryptDocument(person(), forDocument("unknownTenant")));
        assertRefused(error, KmsException, Code.UNKNOWN_TENANT_OR_NO_ACTIVE_KMS_CONFIGURATIONS);
    },
    "batch decrypt fails only where the config is disabled": async () => {
        const result = await partialUnwrap("decryptDocumentBatch", encryptedOf);
        assert.equal(result.successes.good.plaintextDocument.body.toString(), prepared.active.plaintext);
    },
    "decrypt an EDEK without key version, Azure": () => opens(AZURE, prepared.unversioned),
    "EDEK of a foreign key: 205 in the KMS's words": async () => {
        const error = await refusal(client.decryptDocument(encryptedOf(prepared.foreign), forDocument(AZURE)));
        assertRefused(error, KmsException, Code.KMS_UNWRAP_FAILED);
        assert.match(error.message, /Code: BadParameter/);
        assert.match(error.message, /The parameter is incorrect/);
        assert.doesNotMatch(error.message, /Property 'value' is required/);
    },
    "leasing switched off: unleased data opens": () => opens(GCP, prepared.unleased),
    "leasing switched off: leased data opens": () => opens(GCP, prepared.leased),
    "security event is accepted": async () => {
        assert.equal(await event(GCP, tsc.AdminEvent.ADD), null);
    },
    "field roundtrip, GCP": () => fieldRoundtrip(GCP),
    "field roundtrip, AWS": () => fieldRoundtrip(AWS),
    "field roundtrip, Azure": () => fieldRoundtrip(AZURE),
    "field batch roundtrip, GCP": () => fieldBatchRoundtrip(GCP),
    "field batch roundtrip, AWS": () => fieldBatchRoundtrip(AWS),
    "field batch roundtrip, Azure": () => fieldBatchRoundtrip(AZURE),
    "field of an unknown tenant: 201": async () => {
        const error = await refusal(fields.encryptField(field("x", "people", "ssn"), forField("unknownTenant")));
        assertRefused(error, KmsException, Code.UNKNOWN_TENANT_OR_NO_ACTIVE_KMS_CONFIGURATIONS);
        assert.match(error.message, /No configurations available/);
    },
    "field encrypt without a primary config is refused by the client": async () => {
        for (const path of ["path2", "never-seen"]) {
            const error = await refusal(fields.encryptField(field("x", path, "path1"), forField(COMBO)));
            assertRefused(error, TscException, Code.DETERMINISTIC_FIELD_ENCRYPT_FAILED);
            assert.match(error.message, /no primary KMS config/);
        }
    },
    "field rotate without a primary config is refused by the client": async () => {
        const error = await refusal(fields.rotateField(await foreignField("path2", "path1"), forField(COMBO)));
        assertRefused(error, TscException, Code.DETERMINISTIC_ROTATE_FAILED);
        assert.match(error.message, /no primary KMS config/);
    },
    "search terms: current and in rotation, not archived": async () => {
        const terms = await fields.generateSearchTerms(field("value", "foo", "bar"), forField(GCP));
        assert.equal(terms.length, 2);
        assert.equal(new Set(terms.map(({encryptedField}) => encryptedField.readUInt32BE(0))).size, 2);
    },
    "search terms without a primary config: one": async () => {
        const terms = await fields.generateSearchTerms(field("value", "path2", "path1"), forField(COMBO));
        assert.equal(terms.length, 1);
    },
    "search terms, not rotated: one, equal to the ciphertext, stable": async () => {
        const plain = field("value", "not-rotated", "path");
        const encrypted = await fields.encryptField(plain, forField(GCP));
        for (let call = 0; call < 2; call++) {
            const terms = await fields.generateSearchTerms(plain, forField(GCP));
            assert.equal(terms.length, 1);
            assert.ok(terms[0].encryptedField.equals(encrypted.encryptedField));
        }
    },
    "search terms in rotation: two, the current one first": async () => {
        const plain = field("value", "rotation-started", "path");
        const encrypted = await fields.encryptField(plain, forField(GCP));
        const terms = await fields.generateSearchTerms(plain, forField(GCP));
        assert.equal(terms.length, 2);
        assert.ok(terms[0].encryptedField.equals(encrypted.encryptedField));
        assert.ok(!terms[1].encryptedField.equals(encrypted.encryptedField));
        const opened = await fields.decryptField(terms[1], forField(GCP));
        assert.equal(opened.plaintextField.toString(), "value");
        const rotated = await fields.rotateField(terms[1], forField(GCP));
        assert.ok(rotated.encryptedField.equals(encrypted.encryptedField), "rotation must lead to the current secret");
    },
    "field batch decrypt fails only where the field is altered": async () => {
        const good = await fields.encryptField(field("value", "foo", "bar"), forField(GCP));
        const altered = Buffer.from(good.encryptedField);
        altered[altered.length - 1] ^= 1;
        const unknownSecret = Buffer.from(good.encryptedField);
        unknownSecret.writeUInt32BE(0xfffffff0, 0);
        const result = await fields.decryptFieldBatch(
            {good, altered: {...good, encryptedField: altered}, unknownSecret: {...good, encryptedField: unknownSecret}},
            forField(GCP)
        );
        assert.deepEqual(Object.keys(result.successes), ["good"]);
        assert.deepEqual(Object.keys(result.failures).sort(), ["altered", "unknownSecret"]);
        Object.values(result.failures).forEach((error) => assertRefused(error, TscException, Code.DETERMINISTIC_FIELD_DECRYPT_FAILED));
    },
    "field batch encrypt without a primary config is refused by the client": async () => {
        const error = await refusal(fields.encryptFieldBatch({a: field("x", "path2", "path1")}, forField(COMBO)));
        assertRefused(error, TscException, Code.DETERMINISTIC_FIELD_ENCRYPT_FAILED);
    },
    "field batch rotate without a primary config is refused by the client": async () => {
        const error = await refusal(fields.rotateFieldBatch({a: await foreignField("path2", "path1")}, forField(COMBO)));
        assertRefused(error, TscException, Code.DETERMINISTIC_ROTATE_FAILED);
    },
    "batch search terms without a primary config: one each": async () => {
        const result = await fields.generateSearchTermsBatch(
            {a: field("x", "path2", "path1"), b: field("y", "path2", "another")},
            forField(COMBO)
        );
        assert.ok(!result.hasFailures);
        assert.equal(result.successes.a.length, 1);
        assert.equal(result.successes.b.length, 1);
    },

    "local: document roundtrip": () => roundtrip("tenant-gcp"),
    "local: field roundtrip": () => fieldRoundtrip("tenant-gcp"),
    "local: batch roundtrip": () => batchRoundtrip("tenant-gcp"),
    "local: field batch roundtrip": () => fieldBatchRoundtrip("tenant-gcp"),
    "local: security event of an unknown tenant is accepted": async () => {
        assert.equal(await event("bad-tenant-id"), null);
    },

    "leased: document roundtrip": () => roundtrip("tenant-gcp-l"),
    "leased: batch roundtrip": () => batchRoundtrip("tenant-aws-l"),
    "leased: field roundtrip": () => fieldRoundtrip("tenant-azure-l"),
    "leased: rekey to unleased and back": async () => {
        await rekey("tenant-gcp-l", "tenant-aws");
        await rekey("tenant-azure", "tenant-aws-l");
        await rekey("tenant-gcp-l", "tenant-gcp-l");
    },
    "leased: every EDEK of a lease repeats its wrapped key": async () => {
        const sizes = new Set();
        for (let call = 0; call < 3; call++) {
            sizes.add(fromBase64((await client.encryptDocument({a: text("x")}, forDocument("tenant-gcp-l"))).edek).length);
        }
        assert.deepEqual([...sizes], [195]);
    },
    "every kind of security event is accepted": async () => {
        const names = [tsc.AdminEvent.CHANGE_SETTING, tsc.DataEvent.EXPORT, tsc.PeriodicEvent.CREATE_BACKUP, new tsc.CustomSecurityEvent("OWN_NAME")];
        for (const name of names) {
            assert.equal(await event("tenant-gcp", name), null);
        }
    },
    "wrong API key: 101": async () => {
        const stranger = new tsc.TenantSecurityClient(world.PROXY_URL, "AAAAAAAAAAAAAAAA");
        assertRefused(await refusal(stranger.encryptDocument(person(), forDocument(GCP))), TspServiceException, Code.UNAUTHORIZED_REQUEST);
    },
    "trailing slash in the configured address": async () => {
        const slashed = new tsc.TenantSecurityClient(`${world.PROXY_URL}/`, world.API_KEY);
        const encrypted = await slashed.encryptDocument({a: text("x")}, forDocument(GCP));
        assert.equal((await slashed.decryptDocument(encrypted, forDocument(GCP))).plaintextDocument.a.toString(), "x");
    },
    "a hundred documents in one batch": async () => {
        const plain = Object.fromEntries(Array.from({length: 100}, (_, id) => [`doc-${id}`, {body: text(`text ${id}`)}]));
        const encrypted = await client.encryptDocumentBatch(plain, forDocument("tenant-gcp-l"));
        const opened = await client.decryptDocumentBatch(encrypted.successes, forDocument("tenant-gcp-l"));
        assert.ok(!encrypted.hasFailures && !opened.hasFailures);
        assert.equal(Object.keys(opened.successes).length, 100);
        assert.equal(opened.successes["doc-99"].plaintextDocument.body.toString(), "text 99");
    },
    "thirty requests at once": async () => {
        const all = await Promise.all(Array.from({length: 30}, () => client.encryptDocument({a: text("x")}, forDocument(GCP))));
        assert.equal(new Set(all.map(({edek}) => edek)).size, 30);
    },
});
