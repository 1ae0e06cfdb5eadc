//! The boundary to Python. A panic becomes an exception of its call.

use crate::merge::{merge, Attempt};
use crate::render::DRIVER;
use crate::rules::Ends;
use crate::table::{Error, Part, Table};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

fn failed(error: Error) -> PyErr {
    PyValueError::new_err(error.to_string())
}

#[pyclass]
struct Splitter(crate::split::Splitter);

#[pymethods]
impl Splitter {
    #[new]
    fn new(plain: u64, ones: u64) -> Self {
        Splitter(crate::split::Splitter::new(plain, ones))
    }

    fn feed<'py>(&mut self, py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let odd = py.allow_threads(|| self.0.feed(text)).map_err(failed)?;
        Ok(PyBytes::new(py, &odd))
    }

    fn take<'py>(&mut self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        Ok(self.0.take().map_err(failed)?.iter().map(|of| PyBytes::new(py, of)).collect())
    }

    #[getter]
    fn events(&self) -> u64 {
        self.0.events
    }

    #[getter]
    fn size(&self) -> usize {
        self.0.size
    }
}

type Attempts<'a> = Vec<(&'a str, Vec<Attempt<'a>>)>;

/// The attempts of all tasks, in the order of the table.
fn attempts<'a>(chunks: &'a [PyBackedBytes], ends: &Ends) -> Result<Attempts<'a>, Error> {
    let mut tasks: HashMap<&str, Vec<&[u8]>> = HashMap::new();
    for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
        let pairs: Vec<(&str, &[u8])> = rmp_serde::from_slice(chunk)?;
        for (task_id, record) in pairs {
            tasks.entry(task_id).or_default().push(record);
        }
    }
    let ordered: BTreeMap<_, _> = tasks.into_iter().collect();
    ordered.into_iter().map(|(task_id, records)| Ok((task_id, merge(records, ends)?))).collect()
}

/// `runtime_env_info` by serialized runtime environment, and whether it is a driver's.
type RuntimeEnvs<'a> = HashMap<(&'a str, bool), String>;

fn runtime_envs<'a>(attempts: &'a Attempts<'a>, ask: &Bound<'_, PyAny>) -> PyResult<RuntimeEnvs<'a>> {
    let mut known = RuntimeEnvs::new();
    for definition in attempts.iter().flat_map(|(_, of_task)| of_task).filter_map(|attempt| attempt.definition.as_ref()) {
        let key = (&*definition.runtime_env.0, definition.kind.0 == DRIVER);
        if let Entry::Vacant(place) = known.entry(key) {
            place.insert(ask.call1(key)?.extract()?);
        }
    }
    Ok(known)
}

fn tabulated<'a>(attempts: &'a Attempts<'a>, envs: &RuntimeEnvs<'a>) -> Result<(Vec<String>, Part), Error> {
    let mut table = Table::new();
    for (task_id, of_task) in attempts {
        for attempt in of_task {
            table.add(task_id, attempt, |env, driver| envs.get(&(env, driver)).map_or("{}", String::as_str))?;
        }
    }
    let ids = table.ids.clone();
    Ok((ids, table.finish()?))
}

/// One range's records (what `Splitter.take` gave) to what a part of the `tasks` table is made of. `runtime_env(serialized, driver)`
/// gives the JSON of a `runtime_env_info`; `deaths` and `job_ends` are those of `TaskEnds`.
#[pyfunction]
fn merge_range<'py>(
    py: Python<'py>,
    chunks: Vec<PyBackedBytes>,
    runtime_env: Bound<'py, PyAny>,
    deaths: HashMap<String, (i64, i64, String)>,
    job_ends: HashMap<String, i64>,
) -> PyResult<Bound<'py, PyDict>> {
    let ends = Ends { deaths, job_ends };
    let merged = py.allow_threads(|| attempts(&chunks, &ends)).map_err(failed)?;
    let envs = runtime_envs(&merged, &runtime_env)?;
    let (ids, part) = py.allow_threads(|| tabulated(&merged, &envs)).map_err(failed)?;
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

type SortedGroup<'a, 'py> = (&'a str, &'a str, &'a str, Vec<&'a str>, Bound<'py, PyBytes>);

/// One POST's events by (session, node, job) as they name them, with their ids and lines. `None` for what is unusual.
#[pyfunction]
fn sort_batch<'py>(py: Python<'py>, body: &[u8]) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(groups) = py.allow_threads(|| crate::batch::sort(body)) else {
        return Ok(None);
    };
    let lines = |events: &[&str]| {
        PyBytes::new_with(py, events.iter().map(|event| event.len() + 1).sum(), |out| {
            let mut rest = out;
            for event in events {
                let (line, others) = rest.split_at_mut(event.len() + 1);
                line[..event.len()].copy_from_slice(event.as_bytes());
                line[event.len()] = b'\n';
                rest = others;
            }
            Ok(())
        })
    };
    let sorted: PyResult<Vec<SortedGroup>> = groups
        .iter()
        .map(|of| Ok((of.names.session, of.names.node, of.names.job, of.ids.clone(), lines(&of.events)?)))
        .collect();
    Ok(Some(sorted?.into_pyobject(py)?.into_any()))
}

#[pymodule]
fn ray_history_core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<Splitter>()?;
    module.add_function(wrap_pyfunction!(sort_batch, module)?)?;
    module.add_function(wrap_pyfunction!(merge_range, module)?)
}
