/** Talking with the broker: JSON, one header against cross-site requests, and errors in words. */

import { jsonBytes } from "../trust/documents.ts";

/** The broker said no. `code` is for programs, the message for people. */
export class ApiError extends Error {
    readonly status: number;
    readonly code: string;
    readonly retryAfterS: number;

    constructor(status: number, message: string, code: string, retryAfterS: number) {
        super(message);
        this.status = status;
        this.code = code;
        this.retryAfterS = retryAfterS;
    }
}

interface Hooks {
    /** Asks the person to prove who they are; resolves to whether they did. */
    proveAgain: () => Promise<boolean>;
    signedOut: () => void;
    answered: () => void;
}

const hooks: Hooks = { proveAgain: () => Promise.resolve(false), signedOut: () => undefined, answered: () => undefined };

/** Say what happens when the broker wants a new proof, or knows the session no more. */
export function onRefusal(set: Pick<Hooks, "proveAgain" | "signedOut">): void {
    Object.assign(hooks, set);
}

/** Say what happens after every request that was granted. */
export function onAnswer(answered: () => void): void {
    hooks.answered = answered;
}

type Query = Record<string, string | number | boolean | null | undefined>;

export function withQuery(path: string, query: Query): string {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) {
        if (value !== null && value !== undefined && value !== "") {
            search.set(name, String(value));
        }
    }
    const written = search.toString();
    return written === "" ? path : `${path}?${written}`;
}

/** Write a path from parts that may hold anything. */
export function path(strings: TemplateStringsArray, ...parts: (string | number)[]): string {
    return strings.reduce((sum, each, at) => sum + encodeURIComponent(String(parts[at - 1])) + each);
}

interface Asking {
    headers?: Record<string, string>;
    /** Give the refusal to the caller, without asking for a proof. */
    plain?: boolean;
    signal?: AbortSignal;
}

async function ask<T>(method: string, to: string, body: unknown, asking: Asking = {}): Promise<T> {
    const headers: Record<string, string> = { "TS-Request": "1", Accept: "application/json", ...asking.headers };
    if (body !== undefined) {
        headers["Content-Type"] = "application/json";
    }
    let answer: Response;
    try {
        answer = await fetch(to, {
            method,
            headers,
            body: body === undefined ? null : JSON.stringify(body, jsonBytes),
            credentials: "same-origin",
            redirect: "error",
            cache: "no-store",
            signal: asking.signal ?? null,
        });
    } catch (failure) {
        if (failure instanceof DOMException && failure.name === "AbortError") {
            throw failure;
        }
        throw new ApiError(0, "The broker cannot be reached. Check the network, then try again.", "unreachable", 0);
    }
    if (answer.ok) {
        hooks.answered();
        const text = await answer.text();
        return (text === "" ? undefined : JSON.parse(text)) as T;
    }
    const refusal = await refusalOf(answer);
    if (refusal.code === "prove-again" && asking.plain !== true && (await hooks.proveAgain())) {
        return ask(method, to, body, { ...asking, plain: true });
    }
    if (refusal.code === "not-signed-in" && asking.plain !== true) {
        hooks.signedOut();
    }
    throw refusal;
}

async function refusalOf(answer: Response): Promise<ApiError> {
    const retryAfterS = Number(answer.headers.get("retry-after") ?? 0);
    try {
        const { message, code } = (await answer.json()) as { message?: string; code?: string };
        return new ApiError(answer.status, sentence(message ?? answer.statusText), code ?? "", retryAfterS);
    } catch {
        const what = `The broker answered ${answer.status} without a reason. Try again; its log says more.`;
        return new ApiError(answer.status, what, "", retryAfterS);
    }
}

/** Begin with a capital and end with a full stop, as texts on pages do. */
export function sentence(text: string): string {
    const begun = text.charAt(0).toUpperCase() + text.slice(1);
    return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

export const api = {
    get: <T>(to: string, asking?: Asking) => ask<T>("GET", to, undefined, asking),
    post: <T = void>(to: string, body: unknown = {}, asking?: Asking) => ask<T>("POST", to, body, asking),
    put: <T = void>(to: string, body: unknown, asking?: Asking) => ask<T>("PUT", to, body, asking),
    patch: <T = void>(to: string, body: unknown, asking?: Asking) => ask<T>("PATCH", to, body, asking),
    delete: <T = void>(to: string, asking?: Asking) => ask<T>("DELETE", to, undefined, asking),
};

/** What an error says to people. */
export function wordsOf(failure: unknown): string {
    if (failure instanceof ApiError && failure.retryAfterS > 0) {
        return `${failure.message} Try again in ${failure.retryAfterS} seconds.`;
    }
    if (failure instanceof Error && failure.message !== "") {
        return sentence(failure.message);
    }
    return "Something went wrong in this page. Load it again; if that does not help, tell who runs the broker.";
}
