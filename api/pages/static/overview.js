// The overview of a session, or of one of its jobs: when it ran and how it ended, and what its tasks, nodes and actors come down to.

import { ask, byId, duration, element, kinds, number, reference, time, utc } from "./common.js";
import { drawFailures } from "./failures.js";
import { drawSeries } from "./plots.js";
import { counts, dashboard, link, moment, more, span, table, tasksWith } from "./overview-parts.js";

const jobId = new URLSearchParams(location.search).get("job_id");

function drawFacts(told) {
  const overview = told.overview;
  const lasted = told.end_ms && told.start_ms ? ` (${duration((told.end_ms - told.start_ms) / 1000)})` : "";
  const facts = [
    ["Namespace", told.namespace],
    [kinds[told.kind] ?? told.kind, told.name],
    ["Session", told.session],
  ];
  if (told.cluster !== told.name) facts.push(["Cluster", told.cluster]);
  if (told.ray_version) facts.push(["Ray", told.ray_version]);
  if (told.start_ms) facts.push(["Began", `${time(told.start_ms)}, ${utc(told.start_ms)}`]);
  if (told.end_ms) facts.push(["Ended", `${time(told.end_ms)}, ${utc(told.end_ms)}${lasted}`]);
  facts.push(["How", told.how_ended]);
  const running = Object.entries(told.running_at_end).map(([what, count]) => `${number(count)} ${what}${count === 1 ? "" : "s"}`);
  if (running.length) facts.push(["Still running then", running.join(", ")]);
  facts.push(["Complete", told.complete ? "yes" : `no: ${number(told.loss_count)} files are missing`]);
  if (overview) {
    const states = Object.entries(overview.states).map(([state, count]) => link(tasksWith({ state, job_id: jobId }), `${number(count)} ${state.toLowerCase()}`));
    facts.push(["Task attempts", states.length ? states.flatMap((one, at) => (at ? [", ", one] : [one])) : "none"]);
    facts.push(["Retries", [link(tasksWith({ job_id: jobId }, { retries: true }), number(overview.retries))]]);
  }
  byId("facts").replaceChildren(
    ...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, ...(Array.isArray(value) ? value : [value]))]),
  );
}

function drawLosses(told) {
  const said = told.warnings.map((warning) => element("p", {}, warning.message));
  if (told.losses.length) {
    const files = told.losses.map((loss) => element("li", {}, element("code", {}, loss.file), `: ${loss.message}`));
    said.push(element("details", {}, element("summary", {}, "What is missing"), element("ul", { className: "plain" }, ...files)));
  }
  byId("losses").replaceChildren(...said);
  byId("losses").hidden = !said.length;
}

function drawJobs(overview) {
  const rows = overview.jobs.map((job) => [
    [link(dashboard(`#/jobs/${encodeURIComponent(job.id)}`), job.submission_id || job.id), job.error && element("small", { className: "error" }, job.error), job.entrypoint && element("small", {}, element("code", {}, job.entrypoint))],
    [element("span", { className: `state ${job.status.toLowerCase()}` }, job.status.toLowerCase())],
    moment(job.start_time_ms),
    job.start_time_ms && job.end_time_ms ? span(job.end_time_ms - job.start_time_ms) : "",
    job.job_id ? [link(tasksWith({ job_id: job.job_id }), number(Object.values(job.tasks).reduce((sum, count) => sum + count, 0)))] : "",
    job.tasks.FAILED ? [link(tasksWith({ job_id: job.job_id, state: "FAILED" }), number(job.tasks.FAILED))] : "0",
    job.job_id ? [link(`overview?job_id=${job.job_id}`, "overview", `Overview of job ${job.job_id}`)] : "",
  ]);
  byId("jobs").replaceChildren(table(["Job", "Status", "Started", "Duration", "Attempts", "Failed", "Its tasks"], rows), more(overview.jobs_more));
}

function spread(found) {
  return found ? [span(found.p50_ms), span(found.p95_ms), span(found.max_ms), span(found.total_ms)] : ["", "", "", ""];
}

function drawFunctions(overview) {
  const names = ["Function", "Attempts", "Failed", "Retries", "Ran p50", "p95", "max", "in all", "Waited p50", "p95", "max"];
  const rows = overview.functions.map((one) => {
    const filter = { name: one.name, job_id: jobId };
    return [
      [one.name, element("small", {}, one.type.toLowerCase().replaceAll("_", " "))],
      [link(tasksWith(filter), number(one.attempts))],
      one.failed ? [link(tasksWith({ ...filter, state: "FAILED" }), number(one.failed))] : "0",
      one.retries ? [link(tasksWith(filter, { retries: true }), number(one.retries))] : "0",
      ...spread(one.running),
      ...spread(one.waiting).slice(0, 3),
    ];
  });
  const keys = overview.functions.map((one) => {
    const of = (found) => (found ? [found.p50_ms, found.p95_ms, found.max_ms, found.total_ms] : [-1, -1, -1, -1]);
    return [one.name, one.attempts, one.failed, one.retries, ...of(one.running), ...of(one.waiting).slice(0, 3)];
  });
  byId("functions").replaceChildren(table(names, rows, { keys, sorted: 7 }), more(overview.functions_more));
}

