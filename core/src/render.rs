//! A merged attempt to a row, as JSON text and as values to filter by: the twin of `workers/task_events/render.py`.

use crate::json::{float, last_part, quote, Text};
use crate::merge::Attempt;
use crate::record::{Definition, LogInfo, State};
use crate::table::Value;
use std::borrow::Cow;

const STATES: [&str; 14] = [
    "NIL", "PENDING_ARGS_AVAIL", "PENDING_NODE_ASSIGNMENT", "PENDING_OBJ_STORE_MEM_AVAIL", "PENDING_ARGS_FETCH",
    "SUBMITTED_TO_WORKER", "PENDING_ACTOR_TASK_ARGS_FETCH", "PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY", "RUNNING",
    "RUNNING_IN_RAY_GET", "RUNNING_IN_RAY_WAIT", "FINISHED", "FAILED", "GETTING_AND_PINNING_ARGS",
];
const ACTOR_ID_AT: usize = 16;
pub const DRIVER: &str = "DRIVER_TASK";
/// The filter columns: those of the row's values, in order.
pub const COLUMNS: [&str; 15] = [
    "attempt_number", "name", "state", "job_id", "actor_id", "type", "func_or_class_name", "parent_task_id", "node_id",
    "worker_id", "worker_pid", "error_type", "language", "placement_group_id", "is_debugger_paused",
];

/// What else there is of a row: the values of its filter columns; when (ms) it was submitted, started and ended; its error's message.
pub struct Row<'r> {
    pub values: [Value<'r>; 15],
    pub times: [Option<i64>; 3],
    pub error: Value<'r>,
}

/// Writes one row to the ends of `base` and `whole`.
pub fn render<'r>(id: &'r str, a: &'r Attempt, d: &'r Definition, env: &str, base: &mut String, whole: &mut String) -> Row<'r> {
    let is_unnamed = !a.repr_name.is_empty() && &*d.kind == "ACTOR_TASK" && d.name == d.function;
    let name = if is_unnamed { Cow::Owned(format!("{}.{}", &*a.repr_name, last_part(&d.name))) } else { Cow::Borrowed(&*d.name) };
    let mut states: Vec<&State> = a.states.iter().collect();
    states.sort_by_cached_key(|state| rank(&state.name));
    let state = states.last().map_or("NIL", |state| &*state.name);
    let actor_id = if d.kind.0 == "ACTOR_CREATION_TASK" { id.get(ACTOR_ID_AT..) } else { some_id(&d.actor_id) };
    let (node_id, worker_id, group) = (some_id(&a.node_id), some_id(&a.worker_id), some_id(&d.placement_group_id));
    let error = a.error.as_ref().filter(|_| state == "FAILED");
    let message = error.map(|error| without_ansi(&error.message));
    let ended = a.state("FAILED").unwrap_or_else(|| a.state("FINISHED").flatten());
    let times = [a.state("PENDING_ARGS_AVAIL").flatten(), a.state("RUNNING").flatten(), ended];
    let driver = &*d.kind == DRIVER;

    let (o, begin) = (whole, base.len());
    base.push_str("{\"task_id\":\"");
    base.push_str(id);
    base.push_str("\",\"attempt_number\":");
    int(base, a.number);
    key_text(base, "name", &name);
    key_text(base, "state", state);
    key_text(base, "job_id", &d.job_id);
    key_id(base, "actor_id", actor_id);
    key_text(base, "type", &d.kind);
    key_text(base, "func_or_class_name", &d.function);
    key_text(base, "parent_task_id", &d.parent_task_id);
    key_id(base, "node_id", node_id);
    key_id(base, "worker_id", worker_id);
    key(base, "worker_pid");
    if a.worker_pid == 0 { base.push_str("null") } else { int(base, a.worker_pid) }
    key_optional(base, "error_type", error.map(|error| &*error.kind.0));
    o.push_str(&base[begin..]);
    base.push('}');

    key_text(o, "language", &d.language);
    key_json(o, "required_resources", &d.resources);
    key_json(o, "runtime_env_info", env);
    key_id(o, "placement_group_id", group);
    key_json(o, "events", "[");
    for (at, state) in states.iter().enumerate() {
        o.push_str(if at > 0 { ",{\"state\":" } else { "{\"state\":" });
        quote(o, &state.name);
        key_ms(o, "created_ms", state.ms);
        o.push('}');
    }
    o.push(']');
    key(o, "profiling_data");
    profile(o, a);
    for (name, ms) in ["creation_time_ms", "start_time_ms", "end_time_ms"].into_iter().zip(times) {
        key_ms(o, name, ms);
    }
    key(o, "task_log_info");
    logs(o, a.logs.as_ref());
    key_optional(o, "error_message", message.as_deref());
    key_json(o, "is_debugger_paused", a.debugger_paused.map_or("null", |paused| if paused { "true" } else { "false" }));
    key_optional(o, "call_site", d.call_site.as_ref().map(|site| &*site.0));
    key_json(o, "label_selector", &d.label_selector);
    let fallback = if d.fallback_strategy.is_empty() { if driver { "null" } else { "{\"options\":[]}" } } else { &d.fallback_strategy };
    key_json(o, "fallback_strategy", fallback);
    o.push('}');

    let id_value = |id: Option<&'r str>| id.map_or(Value::None, Value::from);
    let values = [
        Value::Int(a.number), Value::Text(name), Value::from(state), Value::from(&*d.job_id), id_value(actor_id), Value::from(&*d.kind), Value::from(&*d.function),
        Value::from(&*d.parent_task_id), id_value(node_id), id_value(worker_id),
        if a.worker_pid == 0 { Value::None } else { Value::Int(a.worker_pid) },
        id_value(error.map(|error| &*error.kind)), Value::from(&*d.language), id_value(group), a.debugger_paused.map_or(Value::None, Value::Bool),
    ];
    Row { values, times, error: message.map_or(Value::None, |text| Value::Text(Cow::Owned(text))) }
}

