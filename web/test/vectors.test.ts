/** The published vectors: what Python made opens and verifies here. */

import { readFileSync } from "node:fs";

import { describe, expect, test } from "vitest";

import { nextRecord, openDek } from "../src/trust/authoring.ts";
import { base64, fromHex, hex, random, text, utf8 } from "../src/trust/bytes.ts";
import { type TrustedAuthor, verifyChain, verifyConfig, verifyRecord } from "../src/trust/chain.ts";
import * as documents from "../src/trust/documents.ts";
import { fingerprint, fingerprintWords, parseFingerprint } from "../src/trust/names.ts";
import * as read from "../src/trust/reading.ts";
import { commitment, open, openPayload, publicOf, seal } from "../src/trust/sealing.ts";
import { sparesAfter, wrongSpares } from "../src/trust/spares.ts";
import { type Kind, SigningKey, verifies } from "../src/trust/signing.ts";

type Vector = any; // vectors are data of many shapes
const vectors: Record<string, Vector> = JSON.parse(readFileSync(new URL("../../tests/vectors/trust-v1.json", import.meta.url), "utf8"));

const envelope = read.object({
    header: read.bytes(),
    payload: read.bytes(),
    commit: read.bytes(32),
    author: read.string(/./),
    sig: read.bytes(64),
    wrap: documents.wrap,
});

describe("sealing", () => {
    test.each<Vector>(vectors.hpke)("a seed of suite $suite gives its public key and opens", async (vector: Vector) => {
        const seed = fromHex(vector.seed);
        expect(hex(await publicOf(vector.suite, seed))).toBe(vector.public);
        const opened = await open(vector.suite, seed, fromHex(vector.info), fromHex(vector.sealed));
        expect(hex(opened)).toBe(vector.plaintext);
    });

    test.each<Vector>(vectors.hpke)("what is sealed with suite $suite opens, in its own context only", async (vector: Vector) => {
        const seed = fromHex(vector.seed);
        const sealed = await seal(vector.suite, fromHex(vector.public), utf8("here"), utf8("text"));
        expect(text(await open(vector.suite, seed, utf8("here"), sealed))).toBe("text");
        await expect(open(vector.suite, seed, utf8("there"), sealed)).rejects.toThrow("another key or for another place");
    });

    test("a payload and its commitment", async () => {
        const { dek, header, payload, commit, plaintext } = vectors.payload;
        expect(hex(await commitment(fromHex(dek)))).toBe(commit);
        const opened = await openPayload(fromHex(dek), fromHex(header), fromHex(payload), fromHex(commit));
        expect(hex(opened)).toBe(plaintext);
        await expect(openPayload(fromHex(dek), fromHex(header), fromHex(payload), new Uint8Array(32))).rejects.toThrow(
            "committed",
        );
    });
});

describe("signatures", () => {
    test.each<Vector>(vectors.signatures)("of a $kind", async (vector: Vector) => {
        const key = await SigningKey.fromSeed(fromHex(vector.seed));
        const body = fromHex(vector.body);
        expect([hex(key.public), key.id]).toEqual([vector.public, vector.keyId]);
        expect(await fingerprint(key.public)).toBe(vector.fingerprint);
        const signature = await key.sign(vector.kind as Kind, body);
        expect(hex(signature)).toBe(vector.signature);
        expect(await verifies(key.public, vector.kind as Kind, body, signature)).toBe(true);
        const another: Kind = vector.kind === "root" ? "head" : "root";
        expect(await verifies(key.public, another, body, signature)).toBe(false);
    });

    test("a fingerprint is read in any grouping, and nothing else is", () => {
        const known = vectors.signatures[0].fingerprint;
        expect(parseFingerprint(known.replaceAll("-", " ").toUpperCase())).toBe(known);
        expect(() => parseFingerprint(known.slice(1))).toThrow("52 letters");
        expect(() => parseFingerprint(`${known.slice(0, -1)}b`)).toThrow("52 letters");
    });

    test("a fingerprint has twelve words, and another one has others", () => {
        const words = fingerprintWords(vectors.signatures[0].fingerprint);
        expect(words).toHaveLength(12);
        expect(words.every((word) => /^[a-z]{3,8}$/.test(word))).toBe(true);
    });
});

