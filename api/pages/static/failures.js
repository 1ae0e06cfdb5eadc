// Failed attempts by error, each group with one example and its last log lines.

import { byId, element, number, time, utc } from "./common.js";
import { counts, dashboard, link, more, tasksWith } from "./overview-parts.js";

const LINES = 100;
// Groups that are open to be read at once.
const FIRST = 5;

/** The last lines that an attempt printed; what nobody stored is said. */
async function logLines(task, suffix) {
  const query = new URLSearchParams({ task_id: task.task_id, attempt_number: task.attempt_number, suffix, lines: LINES, filter_ansi_code: "true" });
  const answer = await fetch(dashboard(`api/v0/logs/file?${query}`)).catch(() => null);
  if (!answer) return "The server does not answer.";
  const text = await answer.text();
  return answer.ok ? text || "(nothing was printed)" : `No lines: ${text.slice(0, 300)}`;
}

function logs(task) {
  const shown = element("div");
  const offer = (suffix, name) =>
    element("button", {
      type: "button",
      onclick: async () => {
        shown.replaceChildren(element("p", { className: "note", role: "status" }, "Asking for the lines"));
        const text = await logLines(task, suffix);
        shown.replaceChildren(element("pre", { tabIndex: 0, ariaLabel: `Last lines of ${name}` }, text));
      },
    }, `Lines of ${name}`);
  return [element("p", { className: "actions" }, offer("err", "stderr"), offer("out", "stdout")), shown];
}

function example(group) {
  const task = group.example;
  const parts = [element("summary", {}, "The first of them")];
  if (task) {
    const named = link(dashboard(`#/jobs/${task.job_id}/tasks/${task.task_id}`), task.name || task.task_id);
    parts.push(element("p", {}, named, task.attempt_number ? `, attempt ${task.attempt_number}` : ", first attempt", task.node_id ? ", node " : "", task.node_id ? link(dashboard(`#/cluster/nodes/${task.node_id}`), task.node_id.slice(0, 8)) : ""));
  }
  if (group.example_message) parts.push(element("pre", { tabIndex: 0, ariaLabel: "The whole message" }, group.example_message));
  if (task) parts.push(...logs(task));
  return element("details", {}, ...parts);
}

function when(group) {
  if (!group.first_ms) return "";
  const last = group.last_ms !== group.first_ms ? ` to ${time(group.last_ms)}` : "";
  return element("p", { className: "note" }, `${time(group.first_ms)}${last}, from ${utc(group.first_ms)}`);
}

function card(group, jobId, at) {
  const only = group.functions.length === 1 && !group.functions_more ? { name: group.functions[0].name } : {};
  const filter = { state: "FAILED", error_type: group.error_type || null, job_id: jobId, ...only };
  const title = element("h3", { id: `failure-${at}` }, link(tasksWith(filter), number(group.count), `${number(group.count)} failed attempts; rows of this error type`), ` ${group.error_type || "no error type"}`);
  const made = element("article", { className: "panel failure" }, title);
  made.setAttribute("aria-labelledby", `failure-${at}`);
  made.append(element("p", { className: "message" }, group.message || "(no message)"), when(group));
  made.append(element("p", {}, "Functions: ", ...counts(group.functions, group.functions_more, (one) => tasksWith({ ...filter, name: one.name }))));
  if (group.nodes.length) made.append(element("p", {}, "Nodes: ", ...counts(group.nodes.map(({ name, count }) => ({ name: name.slice(0, 8), id: name, count })), group.nodes_more, (one) => tasksWith({ ...filter, node_id: one.id }))));
  made.append(example(group));
  return made;
}

export function drawFailures(overview, jobId) {
  const cards = overview.failures.map((group, at) => card(group, jobId, at));
  const others = cards.splice(FIRST);
  if (others.length) cards.push(element("details", {}, element("summary", {}, `${number(others.length)} other kinds of failures`), ...others));
  byId("groups").replaceChildren(...(cards.length ? cards : [element("p", {}, "No task attempt failed.")]), more(overview.failures_more));
}