fn rank(state: &str) -> i32 {
    STATES.iter().position(|known| *known == state).map_or(-1, |at| at as i32)
}

fn some_id<'t>(id: &'t Text) -> Option<&'t str> {
    id.bytes().any(|byte| byte != b'f').then_some(&*id.0)
}

fn without_ansi(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('\x1b') {
        let Some(end) = rest[at..].find('m') else { break };
        out.push_str(&rest[..at]);
        rest = &rest[at + end + 1..];
    }
    out + rest
}

fn key(o: &mut String, name: &str) {
    o.push_str(",\"");
    o.push_str(name);
    o.push_str("\":");
}

fn key_text(o: &mut String, name: &str, text: &str) {
    key(o, name);
    quote(o, text);
}

fn key_json(o: &mut String, name: &str, json: &str) {
    key(o, name);
    o.push_str(json);
}

fn key_optional(o: &mut String, name: &str, text: Option<&str>) {
    key(o, name);
    match text {
        None => o.push_str("null"),
        Some(text) => quote(o, text),
    }
}

fn key_id(o: &mut String, name: &str, id: Option<&str>) {
    key_optional(o, name, id.filter(|id| !id.is_empty()));
}

fn key_ms(o: &mut String, name: &str, ms: Option<i64>) {
    key(o, name);
    match ms {
        None => o.push_str("null"),
        Some(ms) => {
            int(o, ms);
            o.push_str(".0");
        }
    }
}

fn int(o: &mut String, value: i64) {
    o.push_str(itoa::Buffer::new().format(value));
}

fn profile(o: &mut String, a: &Attempt) {
    let Some(profile) = &a.profile else { return o.push_str("{}") };
    o.push_str("{\"component_type\":");
    quote(o, &profile.component_type);
    key_text(o, "component_id", &profile.component_id);
    key_text(o, "node_ip_address", &profile.node_ip);
    key_json(o, "events", "[");
    for (at, span) in a.spans.iter().enumerate() {
        o.push_str(if at > 0 { ",{\"start_time\":" } else { "{\"start_time\":" });
        float(o, span.start as f64 / 1e6);
        key(o, "end_time");
        float(o, span.end as f64 / 1e6);
        key_json(o, "extra_data", &span.extra);
        key_text(o, "event_name", &span.name);
        o.push('}');
    }
    o.push_str("]}");
}

fn logs(o: &mut String, logs: Option<&LogInfo>) {
    let Some(logs) = logs else { return o.push_str("null") };
    let begin = o.len();
    for (name, file) in [("stdout_file", &logs.stdout_file), ("stderr_file", &logs.stderr_file)] {
        if let Some(file) = file {
            key_text(o, name, file);
        }
    }
    let offsets = [logs.stdout_start, logs.stdout_end, logs.stderr_start, logs.stderr_end];
    for (name, offset) in ["stdout_start", "stdout_end", "stderr_start", "stderr_end"].into_iter().zip(offsets) {
        if let Some(offset) = offset {
            key(o, name);
            int(o, offset);
        }
    }
    if o.len() == begin {
        o.push('{');
    } else {
        o.replace_range(begin..=begin, "{");
    }
    o.push('}');
}
