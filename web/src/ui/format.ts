/** How numbers and times are written for people. */

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const exact = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat("en");

/** Such as `5 minutes ago`, `in 3 days`. */
export function ago(ms: number, now = Date.now()): string {
    const away = ms - now;
    const size = Math.abs(away);
    if (size < 45_000) {
        return away <= 0 ? "just now" : "in a moment";
    }
    if (size < 0.9 * HOUR_MS) {
        return relative.format(Math.round(away / 60_000), "minute");
    }
    if (size < 0.9 * DAY_MS) {
        return relative.format(Math.round(away / HOUR_MS), "hour");
    }
    if (size < 45 * DAY_MS) {
        return relative.format(Math.round(away / DAY_MS), "day");
    }
    return size < 400 * DAY_MS
        ? relative.format(Math.round(away / (30 * DAY_MS)), "month")
        : relative.format(Math.round(away / (365 * DAY_MS)), "year");
}

export const dateTime = (ms: number): string => exact.format(ms);
export const date = (ms: number): string => day.format(ms);
export const time = (ms: number): string => clock.format(ms);
export const count = (value: number): string => whole.format(value);
export const short = (value: number): string => compact.format(value);

/** A span of seconds, in its largest unit. */
export function span(seconds: number): string {
    if (seconds < 1) {
        return `${Math.round(seconds * 1000)} ms`;
    }
    for (const [size, name] of [
        [86_400, "d"],
        [3_600, "h"],
        [60, "min"],
    ] as const) {
        if (seconds >= size) {
            return `${Math.round(seconds / size)} ${name}`;
        }
    }
    return `${Math.round(seconds)} s`;
}

/** Write a number of things: `1 tenant`, `3 tenants`. */
export function things(value: number, one: string, many = `${one}s`): string {
    return `${count(value)} ${value === 1 ? one : many}`;
}
