/** Spares: configs that wrap every new key too, beside the primary. Source: docs/several-kms.md. */

import type { Assignment } from "./documents.ts";

export const MOST_SPARES = 3;

/** What is wrong with a record's spares, as what follows "the record"; null when nothing is. */
export function wrongSpares(assignments: readonly Assignment[], spares: readonly number[]): string | null {
    if (spares.length === 0) {
        return null;
    }
    const primary = assignments.find((each) => each.primary);
    if (primary === undefined) {
        return "names spares and no primary config";
    }
    if (spares.length > MOST_SPARES || new Set(spares).size !== spares.length) {
        return `names a spare twice, or more than ${MOST_SPARES}`;
    }
    for (const spare of spares) {
        const mine = assignments.find((each) => each.config === spare);
        if (mine === undefined || mine.primary) {
            return `names config ${spare} as a spare, which must be another assigned config than the primary`;
        }
        if (primary.leasing && !mine.leasing) {
            return `names config ${spare} as a spare without leasing, and the primary leases`;
        }
    }
    return null;
}

/** The spares of a record whose assignments change: one that becomes the primary gives its place to the old primary. */
export function sparesAfter(before: readonly Assignment[], after: readonly Assignment[], spares: readonly number[]): number[] {
    const old = before.find((each) => each.primary)?.config;
    const now = after.find((each) => each.primary)?.config;
    const stays = after.some((each) => each.active && each.config === old);
    const swapped = spares.map((spare) => (spare === now && stays && old !== undefined ? old : spare));
    return swapped.filter((spare) => wrongSpares(after, [spare]) === null);
}
