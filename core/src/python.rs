//! The boundary to Python. A panic becomes an exception of its call.

use crate::merge::merge;
use crate::render::{COLUMNS, DRIVER};
use crate::rules::Ends;
use crate::table::{Column, Error, Rows, Table, Value};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use pyo3::IntoPyObjectExt;
use std::collections::HashMap;

fn failed(error: Error) -> PyErr {
    match error.downcast::<PyErr>() {
        Ok(raised) => *raised,
        Err(error) => PyValueError::new_err(error.to_string()),
    }
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

    fn take<'py>(&mut self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        self.0.take().iter().map(|of| PyBytes::new(py, of)).collect()
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

/// `runtime_env_info` by serialized runtime environment: those of tasks, those of drivers.
struct RuntimeEnvs {
    ask: Py<PyAny>,
    known: [HashMap<String, String>; 2],
}

impl RuntimeEnvs {
    fn get(&mut self, serialized: &str, driver: bool) -> PyResult<&str> {
        let known = &mut self.known[usize::from(driver)];
        if !known.contains_key(serialized) {
            let made = Python::with_gil(|py| self.ask.call1(py, (serialized, driver))?.extract(py))?;
            known.insert(serialized.to_string(), made);
        }
        Ok(&known[serialized])
    }
}

/// Most ids differ in it. To compare it needs no look at the id itself.
fn beginning(id: &str) -> u64 {
    id.as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn merged<F: FnMut(&Rows) -> Result<(), Error>>(
    chunks: &[PyBackedBytes],
    ends: &Ends,
    envs: &mut RuntimeEnvs,
    table: &mut Table<F>,
) -> Result<(), Error> {
    let mut records: Vec<(u64, &str, &[u8])> = Vec::new();
    for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
        let pairs = rmp_serde::from_slice::<Vec<(&str, &[u8])>>(chunk)?;
        records.extend(pairs.into_iter().map(|(id, record)| (beginning(id), id, record)));
    }
    records.sort_unstable_by_key(|record| record.0);
    // What lies far apart in memory is looked at once: each task is merged as soon as its records are together.
    for alike in records.chunk_by_mut(|one, other| one.0 == other.0) {
        alike.sort_unstable();
        for of_task in alike.chunk_by(|one, other| one.1 == other.1) {
            let mut encoded: Vec<&[u8]> = of_task.iter().map(|(.., record)| *record).collect();
            encoded.dedup();
            for attempt in merge(&encoded, ends)? {
                if let Some(definition) = &attempt.definition {
                    let env = envs.get(&definition.runtime_env, &*definition.kind == DRIVER)?;
                    table.add(of_task[0].1, &attempt, definition, env)?;
                }
            }
        }
    }
    table.finish()
}

type Coded = (Vec<PyObject>, Py<PyBytes>);

fn coded(py: Python<'_>, column: &Column) -> PyResult<Coded> {
    let object = |value: &Value| match value {
        Value::None => Ok(py.None()),
        Value::Bool(value) => value.into_py_any(py),
        Value::Int(value) => value.into_py_any(py),
        Value::Text(text) => text.into_py_any(py),
    };
    let codes: Vec<u8> = column.codes.iter().flat_map(|code| code.to_le_bytes()).collect();
    Ok((column.values.iter().map(object).collect::<PyResult<_>>()?, PyBytes::new(py, &codes).unbind()))
}

type Lineage = Vec<(String, Py<PyBytes>)>;
type TaskRows = (Vec<String>, Vec<(&'static str, Coded)>, Py<PyBytes>, Coded);

/// One range's records (what `Splitter.take` gave) to ids, coded columns, times and errors of its rows, and by job what lineage needs. Rows are
/// handed on as `rows(job, how many, base, whole)`: `block_rows` of one job, or, at the end, fewer.
/// `runtime_env(serialized, driver)` gives the JSON of a `runtime_env_info`; `deaths` and `job_ends` are those of `TaskEnds`.
#[pyfunction]
fn merge_range(
    py: Python<'_>,
    chunks: Vec<PyBackedBytes>,
    block_rows: usize,
    rows: Py<PyAny>,
    runtime_env: Py<PyAny>,
    deaths: HashMap<String, (i64, i64, String)>,
    job_ends: HashMap<String, i64>,
) -> PyResult<(TaskRows, Lineage)> {
    let ends = Ends { deaths, job_ends };
    let mut envs = RuntimeEnvs { ask: runtime_env, known: Default::default() };
    let mut table = Table::new(block_rows, |of: &Rows| {
        Python::with_gil(|py| rows.call1(py, (&of.job, of.count, of.base.as_bytes(), of.whole.as_bytes())))?;
        Ok(())
    });
    py.allow_threads(|| merged(&chunks, &ends, &mut envs, &mut table)).map_err(failed)?;
    let columns = COLUMNS.iter().zip(&table.columns).map(|(name, column)| Ok((*name, coded(py, column)?)));
    let columns = columns.collect::<PyResult<_>>()?;
    let mut lineage = Lineage::new();
    for job in &table.jobs {
        if let Some(tasks) = job.lineage().map_err(failed)? {
            lineage.push((job.job.clone(), PyBytes::new(py, &tasks).unbind()));
        }
    }
    let times: Vec<u8> = table.times.iter().flat_map(|ms| ms.to_le_bytes()).collect();
    let rows = (table.ids, columns, PyBytes::new(py, &times).unbind(), coded(py, &table.errors)?);
    Ok((rows, lineage))
}

/// The summary by lineage of one job, of what `merge_range` left for it in each range, as `hand_on(piece)`: `piece_size` bytes, the last fewer.
/// `actors`: representation and class name by id.
#[pyfunction]
fn summary_by_lineage(
    py: Python<'_>,
    tasks: Vec<PyBackedBytes>,
    actors: crate::lineage::Actors,
    piece_size: usize,
    hand_on: Py<PyAny>,
) -> PyResult<()> {
    let mut hand_on = |piece: &[u8]| {
        Python::with_gil(|py| hand_on.call1(py, (piece,)))?;
        Ok(())
    };
    let chunks = tasks.iter().map(|chunk| &**chunk);
    py.allow_threads(|| crate::lineage::summary_by_lineage(chunks, &actors, piece_size, &mut hand_on)).map_err(failed)
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

/// As `shared.timeline.Trace`; `unusual(event name, extra data, args)` is what it knows of spans that few sessions have.
#[pyclass]
struct Trace {
    trace: crate::trace::Trace,
    unusual: Py<PyAny>,
}

#[pymethods]
impl Trace {
    #[new]
    fn new(unusual: Py<PyAny>) -> Self {
        Trace { trace: crate::trace::Trace::default(), unusual }
    }

    fn events<'py>(&mut self, py: Python<'py>, texts: Vec<PyBackedBytes>) -> PyResult<Bound<'py, PyBytes>> {
        let (trace, unusual) = (&mut self.trace, &self.unusual);
        let mut ask = |name: &str, extra: &str, args: &str| {
            Ok(Python::with_gil(|py| unusual.call1(py, (name, extra, args))?.extract(py))?)
        };
        let made = py.allow_threads(|| {
            let mut out = String::with_capacity(texts.iter().map(|text| text.len()).sum::<usize>() * 2 / 3);
            texts.iter().try_for_each(|text| trace.events(std::str::from_utf8(text)?, &mut out, &mut ask))?;
            Ok(out)
        });
        Ok(PyBytes::new(py, made.map_err(failed)?.as_bytes()))
    }

    fn end<'py>(&mut self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let mut out = String::new();
        self.trace.end(&mut out);
        PyBytes::new(py, out.as_bytes())
    }
}

#[pymodule]
fn ray_history_core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<Splitter>()?;
    module.add_class::<Trace>()?;
    module.add_function(wrap_pyfunction!(sort_batch, module)?)?;
    module.add_function(wrap_pyfunction!(merge_range, module)?)?;
    module.add_function(wrap_pyfunction!(summary_by_lineage, module)?)
}
