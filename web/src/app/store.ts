/** A value that many parts of the page look at. */

import { useEffect, useState } from "preact/hooks";

export class Store<T> {
    #value: T;
    readonly #listeners = new Set<() => void>();

    constructor(value: T) {
        this.#value = value;
    }

    get value(): T {
        return this.#value;
    }

    set(value: T): void {
        this.#value = value;
        this.#listeners.forEach((listener) => listener());
    }

    listen(listener: () => void): () => void {
        this.#listeners.add(listener);
        return () => void this.#listeners.delete(listener);
    }
}

export function useStore<T>(store: Store<T>): T {
    const [value, setValue] = useState(store.value);
    useEffect(() => {
        setValue(() => store.value);
        return store.listen(() => setValue(() => store.value));
    }, [store]);
    return value;
}

export interface Loaded<T> {
    data: T | undefined;
    failure: unknown;
    reload: () => void;
}

/** Load something when the page is shown, and again whenever one of `after` changes. What was there stays meanwhile. */
export function useLoad<T>(load: (signal: AbortSignal) => Promise<T>, after: readonly unknown[]): Loaded<T> {
    const [state, setState] = useState<{ data: T | undefined; failure: unknown }>({ data: undefined, failure: undefined });
    const [turn, setTurn] = useState(0);
    useEffect(() => {
        const aborting = new AbortController();
        load(aborting.signal).then(
            (data) => aborting.signal.aborted || setState({ data, failure: undefined }),
            (failure: unknown) => aborting.signal.aborted || setState((old) => ({ data: old.data, failure })),
        );
        return () => aborting.abort();
    }, [...after, turn]);
    return { ...state, reload: () => setTurn((old) => old + 1) };
}
