/**
 * The person's keys while they are open: in memory, and across a reload of this tab.
 *
 * Across a reload they lie in the tab's session storage, encrypted under a key that the browser holds and gives to
 * nobody. Both are gone when the person signs out; the first when the tab is closed.
 */

import { api, ApiError } from "../api/client.ts";
import type { SignedJson } from "../api/types.ts";
import { base64, concat, fromBase64, random, text, utf8 } from "../trust/bytes.ts";
import { encode } from "../trust/documents.ts";
import {
    type AdminKeys,
    type Bundle,
    contentOf,
    type Form,
    fromSeeds,
    openKeys,
    type Opener,
    readBundle,
    withContent,
    withForm,
} from "../trust/keys.ts";
import { Store } from "./store.ts";

export interface Kept {
    bundle: Bundle;
    claim: SignedJson;
    keyId: string;
}

export const keys = new Store<AdminKeys | null>(null);

const PLACE = "keys";
const DATABASE = "tenant-security";

/** The bundle as the broker keeps it, or null. */
export async function readKept(): Promise<Kept | null> {
    try {
        const { bundle, claim, keyId } = await api.get<{ bundle: string; claim: SignedJson; keyId: string }>(
            "/api/1/account/keys",
        );
        return { bundle: readBundle(fromBase64(bundle)), claim, keyId };
    } catch (failure) {
        if (failure instanceof ApiError && failure.status === 404) {
            return null;
        }
        throw failure;
    }
}

/** Keep a bundle at the broker. `replaces` is the id of the key that is there now. */
export function keepBundle(bundle: Bundle, claim: object, replaces: string | null): Promise<void> {
    return api.put("/api/1/account/keys", { bundle: base64(encode(bundle)), claim, replaces });
}

/** Open the kept keys. Throws CannotOpenError. */
export async function unlock(opener: Opener): Promise<AdminKeys> {
    const kept = await readKept();
    if (kept === null) {
        throw new Error("You have no keys here yet.");
    }
    const opened = await openKeys(kept.bundle, opener);
    await hold(opened);
    return opened;
}

/** Have these keys open from now on. */
export async function hold(opened: AdminKeys): Promise<void> {
    keys.set(opened);
    try {
        const nonce = random(12);
        const plain = utf8(
            JSON.stringify({
                signing: base64(opened.seeds.signing),
                encryption: base64(opened.seeds.encryption),
                bundleKey: base64(opened.bundleKey),
                pins: [...opened.pins],
                forms: opened.forms,
            }),
        );
        const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv: nonce }, await tabKey(), plain);
        plain.fill(0);
        sessionStorage.setItem(PLACE, base64(concat(nonce, new Uint8Array(sealed))));
    } catch {
        // Without storage the keys are asked for again after a reload.
    }
}

/** Take up the keys that this tab had open before it was loaded again. */
export async function resume(): Promise<void> {
    const written = sessionStorage.getItem(PLACE);
    if (written === null || keys.value !== null) {
        return;
    }
    try {
        const sealed = fromBase64(written);
        const how = { name: "AES-GCM", iv: sealed.slice(0, 12) };
        const plain = new Uint8Array(await crypto.subtle.decrypt(how, await tabKey(), sealed.slice(12)));
        const held = JSON.parse(text(plain)) as Record<"signing" | "encryption" | "bundleKey", string> & {
            pins: [string, string][];
            forms?: Form[];
        };
        plain.fill(0);
        const seeds = { signing: fromBase64(held.signing), encryption: fromBase64(held.encryption) };
        keys.set(await fromSeeds(seeds, fromBase64(held.bundleKey), new Map(held.pins), held.forms ?? []));
    } catch {
        sessionStorage.removeItem(PLACE);
    }
}

/** Forget the open keys. */
export async function forget(): Promise<void> {
    keys.set(null);
    sessionStorage.removeItem(PLACE);
    await inDatabase("readwrite", (store) => store.delete(PLACE)).catch(() => undefined);
}

/** Remember which root this person compared for a vendor, in the bundle itself. */
export async function rememberPin(vendor: string, root: string): Promise<void> {
    const open = keys.value;
    if (open === null || open.pins.get(vendor) === root) {
        return;
    }
    await remember(open, (now) => ({ pins: new Map(now.pins).set(vendor, root) }));
}

/** Remember what was typed into a config's form and is no secret. It is only a help, so it fails silently. */
export async function rememberForm(form: Omit<Form, "values">, values: Readonly<Record<string, string>>): Promise<void> {
    const written = { ...form, values: Object.entries(values).map(([at, value]) => ({ at, value })) };
    const open = keys.value;
    if (open !== null) {
        await remember(open, (now) => ({ forms: withForm(now.forms, written) })).catch(() => undefined);
    }
}

/** Change what the bundle holds beside the keys: what it holds now, which another tab may have changed. */
async function remember(open: AdminKeys, change: (now: AdminKeys) => Partial<Pick<AdminKeys, "pins" | "forms">>): Promise<void> {
    await hold({ ...open, ...change(open) });
    const kept = await readKept();
    if (kept === null || keys.value === null) {
        return;
    }
    const now = await contentOf(kept.bundle, open.bundleKey);
    const changed = { ...now, ...change(now) };
    await hold(changed);
    await keepBundle(await withContent(kept.bundle, changed), kept.claim, kept.keyId);
}

async function tabKey(): Promise<CryptoKey> {
    const kept = await inDatabase<CryptoKey | undefined>("readonly", (store) => store.get(PLACE));
    if (kept !== undefined) {
        return kept;
    }
    const made = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
    await inDatabase("readwrite", (store) => store.put(made, PLACE));
    return made;
}

function inDatabase<T>(mode: IDBTransactionMode, act: (store: IDBObjectStore) => IDBRequest): Promise<T> {
    return new Promise((resolve, reject) => {
        const opening = indexedDB.open(DATABASE, 1);
        opening.onupgradeneeded = () => opening.result.createObjectStore(PLACE);
        opening.onerror = () => reject(opening.error ?? new Error("no storage"));
        opening.onsuccess = () => {
            const database = opening.result;
            const asked = act(database.transaction(PLACE, mode).objectStore(PLACE));
            asked.onsuccess = () => resolve(asked.result as T);
            asked.onerror = () => reject(asked.error ?? new Error("no storage"));
            asked.transaction?.addEventListener("complete", () => database.close());
        };
    });
}

