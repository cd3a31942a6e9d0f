// Asks the sidecar. The token is kept here, in memory alone: it goes with requests in a header of its own, and streams,
// which a browser opens without headers, are opened with a ticket that is good once.

const BASE = new URL(".", location.href);
const PATIENCE = 20000;
let token = "";
let asking = null;

/** What an answer said that is not good. */
export class Failure extends Error {
  constructor(status, detail, body = null) {
    super(detail);
    this.status = status;
    this.body = body;
  }
}

function address(path, query = {}, scheme = "") {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) {
    if (value !== "" && value !== null && value !== undefined) url.searchParams.set(name, value);
  }
  if (scheme) url.protocol = url.protocol.replace("http", scheme);
  return url;
}

/** Has whoever looks at the page show a token; all that wait for one wait for the same. */
function askToken(why) {
  asking ||= new Promise((resolve) => {
    const dialog = document.getElementById("login");
    const input = document.getElementById("token");
    document.getElementById("login-why").textContent = why;
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    document.getElementById("login-form").onsubmit = () => {
      token = input.value.trim();
      input.value = "";
      asking = null;
      resolve();
    };
    dialog.showModal();
    input.focus();
  });
  return asking;
}

/** One request. Asks for a token where one is needed. `good` answers come back whole; others throw a Failure. */
export async function send(method, path, { query, headers = {}, body, patience = PATIENCE } = {}) {
  for (;;) {
    if (asking) await asking;
    const shown = token;
    const fields = { Accept: "application/json", ...headers };
    if (shown) fields["Micro-Sidecar-Token"] = shown;
    let answer;
    try {
      answer = await fetch(address(path, query), {
        method, headers: fields, body, cache: "no-store", credentials: "same-origin", signal: AbortSignal.timeout(patience),
      });
    } catch (error) {
      throw new Failure(0, error.name === "TimeoutError" ? "the sidecar did not answer in time" : "the sidecar cannot be reached");
    }
    if (answer.ok) return answer;
    const text = await answer.text();
    let told = null;
    try { told = JSON.parse(text); } catch { /* not every error is JSON */ }
    const detail = told?.detail || text.slice(0, 500) || `it answered ${answer.status}`;
    if (answer.status === 401 && path !== "rpc") {
      if (shown === token) await askToken(shown ? `The one that was shown is not good: ${detail}` : "Nothing can be seen here without one.");
      continue;
    }
    if (answer.status === 403 && path === "stats" && shown) {
      // Without the role read there is nothing to see: another token may have it.
      if (shown === token) await askToken(`The one that was shown is not enough: ${detail}`);
      continue;
    }
    const failure = new Failure(answer.status, detail, told);
    failure.receipt = told?.receipt ?? null;
    throw failure;
  }
}

export async function getJson(path, query) {
  return (await send("GET", path, { query })).json();
}

/** Where a stream is opened, with a ticket where a token was shown. */
async function ticketed(path, query, scheme) {
  if (!token) return address(path, query, scheme);
  const { ticket } = await (await send("POST", "ticket")).json();
  return address(path, { ...query, ticket }, scheme);
}

export async function openEvents(path, query) {
  return new EventSource(await ticketed(path, query, ""));
}

export async function openSocket(path, query) {
  return new WebSocket(await ticketed(path, query, "ws"));
}
