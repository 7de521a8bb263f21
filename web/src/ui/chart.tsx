/** Charts of our own: lines over time and bars, as SVG, with their figures as a table for screen readers. */

import { useId } from "preact/hooks";

import { short, time } from "./format.ts";

const WIDTH = 480;
const HEIGHT = 168;
const LEFT = 40;
const BOTTOM = 22;
const TOP = 10;
const COLOURS = ["var(--series-1)", "var(--series-2)", "var(--series-3)", "var(--series-4)"];

export interface Series {
    name: string;
    /** Values at each of the chart's times; null where nothing was measured. */
    values: (number | null)[];
}

interface Given {
    title: string;
    times: number[];
    series: Series[];
    /** How a value is written. */
    write?: (value: number) => string;
}

/** The least round number that is at least this. */
function rounded(value: number): number {
    if (value <= 0) {
        return 1;
    }
    const size = 10 ** Math.floor(Math.log10(value));
    return ([1, 2, 2.5, 5, 10].find((each) => each * size >= value) ?? 10) * size;
}

/** Lines over time; a single series is filled. */
export function LineChart({ title, times, series, write = short }: Given) {
    const named = useId();
    const top = rounded(Math.max(0, ...series.flatMap((each) => each.values.map((value) => value ?? 0))));
    const x = (at: number) => LEFT + (at / Math.max(1, times.length - 1)) * (WIDTH - LEFT - 6);
    const y = (value: number) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
    const labels = [0, Math.floor((times.length - 1) / 2), times.length - 1].filter((at, n, all) => at >= 0 && all.indexOf(at) === n);
    return (
        <figure class="stack tight">
            <svg class="chart" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-labelledby={named}>
                <title id={named}>{title}</title>
                {[0, 0.5, 1].map((part) => (
                    <g key={part}>
                        <line class="rule" x1={LEFT} x2={WIDTH - 6} y1={y(part * top)} y2={y(part * top)} />
                        <text x={LEFT - 7} y={y(part * top) + 4} text-anchor="end">
                            {write(part * top)}
                        </text>
                    </g>
                ))}
                {labels.map((at) => (
                    <text key={at} x={x(at)} y={HEIGHT - 4} text-anchor={at === 0 ? "start" : at === times.length - 1 ? "end" : "middle"}>
                        {time(times[at] ?? 0)}
                    </text>
                ))}
                {series.map((each, number) => (
                    <g key={each.name}>
                        {series.length === 1 && (
                            <path d={areaOf(each, x, y)} fill={COLOURS[0]} fill-opacity="0.12" />
                        )}
                        <path d={lineOf(each, x, y)} fill="none" stroke={COLOURS[number % 4]} stroke-width="2" stroke-linejoin="round" stroke-linecap="round" />
                    </g>
                ))}
            </svg>
            {series.length > 1 && <Legend names={series.map((each) => each.name)} />}
            <Figures title={title} times={times} series={series} write={write} />
        </figure>
    );
}

type Scale = (value: number) => number;

function lineOf({ values }: Series, x: Scale, y: Scale): string {
    let begun = false;
    return values
        .map((value, at) => {
            if (value === null) {
                begun = false;
                return "";
            }
            const step = `${begun ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
            begun = true;
            return step;
        })
        .join("");
}

function areaOf({ values }: Series, x: Scale, y: Scale): string {
    const points = values.map((value, at) => `L${x(at).toFixed(1)} ${y(value ?? 0).toFixed(1)}`).join("");
    const end = x(values.length - 1).toFixed(1);
    return values.length === 0 ? "" : `M${x(0).toFixed(1)} ${y(0)}${points}L${end} ${y(0)}Z`;
}

function Legend({ names }: { names: string[] }) {
    return (
        <figcaption class="legend">
            {names.map((name, number) => (
                <span key={name}>
                    <svg class="swatch" viewBox="0 0 10 10" aria-hidden="true">
                        <rect width="10" height="10" rx="3" fill={COLOURS[number % 4]} />
                    </svg>
                    {name}
                </span>
            ))}
        </figcaption>
    );
}

function Figures({ title, times, series, write }: Required<Given>) {
    return (
        <div class="visually-hidden">
        <table>
            <caption>{title}</caption>
            <thead>
                <tr>
                    <th>Time</th>
                    {series.map((each) => (
                        <th key={each.name}>{each.name}</th>
                    ))}
                </tr>
            </thead>
            <tbody>
                {times.map((at, row) => (
                    <tr key={at}>
                        <td>{time(at)}</td>
                        {series.map((each) => (
                            <td key={each.name}>{each.values[row] == null ? "none" : write(each.values[row] ?? 0)}</td>
                        ))}
                    </tr>
                ))}
            </tbody>
        </table>
        </div>
    );
}

/** A few amounts side by side. */
export function BarChart({ title, bars, write = short }: { title: string; bars: [string, number][]; write?: (value: number) => string }) {
    const named = useId();
    const top = Math.max(1, ...bars.map(([, value]) => value));
    const step = 30;
    return (
        <figure>
            <svg class="chart" viewBox={`0 0 ${WIDTH} ${bars.length * step}`} role="img" aria-labelledby={named}>
                <title id={named}>{`${title}: ${bars.map(([name, value]) => `${name} ${write(value)}`).join(", ")}`}</title>
                {bars.map(([name, value], at) => (
                    <g key={name}>
                        <text x={0} y={at * step + 18}>
                            {name}
                        </text>
                        <rect x={150} y={at * step + 7} width={Math.max(2, (value / top) * (WIDTH - 210))} height={14} rx={4} fill={COLOURS[0]} />
                        <text x={158 + Math.max(2, (value / top) * (WIDTH - 210))} y={at * step + 18}>
                            {write(value)}
                        </text>
                    </g>
                ))}
            </svg>
        </figure>
    );
}
