//! Rows of tasks to the events of a Chrome trace: the twin of `shared/timeline.py`.

use crate::json::{float, quote};
use crate::scan::Scanner;
use crate::table::Error;
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;

const COLORS: [(&str, &str); 12] = [
    ("worker_idle", "cq_build_abandoned"), ("task", "rail_response"), ("task:deserialize_arguments", "rail_load"),
    ("task:execute", "rail_animation"), ("task:store_outputs", "rail_idle"), ("wait_for_function", "detailed_memory_dump"),
    ("ray.get", "good"), ("ray.put", "terrible"), ("ray.wait", "vsync_highlight_color"), ("submit_task", "background_memory_dump"),
    ("fetch_and_run_function", "detailed_memory_dump"), ("register_remote_function", "detailed_memory_dump"),
];
const OTHER_COLOR: &str = "generic_work";
const PROFILE: &[u8] = b",\"profiling_data\":";

#[derive(Deserialize, Default)]
#[serde(default)]
struct Profile<'r> {
    #[serde(borrow)]
    component_type: Cow<'r, str>,
    #[serde(borrow)]
    component_id: Cow<'r, str>,
    #[serde(borrow)]
    node_ip_address: Cow<'r, str>,
    #[serde(borrow)]
    events: Vec<Span<'r>>,
}

#[derive(Deserialize)]
struct Span<'r> {
    // As text: serde_json's own numbers are not always the nearest.
    #[serde(borrow)]
    start_time: &'r RawValue,
    #[serde(borrow)]
    end_time: &'r RawValue,
    #[serde(borrow)]
    event_name: Cow<'r, str>,
    #[serde(borrow, default)]
    extra_data: Option<&'r RawValue>,
}

/// What Ray tells of nearly all spans that it tells more of.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named<'r> {
    #[serde(borrow)]
    name: Cow<'r, str>,
    #[serde(rename = "task_id")]
    _task_id: &'r RawValue,
}

/// Of a span with other extra data: JSON of its name, its color's name, and JSON of its args, from its name, the data, and the row's args.
pub type Unusual<'u> = dyn FnMut(&str, &str, &str) -> Result<(String, String, String), Error> + 'u;

/// Numbers nodes and workers in the order in which it meets them, and names them at its end.
#[derive(Default)]
pub struct Trace {
    nodes: HashMap<String, usize>,
    workers: HashMap<(usize, String), usize>,
    begun: bool,
}

impl Trace {
    /// The complete events of some more rows, which have BETWEEN_ROWS between them, as a piece of the array.
    pub fn events(&mut self, rows: &str, out: &mut String, unusual: &mut Unusual) -> Result<(), Error> {
        // No row has a raw newline in it.
        for row in rows.split('\n') {
            self.row(row, out, unusual)?;
        }
        Ok(())
    }

    /// The names of nodes and workers, and the array's end.
    pub fn end(&mut self, out: &mut String) {
        let mut nodes: Vec<_> = std::mem::take(&mut self.nodes).into_iter().map(|(node, pid)| (pid, node)).collect();
        nodes.sort_unstable();
        for (pid, node) in nodes {
            self.separate(out);
            out.push_str("{\"name\":\"process_name\",\"args\":{\"name\":");
            quote(out, &format!("Node {node}"));
            out.push_str(&format!("}},\"pid\":{pid},\"ph\":\"M\"}}"));
        }
        let mut workers: Vec<_> = std::mem::take(&mut self.workers).into_iter().map(|((pid, worker), tid)| (tid, pid, worker)).collect();
        workers.sort_unstable();
        for (tid, pid, worker) in workers {
            self.separate(out);
            out.push_str("{\"name\":\"thread_name\",\"args\":{\"name\":");
            quote(out, &worker);
            out.push_str(&format!("}},\"pid\":{pid},\"tid\":{tid},\"ph\":\"M\"}}"));
        }
        out.push_str(if self.begun { "]" } else { "[]" });
    }

    fn separate(&mut self, out: &mut String) {
        out.push(if self.begun { ',' } else { '[' });
        self.begun = true;
    }

