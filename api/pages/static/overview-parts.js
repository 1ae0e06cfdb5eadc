// What the sections of an overview are made of: tables, links to the rows behind a number, durations.

import { element, number, time, utc } from "./common.js";

/** An address below the session's dashboard. */
export const dashboard = (path) => `dashboard/${path}`;

/** The State API's list of the task attempts behind a number; filters that are null do not count. `retries`: only those that are one. */
export function tasksWith(filters, { retries = false } = {}) {
  const query = new URLSearchParams({ detail: "1", limit: "1000" });
  const wanted = Object.entries(filters).filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => [name, "=", value]);
  if (retries) wanted.push(["attempt_number", "!=", 0]);
  for (const [name, predicate, value] of wanted) {
    query.append("filter_keys", name);
    query.append("filter_predicates", predicate);
    query.append("filter_values", value);
  }
  return dashboard(`api/v0/tasks?${query}`);
}

export const link = (href, text, label) => element("a", label ? { href, ariaLabel: label } : { href }, text);

/** "1.23 s" for 1234 ms; minutes and more by the second. */
export function span(ms) {
  if (ms < 1000) return `${number(ms)} ms`;
  if (ms < 60_000) return `${new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 }).format(ms / 1000)} s`;
  const seconds = Math.round(ms / 1000);
  const parts = [[Math.floor(seconds / 3600), "h"], [Math.floor(seconds / 60) % 60, "min"], [seconds % 60, "s"]];
  return parts.filter(([count]) => count).map(([count, unit]) => `${number(count)} ${unit}`).join(" ");
}

/** A moment in the reader's zone, and in UTC below. */
export const moment = (ms) => (ms ? [element("time", { dateTime: new Date(ms).toISOString() }, time(ms)), element("small", {}, utc(ms))] : "");

export const more = (count) => (count ? element("p", { className: "note" }, `and ${number(count)} more`) : "");

/** "f 3, g 2 and 4 more"; `hrefOf` leads to the rows of one. */
export function counts(list, others, hrefOf) {
  const said = list.flatMap((one, at) => {
    const text = `${one.name} ${number(one.count)}`;
    return [at ? ", " : "", hrefOf ? link(hrefOf(one), text) : text];
  });
  return others ? [...said, ` and ${number(others)} more`] : said;
}

const cell = (content) => (Array.isArray(content) ? content.filter((part) => part !== null && part !== undefined) : [content]);

// Rows that are there before somebody asks for all.
const FIRST = 10;

/**
 * A table whose first column names its row. With `keys` (one list a row) its columns can be put in order, and are by column `sorted` at first.
 */
export function table(names, rows, { keys = null, sorted = null, first = FIRST } = {}) {
  const body = element("tbody");
  const made = rows.map((row) => element("tr", {}, ...row.map((content, at) => (at ? element("td", {}, ...cell(content)) : element("th", { scope: "row" }, ...cell(content))))));
  const heads = names.map((name, column) => element("th", { scope: "col" }, keys ? element("button", { type: "button", onclick: () => order(column) }, name) : name));
  let descending = true;
  let by = sorted;
  let shown = rows.length > first + 2 ? first : rows.length;
  function draw() {
    const places = made.map((_, at) => at);
    if (keys) places.sort((a, b) => (keys[a][by] < keys[b][by] ? -1 : keys[a][by] > keys[b][by] ? 1 : 0) * (descending ? -1 : 1));
    body.replaceChildren(...places.slice(0, shown).map((at) => made[at]));
    for (const [column, head] of heads.entries()) {
      if (keys && column === by) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }
  function order(column) {
    descending = by === column ? !descending : column > 0;
    by = column;
    draw();
  }
  draw();
  const whole = element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body);
  if (shown === rows.length) return whole;
  const all = element("button", { type: "button", onclick: () => {
    shown = rows.length;
    all.remove();
    draw();
    made[first].querySelector("a")?.focus();
  } }, `Show all ${number(rows.length)}`);
  return element("div", {}, whole, element("p", { className: "actions" }, all));
}
