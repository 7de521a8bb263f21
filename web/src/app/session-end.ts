/**
 * Closes the keys when the session's time is up, in a tab that nobody uses too.
 *
 * The broker ends a session; this tab only knows when it must have ended, unless another tab went on with it. So the
 * keys are closed here, and then the broker is asked, once: it answers that the session ended, or that it goes on.
 * The times are counted from when the broker was heard of, because its clock may be another than this machine's.
 */

import { onAnswer } from "../api/client.ts";
import { loadSession, session, sessionEnded } from "./session.ts";
import { forget } from "./vault.ts";

const LEAST_MS = 1_000;
const MOST_MS = 2 ** 31 - 1;

/** Watch the session of this tab from now on. */
export function watchSession(): void {
    let waiting: ReturnType<typeof setTimeout> | undefined;
    let idleMs = 0;
    let lastsUntil = 0;
    const end = async () => {
        await forget();
        await loadSession().catch(sessionEnded);
    };
    const wait = () => {
        clearTimeout(waiting);
        if (session.value) {
            const left = Math.min(idleMs, lastsUntil - Date.now());
            waiting = setTimeout(() => void end(), Math.min(Math.max(left, LEAST_MS), MOST_MS));
        }
    };
    session.listen(() => {
        if (session.value) {
            const { now, idleExpires, expires } = session.value;
            idleMs = idleExpires - now;
            lastsUntil = Date.now() + expires - now;
        }
        wait();
    });
    onAnswer(wait);
}
