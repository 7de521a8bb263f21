"use strict";
// Writes specimens for other clients to read (`node exchange.js write FILE`) and reads theirs (`... read FILE`).
//
// A specimen: {name, kind: "document" | "field", tenant, plaintext, edek, ciphertext, secretPath, derivationPath};
// plaintext, edek and ciphertext in base64.

const assert = require("node:assert/strict");
const {randomBytes} = require("node:crypto");
const {readFileSync, writeFileSync} = require("node:fs");
const {Writable} = require("node:stream");
const {bytesIn, client, fromBase64, forDocument, forField, run} = require("./world");

async function document(name, tenant) {
    const plaintext = randomBytes(777);
    const {edek, encryptedDocument} = await client.encryptDocument({body: plaintext}, forDocument(tenant));
    return {name, kind: "document", tenant, plaintext: plaintext.toString("base64"), edek, ciphertext: encryptedDocument.body.toString("base64")};
}

async function rekeyed(name, from, to) {
    const specimen = await document(name, from);
    return {...specimen, tenant: to, edek: await client.rekeyEdek(specimen.edek, to, forDocument(from))};
}

async function streamed(name, tenant) {
    const plaintext = randomBytes(300_000);
    const chunks = [];
    const out = new Writable({
        write(chunk, _, done) {
            chunks.push(chunk);
            done();
        },
    });
    const {edek} = await client.encryptStream(bytesIn(plaintext), out, forDocument(tenant));
    return {name, kind: "document", tenant, plaintext: plaintext.toString("base64"), edek, ciphertext: Buffer.concat(chunks).toString("base64")};
}

async function field(name, tenant) {
    const [secretPath, derivationPath, plaintext] = ["exchange", "column/1", randomBytes(33)];
    const {encryptedField} = await client.deterministicClient.encryptField({plaintextField: plaintext, secretPath, derivationPath}, forField(tenant));
    const ciphertext = encryptedField.toString("base64");
    return {name, kind: "field", tenant, plaintext: plaintext.toString("base64"), ciphertext, secretPath, derivationPath};
}

async function write(file) {
    const specimens = [
        await document("document", "tenant-gcp"),
        await document("leased document", "tenant-gcp-l"),
        await rekeyed("rekeyed document", "tenant-aws", "tenant-azure"),
        await rekeyed("document rekeyed to leased", "tenant-gcp", "tenant-gcp-l"),
        await streamed("streamed document", "tenant-gcp"),
        await field("field", "tenant-gcp"),
    ];
    writeFileSync(file, JSON.stringify(specimens));
}

async function read(file) {
    const checks = JSON.parse(readFileSync(file, "utf8")).map((specimen) => [specimen.name, async () => {
        const ciphertext = fromBase64(specimen.ciphertext);
        if (specimen.kind === "document") {
            const opened = await client.decryptDocument({edek: specimen.edek, encryptedDocument: {body: ciphertext}}, forDocument(specimen.tenant));
            assert.equal(opened.plaintextDocument.body.toString("base64"), specimen.plaintext);
            return;
        }
        const {secretPath, derivationPath} = specimen;
        const metadata = forField(specimen.tenant);
        const opened = await client.deterministicClient.decryptField({encryptedField: ciphertext, secretPath, derivationPath}, metadata);
        assert.equal(opened.plaintextField.toString("base64"), specimen.plaintext);
        const again = await client.deterministicClient.encryptField(opened, metadata);
        assert.ok(again.encryptedField.equals(ciphertext), "both clients must write the same field");
    }]);
    await run(Object.fromEntries(checks));
}

const [mode, file] = process.argv.slice(2);
({write, read})[mode](file).catch((error) => {
    console.error(error);
    process.exitCode = 1;
});
