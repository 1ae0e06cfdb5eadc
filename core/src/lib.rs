//! The engine of Ray History Server, in Rust: what `workers/task_events/` says in plain Python, for the lines that collectors usually
//! write. It knows no Redis, storage or Celery. A panic becomes an exception of its call.

mod json;
mod merge;
mod read;
mod record;
mod render;
mod rules;
mod table;

use merge::merge;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};
use rmp::encode::{write_array_len, write_bin, write_str};
use std::collections::{BTreeMap, HashMap, HashSet};
use table::{Error, Part, Table};

const ONES: &str = "ffffffffffffffff";

/// Whole lines to records by range of their tasks' ids.
#[pyclass]
struct Splitter {
    plain: u64,
    ones: u64,
    ranges: Vec<(u32, Vec<u8>)>,
    #[pyo3(get)]
    events: u64,
    #[pyo3(get)]
    size: usize,
}

#[pymethods]
impl Splitter {
    /// `plain` ranges of equal width, and `ones` for ids that begin with eight ff.
    #[new]
    fn new(plain: u64, ones: u64) -> Self {
        Splitter { plain, ones, ranges: vec![Default::default(); (plain + ones) as usize], events: 0, size: 0 }
    }

    /// The lines that are left to the reference.
    fn feed<'py>(&mut self, py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let odd = py.allow_threads(|| self.split(text)).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(PyBytes::new(py, &odd))
    }

    /// What there is of each range, as msgpack; empty where there is nothing. Begins anew.
    fn take<'py>(&mut self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        self.size = 0;
        let packed = self.ranges.iter_mut().map(|range| {
            let (count, body) = std::mem::take(range);
            let mut out = Vec::with_capacity(body.len() + 5);
            if count > 0 && write_array_len(&mut out, count).is_ok() {
                out.extend(body);
            }
            PyBytes::new(py, &out)
        });
        packed.collect()
    }
}

impl Splitter {
    fn split(&mut self, text: &[u8]) -> Result<Vec<u8>, Error> {
        let mut odd = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let (line, others) = rest.split_at(end);
            rest = others;
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let Some((task_id, record)) = read::read_line(line) else {
                odd.extend(line);
                continue;
            };
            let (count, out) = &mut self.ranges[range_of(&task_id, self.plain, self.ones)?];
            let encoded = rmp_serde::to_vec(&record)?;
            write_array_len(out, 2)?;
            write_str(out, &task_id)?;
            write_bin(out, &encoded)?;
            *count += 1;
            self.events += 1;
            self.size += encoded.len();
        }
        Ok(odd)
    }
}

fn range_of(task_id: &str, plain: u64, ones: u64) -> Result<usize, Error> {
    let part = |from: usize| u64::from_str_radix(task_id.get(from..from + 8).unwrap_or_default(), 16);
    Ok(if ones > 0 && task_id.starts_with(ONES) { plain + (part(16)? * ones >> 32) } else { part(0)? * plain >> 32 } as usize)
}

type Attempts<'a> = Vec<(&'a str, Vec<merge::Attempt<'a>>)>;

/// The attempts of all tasks, in the order of the table.
fn attempts<'a>(chunks: &'a [PyBackedBytes], ends: &rules::Ends) -> Result<Attempts<'a>, Error> {
    let mut tasks: HashMap<&str, Vec<&[u8]>> = HashMap::new();
    for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
        let pairs: Vec<(&str, &[u8])> = rmp_serde::from_slice(chunk)?;
        for (task_id, record) in pairs {
            tasks.entry(task_id).or_default().push(record);
        }
    }
    let ordered: BTreeMap<_, _> = tasks.into_iter().collect();
    ordered.into_iter().map(|(task_id, records)| Ok((task_id, merge(task_id, records, ends)?))).collect()
}

/// `runtime_env_info` by serialized runtime environment, and whether it is a driver's.
type RuntimeEnvs<'a> = HashMap<(&'a str, bool), String>;

fn runtime_envs<'a>(attempts: &'a Attempts<'a>, ask: &Bound<'_, PyAny>) -> PyResult<RuntimeEnvs<'a>> {
    let mut known = RuntimeEnvs::new();
    for definition in attempts.iter().flat_map(|(_, of_task)| of_task).filter_map(|attempt| attempt.definition.as_ref()) {
        let key = (&*definition.runtime_env.0, definition.kind.0 == render::DRIVER);
        if !known.contains_key(&key) {
            known.insert(key, ask.call1(key)?.extract()?);
        }
    }
    Ok(known)
}

fn tabulated<'a>(attempts: &'a Attempts<'a>, envs: &RuntimeEnvs<'a>, by_function: bool) -> Result<(Vec<String>, Part), Error> {
    let mut table = Table::new(by_function);
    for (task_id, of_task) in attempts {
        for attempt in of_task {
            table.add(task_id, attempt, |env, driver| envs.get(&(env, driver)).map_or("{}", String::as_str))?;
        }
    }
    let ids = table.ids.clone();
    Ok((ids, table.finish()?))
}

/// The fields of `OldRay`, in order.
type OldRay = (bool, bool, bool, String, HashSet<String>, HashMap<String, (i64, i64)>);

/// One range's records (what `Splitter.take` gave) to what a part of the `tasks` table is made of. `runtime_env(serialized, driver)`
/// gives the JSON of a `runtime_env_info`; `deaths`, `job_ends` and `old` are those of `TaskEnds`.
#[pyfunction]
fn merge_range<'py>(
    py: Python<'py>,
    chunks: Vec<PyBackedBytes>,
    runtime_env: Bound<'py, PyAny>,
    deaths: HashMap<String, (i64, i64, String)>,
    job_ends: HashMap<String, i64>,
    old: Option<OldRay>,
) -> PyResult<Bound<'py, PyDict>> {
    let failed = |error: Error| PyValueError::new_err(error.to_string());
    let old = old.map(|(by_function, senders_node, log_info, log_directory, prestarted, log_starts)| rules::OldRay {
        by_function,
        senders_node,
        log_info,
        log_directory,
        prestarted,
        log_starts,
    });
    let ends = rules::Ends { deaths, job_ends, old };
    let by_function = ends.old.as_ref().is_some_and(|old| old.by_function);
    let merged = py.allow_threads(|| attempts(&chunks, &ends)).map_err(failed)?;
    let envs = runtime_envs(&merged, &runtime_env)?;
    let (ids, part) = py.allow_threads(|| tabulated(&merged, &envs, by_function)).map_err(failed)?;
    let bytes = |data: &[u8]| PyBytes::new(py, data);
    let made = PyDict::new(py);
    let blocks: Vec<_> = part.blocks.iter().map(|(rows, base, whole)| (*rows, bytes(base.as_bytes()), bytes(whole.as_bytes()))).collect();
    made.set_item("blocks", blocks)?;
    made.set_item("clusters", part.clusters)?;
    made.set_item("columns", part.columns.iter().map(|(name, data)| (*name, bytes(data))).collect::<Vec<_>>())?;
    made.set_item("keys", bytes(&part.keys))?;
    made.set_item("rows", ids.len())?;
    made.set_item("first", ids.first())?;
    made.set_item("last", ids.last())?;
    made.set_item("counts", part.counts)?;
    made.set_item("lineage", part.lineage.iter().map(|(job, data)| (job, bytes(data))).collect::<Vec<_>>())?;
    Ok(made)
}

#[pymodule]
fn ray_history_core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<Splitter>()?;
    module.add_function(wrap_pyfunction!(merge_range, module)?)
}
