// Step plots of series that were computed at load, as SVG without a library: a few hundred points each.

import { byId, element, number, time, utc } from "./common.js";

// The page has an empty picture, which knows it.
const SVG = byId("plots").querySelector("svg").namespaceURI;
const WIDTH = 720;
const HEIGHT = 160;
const LEFT = 56;
const BOTTOM = 22;
const TOP = 8;
const PLOTS = [
  { title: "Attempts that wait and run", lines: [["waiting", "waiting"], ["running", "running"]] },
  { title: "Attempts that have ended", lines: [["finished", "finished"], ["failed", "failed"]] },
  { title: "Nodes", lines: [["nodes", "nodes alive"]] },
];

function svg(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** 1, 2 or 5 times a power of ten, at least `most`. */
function roundUp(most) {
  const power = 10 ** Math.floor(Math.log10(Math.max(most, 1)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= most);
}

function steps(values, x, y) {
  return values.map((value, at) => `${at ? "L" : "M"}${x(at)} ${y(value)}H${x(at + 1)}`).join("");
}

function plot({ title, lines }, series) {
  const count = series.waiting.length;
  const top = roundUp(Math.max(1, ...lines.flatMap(([name]) => series[name])));
  const x = (at) => (LEFT + (at / count) * (WIDTH - LEFT - 8)).toFixed(1);
  const y = (value) => (TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM)).toFixed(1);
  const clock = (at) => new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(new Date(series.start_ms + at * series.step_ms));
  const drawn = [0, top / 2, top].flatMap((value) => [
    svg("line", { x1: LEFT, x2: WIDTH - 8, y1: y(value), y2: y(value), class: "grid" }),
    ...(Number.isInteger(value) ? [svg("text", { x: LEFT - 6, y: Number(y(value)) + 4, "text-anchor": "end" }, number(value))] : []),
  ]);
  for (const [at, anchor] of [[0, "start"], [count / 2, "middle"], [count, "end"]]) drawn.push(svg("text", { x: x(at), y: HEIGHT - 4, "text-anchor": anchor }, clock(at)));
  drawn.push(...lines.map(([name]) => svg("path", { d: steps(series[name], x, y), class: `line ${name}` })));
  const most = lines.map(([name, label]) => `${label} at most ${number(Math.max(...series[name]))}`).join(", ");
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${most}`, class: "plot" }, ...drawn);
  const legend = lines.map(([name, label]) => element("span", { className: `key ${name}` }, label));
  return element("figure", {}, element("figcaption", {}, element("strong", {}, title), ...legend), picture);
}

/** The same numbers as a table, made when somebody opens it. */
function numbers(series) {
  const names = ["waiting", "running", "finished", "failed", "nodes"];
  const made = element("details", {}, element("summary", {}, "The numbers"));
  made.addEventListener("toggle", () => {
    if (made.children.length > 1) return;
    const head = element("tr", {}, ...["Until", ...names].map((name) => element("th", { scope: "col" }, name)));
    const rows = series.waiting.map((_, at) => {
      const until = series.start_ms + (at + 1) * series.step_ms;
      return element("tr", {}, element("th", { scope: "row" }, time(until), element("small", {}, utc(until))), ...names.map((name) => element("td", {}, number(series[name][at]))));
    });
    const region = element("div", { className: "wide long", tabIndex: 0, role: "region", ariaLabel: "Numbers of the plots" });
    region.append(element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
    made.append(region);
  });
  return made;
}

export function drawSeries(place, series) {
  place.replaceChildren(...PLOTS.map((one) => plot(one, series)), numbers(series));
}
