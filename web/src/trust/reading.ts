/**
 * Reading JSON strictly: a member that is missing, malformed or not known makes a document unreadable.
 *
 * A rule that an old reader skips would be no rule.
 */

import { type Bytes, fromBase64, text } from "./bytes.ts";

export class MalformedError extends Error {}

export type Reader<T> = (value: unknown, where: string) => T;

type Shape = Record<string, Reader<unknown>>;
type Read<S extends Shape> = { -readonly [K in keyof S]: S[K] extends Reader<infer T> ? T : never };

function fail(where: string, expected: string): never {
    throw new MalformedError(`${where} must be ${expected}`);
}

/** An object with exactly these members; a member whose reader came from `optional` may be absent. */
export function object<S extends Shape>(shape: S): Reader<Read<S>> {
    return (value, where) => {
        if (typeof value !== "object" || value === null || Array.isArray(value)) {
            return fail(where, "an object");
        }
        const given = value as Record<string, unknown>;
        for (const name of Object.keys(given)) {
            if (!Object.hasOwn(shape, name)) {
                throw new MalformedError(`${where} has the member ${JSON.stringify(name)}, which is not known`);
            }
        }
        const read: Record<string, unknown> = {};
        for (const [name, reader] of Object.entries(shape)) {
            read[name] = reader(Object.hasOwn(given, name) ? given[name] : undefined, `${where}.${name}`);
        }
        return read as Read<S>;
    };
}

export function optional<T>(reader: Reader<T>, otherwise: T): Reader<T> {
    return (value, where) => (value === undefined ? otherwise : reader(value, where));
}

export function nullable<T>(reader: Reader<T>): Reader<T | null> {
    return (value, where) => (value === undefined || value === null ? null : reader(value, where));
}

export function array<T>(reader: Reader<T>): Reader<T[]> {
    return (value, where) =>
        Array.isArray(value) ? value.map((each, at) => reader(each, `${where}[${at}]`)) : fail(where, "an array");
}

export function string(pattern: RegExp): Reader<string> {
    return (value, where) => (typeof value === "string" && pattern.test(value) ? value : fail(where, "a text that fits"));
}

export function integer(least: number, most: number): Reader<number> {
    return (value, where) =>
        typeof value === "number" && Number.isInteger(value) && value >= least && value <= most
            ? value
            : fail(where, `a whole number from ${least} to ${most}`);
}

export const boolean: Reader<boolean> = (value, where) =>
    typeof value === "boolean" ? value : fail(where, "true or false");

export function oneOf<const T extends string | number>(...allowed: T[]): Reader<T> {
    return (value, where) => allowed.find((each) => each === value) ?? fail(where, `one of ${allowed.join(", ")}`);
}

/** Base64, of exactly this many bytes where a length is given. */
export function bytes(length?: number): Reader<Bytes> {
    return (value, where) => {
        if (typeof value !== "string") {
            return fail(where, "base64");
        }
        let read: Bytes;
        try {
            read = fromBase64(value);
        } catch {
            return fail(where, "base64");
        }
        return length !== undefined && read.length !== length ? fail(where, `${length} bytes`) : read;
    };
}

/** Read a document from its bytes. Throws MalformedError that says which member is wrong. */
export function decode<T>(reader: Reader<T>, body: Bytes, what: string): T {
    let value: unknown;
    try {
        value = JSON.parse(text(body));
    } catch {
        throw new MalformedError(`${what} is not JSON`);
    }
    return reader(value, what);
}