describe("envelopes", () => {
    test.each<Vector>(vectors.envelopes)("step by step", async (vector: Vector) => {
        const made = envelope(vector.envelope, "envelope");
        const signedBytes = await documents.configSignedBytes(made);
        expect(hex(signedBytes)).toBe(vector.signedBytes);
        expect(await verifies(fromHex(vector.authorPublic), "config", signedBytes, made.sig)).toBe(true);
        const info = await documents.configDekInfo(made.wrap.segment, made.wrap.epoch, made.header);
        expect(hex(info)).toBe(vector.wrapInfo);
        const dek = await openDek(made.header, made.wrap, fromHex(vector.segmentSeed));
        expect(hex(dek)).toBe(vector.dek);
        expect(text(await openPayload(dek, made.header, made.payload, made.commit))).toBe(vector.config);
    });

    test("the context of a segment's seed", () => {
        const { vendor, segment, epoch, recipient, info } = vectors.segmentSeedInfo;
        expect(hex(documents.segmentSeedInfo(vendor, segment, epoch, recipient))).toBe(info);
    });
});

describe("spares", () => {
    const cases: Record<string, Vector[]> = JSON.parse(readFileSync(new URL("../../tests/vectors/spares-v1.json", import.meta.url), "utf8"));
    const assignments = (given: Vector[]) => given.map(([config, active, primary, leasing]: Vector) => ({ config, active, primary, leasing }));

    test.each<Vector>(cases["rules"] ?? [])("$what", ({ assignments: given, spares, good }: Vector) => {
        expect(wrongSpares(assignments(given), spares) === null).toBe(good);
    });

    test.each<Vector>(cases["changes"] ?? [])("when $what", ({ before, after, spares, then }: Vector) => {
        expect(sparesAfter(assignments(before), assignments(after), spares)).toEqual(then);
    });

    test.each<Vector>(cases["rules"] ?? [])("a record with $what is judged by that", async ({ assignments: given, spares, good }: Vector) => {
        const chain = await verifyChain(chainGiven, environment.VENDOR_ROOT_FINGERPRINT, null);
        const author = await SigningKey.fromSeed(random(32));
        const known = new Map([[author.id, { name: "A", public: author.public, may: ["tenant-record"], tenant: "t" } as unknown as TrustedAuthor]]);
        const said = { vendor: chain.manifest.vendor, tenant: "t", leasingRequired: false, assignments: assignments(given), spares };
        const judged = verifyRecord(chain, known, "t", await nextRecord(said, 0, author));
        await (good ? expect(judged).resolves.toMatchObject({ spares }) : expect(judged).rejects.toThrow("spare"));
    });
});

const environment = vectors.snapshot.environment;
const firstLine = JSON.parse(vectors.snapshot.lines[0]);
const chainGiven = { root: documents.signed(firstLine.root, "root"), manifest: documents.signed(firstLine.manifest, "m") };

describe("a whole snapshot", () => {
    const lines = vectors.snapshot.lines.map((line: string) => JSON.parse(line));
    const given = chainGiven;

    test("its chain is good under the pinned fingerprint, and its entries under the chain", async () => {
        const chain = await verifyChain(given, environment.VENDOR_ROOT_FINGERPRINT, null);
        for (const line of lines.slice(1).filter((each: any) => each.line === "tenant")) {
            const record = documents.signed(line.record, "record");
            expect((await verifyRecord(chain, chain.authors, line.tenant, record)).tenant).toBe(line.tenant);
            for (const each of line.configs) {
                const sealed = envelope(each, "envelope");
                expect((await verifyConfig(chain, chain.authors, line.tenant, sealed)).tenant).toBe(line.tenant);
                await expect(verifyConfig(chain, chain.authors, "somebody else", sealed)).rejects.toThrow("belongs");
            }
        }
    });

    test("another fingerprint, an altered root and an older manifest are refused", async () => {
        const pinned = environment.VENDOR_ROOT_FINGERPRINT;
        await expect(verifyChain(given, vectors.signatures[0].fingerprint, null)).rejects.toThrow("not the one");
        const altered = { ...given, root: { ...given.root, body: utf8(text(given.root.body).replace("}", " }")) } };
        await expect(verifyChain(altered, pinned, null)).rejects.toThrow("signature of the root");
        const { seen } = await verifyChain(given, pinned, null);
        await expect(verifyChain(given, pinned, seen)).resolves.toBeDefined();
        const newer = { ...seen, manifestVersion: seen.manifestVersion + 1 };
        await expect(verifyChain(given, pinned, newer)).rejects.toThrow("rolled back");
        const other = { ...seen, manifestHash: base64(new Uint8Array(32)) };
        await expect(verifyChain(given, pinned, other)).rejects.toThrow("rolled back");
    });
});