    fn row(&mut self, row: &str, out: &mut String, unusual: &mut Unusual) -> Result<(), Error> {
        let profile = profile_of(row)?;
        if profile.events.is_empty() || !["worker", "driver"].contains(&&*profile.component_type) {
            return Ok(());
        }
        let args = args_of(row).ok_or("a row without the columns of a task")?;
        let pid = numbered(&mut self.nodes, profile.node_ip_address.into_owned());
        let tid = numbered(&mut self.workers, (pid, format!("{}:{}", profile.component_type, profile.component_id)));
        let place = format!(",\"pid\":{pid},\"tid\":{tid},\"ts\":");
        let (mut category, mut named_args) = (String::new(), String::new());
        for span in &profile.events {
            category.clear();
            quote(&mut category, &span.event_name);
            self.separate(out);
            out.push_str("{\"cat\":");
            out.push_str(&category);
            out.push_str(",\"name\":");
            let (start, end) = (span.start_time.get().parse::<f64>()? * 1e3, span.end_time.get().parse::<f64>()? * 1e3);
            let extra = span.extra_data.map_or("{}", RawValue::get);
            if extra == "{}" {
                out.push_str(&category);
                times(out, &place, start, end);
                rest(out, color(&span.event_name), &args);
            } else if let Some(name) = usual_name(extra) {
                named_args.clear();
                named_args.push_str("{\"name\":");
                quote(&mut named_args, &name);
                named_args.push(',');
                named_args.push_str(&args[1..]);
                quote(out, &name);
                times(out, &place, start, end);
                rest(out, color(&span.event_name), &named_args);
            } else {
                let (name, color, all_args) = unusual(&span.event_name, extra, &args)?;
                out.push_str(&name);
                times(out, &place, start, end);
                rest(out, &color, &all_args);
            }
        }
        Ok(())
    }
}

/// As a rule nothing else in a row has that name, and the row need not be read from its beginning.
fn profile_of(row: &str) -> Result<Profile<'_>, Error> {
    let mut found = memmem::find_iter(row.as_bytes(), PROFILE);
    match (found.next(), found.next()) {
        (None, _) => Ok(Profile::default()),
        (Some(at), None) => begins_with(&row[at + PROFILE.len()..]),
        _ => begins_with::<WholeRow>(row).map(|row| row.profiling_data),
    }
}

#[derive(Deserialize)]
struct WholeRow<'r> {
    #[serde(borrow)]
    profiling_data: Profile<'r>,
}

/// The value that a text begins with.
fn begins_with<'r, T: Deserialize<'r>>(json: &'r str) -> Result<T, Error> {
    Ok(T::deserialize(&mut serde_json::Deserializer::from_str(json))?)
}

/// The JSON of `args`, from the beginning of a row: the function comes last of what it shows.
fn args_of(row: &str) -> Option<String> {
    let [mut task_id, mut attempt_number, mut job_id, mut actor_id, mut function] = [None; 5];
    Scanner::new(row).object(|scanner, key| {
        let from = scanner.position();
        scanner.skip()?;
        let value = Some(scanner.since(from));
        match key {
            "task_id" => task_id = value,
            "attempt_number" => attempt_number = value,
            "job_id" => job_id = value,
            "actor_id" => actor_id = value,
            "func_or_class_name" => function = value,
            _ => {}
        }
        function.is_none().then_some(())
    });
    let (task_id, attempt_number, job_id, actor_id, function) = (task_id?, attempt_number?, job_id?, actor_id?, function?);
    Some(format!(
        "{{\"task_id\":{task_id},\"job_id\":{job_id},\"attempt_number\":{attempt_number},\"func_or_class_name\":{function},\"actor_id\":{actor_id}}}"
    ))
}

fn usual_name(extra: &str) -> Option<Cow<'_, str>> {
    // Keys keep their order: a name that comes second is for the reference.
    if !extra.starts_with("{\"name\":") {
        return None;
    }
    serde_json::from_str::<Named>(extra).ok().map(|named| named.name)
}

fn times(out: &mut String, place: &str, start: f64, end: f64) {
    out.push_str(place);
    float(out, start);
    out.push_str(",\"dur\":");
    float(out, end - start);
}

fn rest(out: &mut String, color: &str, args: &str) {
    out.push_str(",\"cname\":\"");
    out.push_str(color);
    out.push_str("\",\"args\":");
    out.push_str(args);
    out.push_str(",\"ph\":\"X\"}");
}

fn color(name: &str) -> &'static str {
    COLORS.iter().find(|(known, _)| *known == name).map_or(OTHER_COLOR, |(_, color)| color)
}

fn numbered<K: std::hash::Hash + Eq>(numbers: &mut HashMap<K, usize>, key: K) -> usize {
    let next = numbers.len();
    *numbers.entry(key).or_insert(next)
}
