/** What happened by the hour, in pictures: operations, the KMS's pace and refusals, and how far deliveries are behind. */

import { api, path, withQuery } from "../../api/client.ts";
import type { Activity, FleetInstance } from "../../api/types.ts";
import { useLoad } from "../../app/store.ts";
import { BarChart, LineChart } from "../../ui/chart.tsx";
import { count, span } from "../../ui/format.ts";
import { Card, Empty, Show } from "../../ui/parts.tsx";

const HOUR_MS = 3_600_000;
const HOURS = 24;

interface Given {
    vendor: string;
    tenant: string | null;
}

export function useActivity({ vendor, tenant }: Given) {
    const since = Math.floor(Date.now() / HOUR_MS) * HOUR_MS - (HOURS - 1) * HOUR_MS;
    return useLoad(() => api.get<Activity>(withQuery(path`/api/1/vendors/${vendor}/activity`, { tenant, since })), [vendor, tenant]);
}

/** One entry for each of the last hours, also where nothing happened. */
function byHour(activity: Activity): { times: number[]; buckets: (Activity["buckets"][number] | undefined)[] } {
    const first = Math.floor(Date.now() / HOUR_MS) * HOUR_MS - (HOURS - 1) * HOUR_MS;
    const times = Array.from({ length: HOURS }, (_, at) => first + at * HOUR_MS);
    return { times, buckets: times.map((start) => activity.buckets.find((each) => each.start === start)) };
}

const sum = (values: Iterable<number>): number => [...values].reduce((total, each) => total + each, 0);

/** The bound below which this part of the calls lie, in seconds; from counts in buckets. */
function quantile(counts: readonly number[], bounds: readonly number[], part: number): number | null {
    const total = sum(counts);
    let seen = 0;
    for (const [at, each] of counts.entries()) {
        seen += each;
        if (total > 0 && seen >= part * total) {
            return bounds[at] ?? (bounds.at(-1) ?? 0) * 2;
        }
    }
    return null;
}

/** What the errors' numbers mean to people. */
const CODES: Record<string, string> = {
    "200": "No primary key",
    "201": "Unknown, or no key active",
    "202": "Key disabled here",
    "203": "Not a key of ours",
    "204": "KMS did not wrap",
    "205": "KMS did not unwrap",
    "206": "KMS refused us",
    "207": "Config is wrong",
    "208": "KMS unreachable",
    "209": "KMS throttled us",
    "210": "Account at the KMS",
    "301": "Event refused",
};

export function Charts(given: Given) {
    const loaded = useActivity(given);
    return (
        <Show of={loaded}>
            {(activity) => {
                const { times, buckets } = byHour(activity);
                const total = sum(buckets.map((each) => each?.operations ?? 0));
                if (total === 0) {
                    return (
                        <Card>
                            <Empty icon="pulse" title="Nothing has been encrypted in the last day">
                                <p>As soon as the application encrypts or decrypts through a proxy, you see here how often, how fast the KMS answers, and what it refuses. Counts arrive once a minute.</p>
                            </Empty>
                        </Card>
                    );
                }
                const bounds = activity.kmsBoundsS;
                const errors = new Map<string, number>();
                for (const [code, times] of buckets.flatMap((each) => Object.entries(each?.errors ?? {}))) {
                    errors.set(code, (errors.get(code) ?? 0) + times);
                }
                const latency = (part: number) => buckets.map((each) => (each === undefined ? null : quantile(each.kms, bounds, part)));
                return (
                    <div class="grid charts">
                        <Card title="Operations by the hour" side={<span class="muted small">{count(total)} in a day</span>}>
                            <LineChart title="Operations by the hour" times={times} series={[{ name: "Operations", values: buckets.map((each) => each?.operations ?? 0) }]} />
                        </Card>
                        <Card title="How fast the KMS answers">
                            <LineChart
                                title="Time that the KMS takes"
                                times={times}
                                write={span}
                                series={[
                                    { name: "Half of the calls within", values: latency(0.5) },
                                    { name: "95 % within", values: latency(0.95) },
                                ]}
                            />
                        </Card>
                        <Card title="Errors" side={<span class="muted small">{count(sum(errors.values()))} in a day</span>}>
                            {errors.size === 0 ? (
                                <p class="muted">None. Every operation of the last day succeeded.</p>
                            ) : (
                                <BarChart title="Errors of the last day" write={count} bars={[...errors].sort((one, other) => other[1] - one[1]).slice(0, 6).map(([code, times]) => [CODES[code] ?? `Code ${code}`, times])} />
                            )}
                        </Card>
                    </div>
                );
            }}
        </Show>
    );
}

/** How far deliveries to a tenant's destinations are behind. */
export function lagOf(instances: readonly FleetInstance[]): [string, number][] {
    const lags = new Map<string, number>();
    for (const delivery of instances.flatMap((each) => each.deliveries)) {
        lags.set(delivery.tenant, Math.max(lags.get(delivery.tenant) ?? 0, delivery.lagS));
    }
    return [...lags].sort((one, other) => other[1] - one[1]);
}
