/** What is made here, for Python to open: a vendor, a service, a tenant with its own admin, and key bundles. */

import { readFileSync, writeFileSync } from "node:fs";

import { expect, test } from "vitest";

import * as authoring from "../src/trust/authoring.ts";
import { fromHex, hex, text } from "../src/trust/bytes.ts";
import { segmentsFor, verifyAuthors, verifyChain, verifyConfig, verifyRecord } from "../src/trust/chain.ts";
import * as documents from "../src/trust/documents.ts";
import { contentOf, type Form, formOf, lockKeys, newKeys, openerOfPasskey, openKeys, readBundle, stretch, withContent, withForm, withLock } from "../src/trust/keys.ts";
import { fingerprint } from "../src/trust/names.ts";

const CONFIG = { type: "AWS", version: 1, keyPath: { keyID: "alias/acme", region: "eu-central-1" } };

test("a vendor, its service and a tenant with an admin of its own", async () => {
    const admin = await newKeys();
    const vendor = await authoring.createVendor("acme", "Ann", admin, ["default"]);
    const rootFingerprint = await fingerprint(vendor.rootPublic);
    let chain = await verifyChain(vendor, rootFingerprint, null);
    const seeds = await authoring.openSegments(chain.manifest, vendor.segmentWraps, admin.seeds.encryption);

    const service = await authoring.newIdentity("proxy-1", 2, ["default"]);
    const manifest = await authoring.nextManifest(chain.manifest, { identities: [...chain.manifest.identities, service.identity] }, admin.signing);
    chain = await verifyChain({ root: vendor.root, manifest }, rootFingerprint, chain.seen);
    const segmentWraps = [...vendor.segmentWraps, ...(await authoring.wrapsFor(chain.manifest, service.identity, seeds))];

    const owner = await newKeys();
    const tenant = "tenant <1>\u2028ü";
    const authors = await authoring.nextAuthors(
        {
            vendor: "acme",
            tenant,
            authors: [{ public: owner.signing.public, name: "Bo", may: ["tenant-record", "config"] }],
        },
        0,
        admin.signing,
    );
    const known = await verifyAuthors(chain, tenant, authors);
    const credentials = { accessKeyId: "AKIA", secretAccessKey: "canary \u{1f511}" };
    const config = { ...CONFIG, credentials };
    const sealed = await authoring.sealConfig(
        { vendor: "acme", tenant, config: 7, kind: "kms", previous: 0 },
        authoring.plaintextOf(config),
        segmentsFor(chain.manifest, ["default", "other"]),
        owner.signing,
    );
    await verifyConfig(chain, known.authors, tenant, sealed);
    expect(JSON.parse(text(await authoring.openConfig(sealed, seeds)))).toEqual(config);
    const assignments = [{ config: 7, active: true, primary: true, leasing: false }];
    const record = await authoring.nextRecord(
        { vendor: "acme", tenant, leasingRequired: false, assignments },
        0,
        owner.signing,
    );
    await verifyRecord(chain, known.authors, tenant, record);

    const { wraps, ...rest } = sealed;
    const lines = [
        {
            format: "tenant-security-snapshot",
            formatVersion: 1,
            version: 1,
            created: documents.nowSeconds(),
            lines: 1,
            root: vendor.root,
            manifest,
            segmentWraps,
            segment: 1,
        },
        { line: "tenant", tenant, record, configs: [{ ...rest, wrap: wraps[0] }], authors },
    ].map((line) => JSON.stringify(line, documents.jsonBytes));
    const environment = authoring.envFile(service, 1, rootFingerprint, "key", "https://broker.example");
    expect(environment.split("\n")).toHaveLength(9);
    if (process.env["MADE_HERE"] !== undefined) {
        writeFileSync(process.env["MADE_HERE"], JSON.stringify({ lines, environment, tenant, config }));
    }
});

