// Asks again and again, one question at a time, and not while nobody looks.

const SHARE = 10;

/** Runs `ask` now and every `wait` milliseconds, or less often where answers take long; returns { now, end }. */
export function poll(ask, wait) {
  let timer = null;
  let busy = false;
  let again = false;
  let ended = false;

  async function now() {
    clearTimeout(timer);
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    const began = performance.now();
    try {
      if (document.visibilityState === "visible") await ask();
    } finally {
      busy = false;
      // What is costly to tell is asked for seldom: the sidecar has calls to carry.
      const pause = again ? 0 : Math.max(wait, SHARE * (performance.now() - began));
      again = false;
      if (!ended) timer = setTimeout(now, pause);
    }
  }
  now();
  return { now, end: () => { ended = true; clearTimeout(timer); } };
}
