// What happens now: one stream feeds all of the page. It begins anew, with the last hour, whenever it is opened.

import { getJson } from "./api.js";
import { Stream } from "./stream.js";
import { setNow } from "./words.js";

const HOUR = 3600;
const KINDS = ["calls", "errors", "p50", "p95", "p99", "cpu", "memory"];
const SILENCE = 12000;
const HIDDEN = 30000;

export const live = { state: "connecting", why: "", about: null, event: null, points: empty() };
const listeners = new Set();

function empty() {
  return { at: [], ...Object.fromEntries(KINDS.map((kind) => [kind, []])) };
}

/** Has `listener` told of each event and each change of the connection; returns what ends that. */
export function watch(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function tell() {
  for (const listener of [...listeners]) listener(live);
}

function began(history) {
  live.points = empty();
  live.points.at = history.at;
  for (const kind of KINDS) live.points[kind] = history[kind] ?? history.at.map(() => null);
  live.fresh = true;
}

function happened(event) {
  setNow(event.at);
  live.event = event;
  const at = Date.parse(event.at) / 1000;
  const { points } = live;
  if (!points.at.length || at > points.at.at(-1)) {
    const latency = event.latency_ms;
    const values = { calls: event.rates.calls, errors: event.rates.errors, p50: latency.p50, p95: latency.p95,
      p99: latency.p99, cpu: event.process.cpu, memory: event.process.memory };
    points.at.push(at);
    for (const kind of KINDS) points[kind].push(values[kind] ?? null);
    const old = points.at.findIndex((then) => then > at - HOUR);
    if (old > 60) for (const kind of ["at", ...KINDS]) points[kind].splice(0, old);
  }
  tell();
}

function connected(state, why = "") {
  if (live.state === state && live.why === why) return;
  live.state = state;
  live.why = why;
  tell();
}

let stream = null;

function open() {
  stream ||= new Stream("live", { history: 1 }, {
    before: async () => { live.about = await getJson("stats"); },
    on: { history: began, live: happened },
    state: connected,
    silence: SILENCE,
  });
}

/** Begin. A page that nobody sees for a while lets its connection go: a browser has six for all pages of a sidecar. */
export function start() {
  let timer;
  open();
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.visibilityState === "visible") open();
    else timer = setTimeout(() => { stream?.close(); stream = null; }, HIDDEN);
  });
}
