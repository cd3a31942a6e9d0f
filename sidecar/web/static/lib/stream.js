// A stream of events that comes back by itself: after an error, after a restart of the sidecar, after a machine slept.

import { openEvents } from "./api.js";

const FIRST = 500;
const LONGEST = 10000;

export class Stream {
  /**
   * `on` has a function for each event, by name, which gets its data; `state` is told "connecting", "live" or "lost";
   * `silence` is after how many milliseconds without an event a stream that should speak is given up.
   */
  constructor(path, query, { on, state = () => {}, silence = 0, before = async () => {} }) {
    Object.assign(this, { path, query, on, state, silence, before });
    this.wait = FIRST;
    this.closed = false;
    this.source = null;
    this.open();
  }

  async open() {
    this.state("connecting");
    let source;
    try {
      await this.before();
      source = await openEvents(this.path, this.query);
    } catch (error) {
      this.again(error.message);
      return;
    }
    if (this.closed) {
      source.close();
      return;
    }
    this.source = source;
    source.onopen = () => {
      this.wait = FIRST;
      this.heard();
      this.state("live");
    };
    source.onerror = () => {
      if (this.source === source) this.again("the stream broke off");
    };
    for (const [name, take] of Object.entries(this.on)) {
      source.addEventListener(name, (event) => {
        this.heard();
        take(JSON.parse(event.data));
      });
    }
    this.heard();
  }

  heard() {
    clearTimeout(this.watch);
    if (this.silence) this.watch = setTimeout(() => this.again("nothing was heard for a while"), this.silence);
  }

  again(why) {
    this.drop();
    if (this.closed) return;
    this.state("lost", why);
    // Not all pages of a sidecar that comes back ask in the same moment.
    const wait = this.wait * (0.5 + Math.random());
    this.wait = Math.min(LONGEST, this.wait * 1.7);
    this.timer = setTimeout(() => this.open(), wait);
  }

  drop() {
    clearTimeout(this.watch);
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  close() {
    this.closed = true;
    this.drop();
  }
}