function drawTasks(id, tasks, took, begin, end) {
  const rows = tasks.map((one) => [
    [link(dashboard(`#/jobs/${one.job_id}/tasks/${one.task_id}`), one.name || one.task_id), element("small", {}, element("code", {}, one.task_id), one.attempt_number ? `, attempt ${one.attempt_number}` : "")],
    span(one[end] - one[begin]),
    moment(one[begin]),
    one.node_id ? [link(dashboard(`#/cluster/nodes/${one.node_id}`), one.node_id.slice(0, 8))] : "",
  ]);
  byId(`${id}-section`).hidden = !rows.length;
  byId(id).replaceChildren(table(["Task", took, "From", "Node"], rows));
}

function drawNodes(overview) {
  const rows = overview.nodes.map((node) => [
    [link(dashboard(`#/cluster/nodes/${node.node_id}`), node.node_ip || node.node_id.slice(0, 8)), element("small", {}, node.is_head_node ? "head, " : "", element("code", {}, node.node_id))],
    [element("span", { className: `state ${node.state === "DEAD" ? "failed" : "succeeded"}` }, node.state.toLowerCase()), node.state_message && element("small", {}, node.state_message)],
    moment(node.start_time_ms),
    moment(node.end_time_ms),
    counts(node.failed, 0, (one) => tasksWith({ node_id: node.node_id, state: "FAILED", error_type: one.name })),
  ]);
  byId("nodes-section").hidden = !rows.length;
  byId("nodes").replaceChildren(table(["Node", "State", "Began", "Ended", "Attempts that failed on it"], rows), more(overview.nodes_more));
}

function drawActors(overview) {
  byId("actors-section").hidden = !overview.actors;
  const causes = overview.actor_deaths.map((one) => [
    one.cause,
    number(one.count),
    counts(one.classes, one.classes_more),
    [link(dashboard(`#/actors/${one.example}`), one.example.slice(0, 8), `Actor ${one.example}`)],
  ]);
  const died = overview.actor_deaths.reduce((sum, one) => sum + one.count, 0);
  const said = element("p", { className: "note" }, link(dashboard("api/v0/actors?detail=1&limit=1000"), `${number(overview.actors)} actors`), `, ${number(died)} of them in the causes of death below`);
  byId("actors").replaceChildren(said, ...(causes.length ? [table(["Died because", "Actors", "Classes", "One of them"], causes), more(overview.actor_deaths_more)] : []));
  const restarted = overview.restarted.map((actor) => [
    [link(dashboard(`#/actors/${actor.actor_id}`), actor.class_name, `Actor ${actor.actor_id}`), element("small", {}, element("code", {}, actor.actor_id), actor.name && ` ${actor.name}`)],
    number(actor.restarts),
    actor.state.toLowerCase(),
  ]);
  byId("restarted").hidden = !restarted.length;
  byId("restarted").replaceChildren(table(["Restarted actor", "Restarts", "State"], restarted), more(overview.restarted_more));
}

function draw(told) {
  byId("name").textContent = told.name;
  byId("compare").href = `../../../../../compare?${new URLSearchParams({ b: told.ref, ...(jobId && { b_job: jobId }) })}`;
  document.title = `${told.name} ${told.session} - Ray History Server`;
  drawFacts(told);
  drawLosses(told);
  const overview = told.overview;
  byId("whole").hidden = false;
  byId("asking").hidden = true;
  if (!overview) {
    for (const section of document.querySelectorAll("#whole section")) section.hidden = true;
    byId("of-job").replaceChildren(jobId ? `No task of job ${jobId} was stored. ` : "This session was loaded without an overview. ", element("a", { href: "overview" }, "The session"));
    byId("of-job").hidden = false;
    return;
  }
  if (jobId) {
    byId("of-job").replaceChildren(`Only the tasks of job ${jobId}. `, element("a", { href: "overview" }, "The whole session"));
    byId("of-job").hidden = false;
  }
  drawFailures(overview, jobId);
  drawFunctions(overview);
  for (const id of ["jobs", "time", "slowest", "waits", "nodes", "actors"]) byId(`${id}-section`).hidden = Boolean(jobId);
  if (jobId) return;
  drawJobs(overview);
  byId("time-section").hidden = !overview.series;
  if (overview.series) drawSeries(byId("plots"), overview.series);
  drawTasks("slowest", overview.slowest, "Ran", "start_time_ms", "end_time_ms");
  drawTasks("waits", overview.longest_waits, "Waited", "creation_time_ms", "start_time_ms");
  drawNodes(overview);
  drawActors(overview);
}

byId("name").textContent = reference().name;
try {
  draw(await ask(`overview${location.search}`));
} catch (error) {
  if (error.code === "loading" || error.code === "load_failed") location.replace(`./?next=${encodeURIComponent(`overview${location.search}`)}`);
  byId("asking").hidden = true;
  byId("trouble").textContent = `There is no overview to show: ${error.message}`;
  byId("trouble").hidden = false;
}
