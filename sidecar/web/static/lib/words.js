// Numbers and states, in words of people.

export function ms(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 60000) return `${(value / 60000).toFixed(1)} min`;
  if (value >= 1000) return `${(value / 1000).toFixed(value >= 10000 ? 0 : 1)} s`;
  if (value >= 10) return `${Math.round(value)} ms`;
  return `${Number(value.toPrecision(2))} ms`;
}

export function rate(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 10000) return `${(value / 1000).toFixed(0)}k`;
  if (value >= 100) return Math.round(value).toLocaleString("en");
  return String(Number(value.toFixed(1)));
}

export function percent(share) {
  if (share === null || share === undefined) return "–";
  const of100 = share * 100;
  if (of100 > 0 && of100 < 0.1) return "under 0.1 %";
  return `${of100 > 99.9 && of100 < 100 ? Math.floor(of100 * 100) / 100 : Number(of100.toFixed(1))} %`;
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  for (const unit of ["bytes", "KB", "MB"]) {
    if (value < 1024) return `${unit === "bytes" ? value : value.toFixed(value < 10 ? 1 : 0)} ${unit}`;
    value /= 1024;
  }
  return `${value.toFixed(1)} GB`;
}

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

/** How long, by its largest unit: "3 minutes". */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  for (const [unit, size] of UNITS) if (whole >= size) return count(Math.floor(whole / size), unit);
  return "a moment";
}

// The sidecar's clock need not be this machine's: what it said last counts.
let ahead = 0;
export function setNow(date) {
  ahead = Date.parse(date) - Date.now();
}
function passed(date) {
  return (Date.now() + ahead - Date.parse(date)) / 1000;
}
export function since(date) {
  return date ? `since ${duration(passed(date))}` : "";
}
export function ago(date) {
  return date ? `${duration(passed(date))} ago` : "";
}
export function clock(date) {
  return new Date(date).toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" });
}
export function time(date) {
  return new Date(date).toLocaleTimeString(undefined, { hour12: false });
}

const OUTCOMES = {
  answered: "answered", fault: "the service answered an error", refused: "nobody took it",
  "not found": "nobody is there", broken: "no whole answer", "timed out": "no answer in time", cancelled: "the caller left",
};
export function outcome(value) {
  return OUTCOMES[value] || String(value).replaceAll("_", " ");
}

const ACTIONS = { create: "came", update: "changed", delete: "left" };
export function action(value) {
  return ACTIONS[value] || value;
}

/** A sentence of the sidecar's: dates in it as a time of the day, an error in it by its words alone. */
export function sentence(text) {
  return String(text || "").replace(/\{"id": ?"[^{}]*\}/, detail).replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, (date) => time(date));
}

function detail(json) {
  try {
    return JSON.parse(json).detail || json;
  } catch {
    return json;
  }
}