test("a revoked service's segments begin a new epoch beside the old one", async () => {
    const admin = await newKeys();
    const vendor = await authoring.createVendor("acme", "Ann", admin, []);
    const chain = await verifyChain(vendor, await fingerprint(vendor.rootPublic), null);
    const { segments, seeds } = await authoring.nextEpochs(chain.manifest, new Set([1]));
    expect(segments.map((each) => [each.id, each.epoch])).toEqual([
        [1, 1],
        [1, 2],
    ]);
    expect(segmentsFor({ ...chain.manifest, segments }, []).map((each) => each.epoch)).toEqual([2]);
    expect([...seeds.keys()]).toEqual([authoring.seedName(1, 2)]);
});

test("a bundle opens with each of its locks, and with nothing else", async () => {
    const keys = await newKeys();
    const { opener } = await stretch("Ann@Example.com ", "correct horse battery");
    const passkey = await openerOfPasskey("cred-1", fromHex("07".repeat(32)));
    const locked = await lockKeys(keys, [opener]);
    const pinned = { ...keys, pins: new Map([["acme", "7eii"]]) };
    const two = await withContent(await withLock(locked, keys, passkey), pinned);
    const kept = readBundle(documents.encode(two));
    for (const each of [opener, passkey]) {
        const opened = await openKeys(kept, each);
        expect([opened.signing.id, opened.pins.get("acme")]).toEqual([keys.signing.id, "7eii"]);
    }
    const wrong = (await stretch("ann@example.com", "correct horse battery?")).opener;
    await expect(openKeys(kept, wrong)).rejects.toThrow("altered");
    await expect(openKeys(kept, { ...passkey, id: "cred-2" })).rejects.toThrow("no lock");
    const swapped = { ...kept, signing: (await newKeys()).signing.public };
    await expect(openKeys(swapped, opener)).rejects.toThrow("altered");
});

test("a bundle keeps what was typed, bound to the version that it made", async () => {
    const keys = await newKeys();
    const { opener } = await stretch("ann@example.com", "correct horse battery");
    const typed = (config: number, version: number, value: string) => ({ vendor: "acme", tenant: "", config, version, values: [{ at: "keyPath.name", value }] });
    const forms = [typed(1, 1, "old"), typed(1, 2, "new\nline"), typed(1, 3, "newest"), typed(2, 1, "other")].reduce(withForm, [] as Form[]);
    const kept = await withContent(await lockKeys(keys, [opener]), { ...keys, forms });
    const opened = await openKeys(readBundle(documents.encode(kept)), opener);
    expect(formOf(opened.forms, "acme", "", 1, 3)).toEqual({ "keyPath.name": "newest" });
    expect(formOf(opened.forms, "acme", "", 1, 2)).toEqual({ "keyPath.name": "new\nline" });
    expect(formOf(opened.forms, "acme", "", 1, 1)).toBeNull();
    expect(formOf(opened.forms, "acme", "t", 1, 3)).toBeNull();
    expect((await contentOf(kept, opened.bundleKey)).forms).toEqual(opened.forms);
    const many = Array.from({ length: 400 }, (_, at) => typed(at + 1, 1, "x".repeat(500))).reduce(withForm, [] as Form[]);
    expect(formOf(many, "acme", "", 400, 1)).not.toBeNull();
    expect(JSON.stringify(many).length).toBeLessThanOrEqual(24_000);
    expect(withForm([], typed(1, 1, "x".repeat(30_000)))).toEqual([]);
});

test("the published vector of a bundle", async () => {
    const file = new URL("../../tests/vectors/key-bundle-v1.json", import.meta.url);
    const vector = JSON.parse(readFileSync(file, "utf8"));
    const made = await stretch(vector.email, vector.passphrase);
    expect([made.signIn, hex(made.opener.opens)]).toEqual([vector.signIn, vector.opens]);
    const keys = await openKeys(readBundle(documents.encode(vector.bundle)), made.opener);
    expect([hex(keys.seeds.signing), hex(keys.seeds.encryption)]).toEqual([vector.signingSeed, vector.encryptionSeed]);
});
