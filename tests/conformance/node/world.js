"use strict";
// What every program here shares: the client under test, its tenants, and the reports that pytest reads.

const {Readable} = require("node:stream");
const tsc = require("@ironcorelabs/tenant-security-nodejs");

const PROXY_URL = need("PROXY_URL");
const API_KEY = need("API_KEY");

function need(name) {
    const value = process.env[name];
    if (!value) {
        throw new Error(`set ${name}`);
    }
    return value;
}

const client = new tsc.TenantSecurityClient(PROXY_URL, API_KEY);

const text = (value) => Buffer.from(value, "utf8");
const fromBase64 = (value) => Buffer.from(value, "base64");

/** A stream of these bytes, as a file would give them. */
const bytesIn = (bytes) => Readable.from([bytes], {objectMode: false});

/** Metadata of a document operation, with every optional member filled in. */
function forDocument(tenant) {
    return new tsc.DocumentMetadata(tenant, "conformance-node", "records", "198.51.100.7", "object-1", "ray-1", {
        purpose: "conformance",
    });
}

/** Metadata of a field operation, with every optional member left out. */
function forField(tenant) {
    return new tsc.FieldMetadata(tenant, "conformance-node");
}

/** Run the promise and return what it was rejected with; being resolved is the failure. */
async function refusal(promise) {
    let value;
    try {
        value = await promise;
    } catch (error) {
        return error;
    }
    throw new Error(`expected a refusal, got ${JSON.stringify(value)}`);
}

/** Print one line for pytest: what was checked, whether it held, and why not. */
function report(name, error) {
    const line = error === undefined ? {name, ok: true} : {name, ok: false, error: String(error.stack || error)};
    process.stdout.write(JSON.stringify(line) + "\n");
}

/** Run the named checks one after another; a check that throws or hangs has failed. */
async function run(checks) {
    for (const [name, body] of Object.entries(checks)) {
        let timer;
        const late = new Promise((_, reject) => {
            timer = setTimeout(() => reject(new Error("no answer within 30 s")), 30_000);
        });
        try {
            await Promise.race([body(), late]);
            report(name);
        } catch (error) {
            report(name, error);
        } finally {
            clearTimeout(timer);
        }
    }
}

module.exports = {tsc, client, PROXY_URL, API_KEY, need, text, fromBase64, forDocument, forField, refusal, report, run, bytesIn};
