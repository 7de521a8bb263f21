/** Bytes: joining, comparing, and the texts in which they travel. */

export type Bytes = Uint8Array<ArrayBuffer>;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

export function utf8(text: string): Bytes {
    return encoder.encode(text);
}

/** Read UTF-8. Throws TypeError where it is none. */
export function text(bytes: Bytes): string {
    return decoder.decode(bytes);
}

export function concat(...parts: Bytes[]): Bytes {
    const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
        whole.set(part, at);
        at += part.length;
    }
    return whole;
}

/** Compare without stopping at the first difference. */
export function equal(one: Bytes, other: Bytes): boolean {
    if (one.length !== other.length) {
        return false;
    }
    let differs = 0;
    for (let at = 0; at < one.length; at += 1) {
        differs |= (one[at] ?? 0) ^ (other[at] ?? 0);
    }
    return differs === 0;
}

export function random(length: number): Bytes {
    return crypto.getRandomValues(new Uint8Array(length));
}

export async function sha256(bytes: Bytes): Promise<Bytes> {
    return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

export async function hkdf(key: Bytes, info: string, length = 32): Promise<Bytes> {
    const base = await crypto.subtle.importKey("raw", key, "HKDF", false, ["deriveBits"]);
    const how = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info: utf8(info) };
    return new Uint8Array(await crypto.subtle.deriveBits(how, base, length * 8));
}

/** Write standard base64 with padding, as all JSON here has it. */
export function base64(bytes: Bytes): string {
    let binary = "";
    for (const byte of bytes) {
        binary += String.fromCharCode(byte);
    }
    return btoa(binary);
}

/** Read standard base64 with padding. Throws where it is anything else. */
export function fromBase64(written: string): Bytes {
    if (written.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(written)) {
        throw new TypeError("not base64");
    }
    return Uint8Array.from(atob(written), (char) => char.charCodeAt(0));
}

export function base64url(bytes: Bytes): string {
    return base64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export function fromBase64url(written: string): Bytes {
    const plain = written.replaceAll("-", "+").replaceAll("_", "/");
    return fromBase64(plain.padEnd(Math.ceil(plain.length / 4) * 4, "="));
}

export function hex(bytes: Bytes): string {
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function fromHex(written: string): Bytes {
    if (!/^([0-9a-f]{2})*$/i.test(written)) {
        throw new TypeError("not hexadecimal");
    }
    return Uint8Array.from(written.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** Overwrite a secret that is not needed any more. Copies that the engine made are out of our reach. */
export function wipe(bytes: Bytes): void {
    bytes.fill(0);
}
