// Graphs of the last hour, by uPlot, in the colours of the page; each says in words what it shows.

import { el } from "./dom.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const STEP = 1000;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** What a clock shows. */
function dial(at, seconds) {
  const shown = { hour: "2-digit", minute: "2-digit", hour12: false, ...(seconds ? { second: "2-digit" } : {}) };
  return new Date(at * 1000).toLocaleTimeString(undefined, shown);
}

/** A graph. `series`: each with a label, a kind of `live.points`, a colour's name, and perhaps `fill`. */
export class Chart {
  constructor(title, series, { text, height = 170, least = 1, words }) {
    Object.assign(this, { series, text, height, least, words });
    this.place = el("div", { class: "plot", role: "img", "aria-label": title });
    this.told = el("p", { class: "legend" });
    this.values = series.map((each) => {
      const value = el("b", {});
      this.told.append(el("span", {}, el("i", { class: `swatch ${each.colour}`, "aria-hidden": "true" }), `${each.label} `, value));
      return value;
    });
    this.element = el("figure", { class: "panel chart" }, el("figcaption", {}, el("h2", { text: title }), this.told), this.place);
    this.title = title;
    this.plot = null;
    this.drawn = 0;
    this.sizes = new ResizeObserver(() => this.resize());
    this.sizes.observe(this.place);
    this.themed = () => { this.plot?.destroy(); this.plot = null; if (this.points) this.draw(this.points); };
    dark.addEventListener("change", this.themed);
  }

  end() {
    dark.removeEventListener("change", this.themed);
    this.sizes.disconnect();
    this.plot?.destroy();
  }

  resize() {
    const width = this.place.clientWidth;
    if (this.plot && width && this.plot.width !== width) this.plot.setSize({ width, height: this.height });
  }

  update(points, fresh) {
    const now = performance.now();
    if (!fresh && now - this.drawn < STEP - 100) return;
    this.drawn = now;
    this.draw(points);
  }

  draw(points) {
    this.points = points;
    const data = [points.at, ...this.series.map((each) => points[each.kind])];
    if (!this.place.clientWidth) return;
    if (this.plot) this.plot.setData(data);
    else this.plot = new uPlot(this.options(), data, this.place);
    const last = this.series.map((each) => points[each.kind].at(-1) ?? null);
    last.forEach((value, index) => {
      const text = this.text(value);
      if (this.values[index].textContent !== text) this.values[index].textContent = text;
    });
    const said = this.series.map((each, index) => `${each.label} ${this.text(last[index])}`).join(", ");
    const label = `${this.title}: ${said}`;
    if (this.place.getAttribute("aria-label") !== label) this.place.setAttribute("aria-label", label);
  }

  options() {
    const axis = { stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    const { least, text } = this;
    return {
      width: this.place.clientWidth, height: this.height, legend: { show: false }, padding: [8, 22, 0, 0],
      cursor: { drag: { x: false, y: false }, points: { size: 6 } },
      scales: { x: { range: (_, low, high) => [Math.max(high - 3600, Math.min(low, high - 60)), high] }, y: { range: (_, __, high) => [0, Math.max(least, high * 1.15)] } },
      axes: [
        { ...axis, space: 70, size: 26, values: (_, ticks) => ticks.map((at) => dial(at, ticks.at(-1) - ticks[0] < 300)) },
        { ...axis, size: 58, values: (_, ticks) => ticks.map((value) => text(value)) },
      ],
      series: [{}, ...this.series.map((each) => ({
        label: each.label, stroke: colour(each.colour), width: 1.6, spanGaps: true, points: { show: false },
        fill: each.fill ? `${colour(each.colour)}26` : undefined,
      }))],
      hooks: { setCursor: [(plot) => this.point(plot.cursor.idx)] },
    };
  }

  /** While the pointer is on the graph, the legend says what was then. */
  point(index) {
    if (index === null || index === undefined) return;
    this.series.forEach((each, place) => {
      this.values[place].textContent = this.text(this.points[each.kind][index] ?? null);
    });
  }
}
