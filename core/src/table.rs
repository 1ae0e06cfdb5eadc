//! Rows to blocks, columns and what summaries need: the twin of `workers/task_events/task_range.py` and `TablePart`.

use crate::merge::Attempt;
use crate::render::{render, Value, COLUMNS, DRIVER};
use rmp::encode::{write_array_len, write_bin, write_bool, write_nil, write_sint, write_str, write_uint};
use std::collections::HashMap;

const BLOCK_ROWS: usize = 64;
const BETWEEN_ROWS: &str = ",\n";
const ONES: &str = "ffffffffffffffff";
const NAME: usize = 1;
const STATE: usize = 2;
const JOB: usize = 3;
const ACTOR: usize = 4;
const KIND: usize = 5;
const FUNCTION: usize = 6;
const PARENT: usize = 7;

#[derive(Clone, PartialEq, Eq, Hash)]
enum Owned {
    None,
    Bool(bool),
    Int(i64),
    Text(String),
}

/// A dictionary-coded column.
#[derive(Default)]
pub struct Column {
    texts: HashMap<String, u32>,
    others: HashMap<Owned, u32>,
    values: Vec<Owned>,
    pub codes: Vec<u32>,
}

impl Column {
    fn add(&mut self, value: Value) {
        let code = match value {
            Value::Text(text) => self.texts.get(text),
            Value::None => self.others.get(&Owned::None),
            Value::Bool(value) => self.others.get(&Owned::Bool(value)),
            Value::Int(value) => self.others.get(&Owned::Int(value)),
        };
        let code = code.copied().unwrap_or_else(|| self.new_code(value));
        self.codes.push(code);
    }

    fn new_code(&mut self, value: Value) -> u32 {
        let code = self.values.len() as u32;
        let owned = match value {
            Value::Text(text) => {
                self.texts.insert(text.to_string(), code);
                self.values.push(Owned::Text(text.to_string()));
                return code;
            }
            Value::None => Owned::None,
            Value::Bool(value) => Owned::Bool(value),
            Value::Int(value) => Owned::Int(value),
        };
        self.others.insert(owned.clone(), code);
        self.values.push(owned);
        code
    }

    /// `ColumnData` in msgpack.
    fn pack(&self) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        write_array_len(&mut out, 3)?;
        write_array_len(&mut out, self.values.len() as u32)?;
        for value in &self.values {
            match value {
                Owned::None => write_nil(&mut out)?,
                Owned::Bool(value) => write_bool(&mut out, *value)?,
                Owned::Int(value) => drop(write_sint(&mut out, *value)?),
                Owned::Text(text) => write_str(&mut out, text)?,
            }
        }
        let width = if self.values.len() <= 1 << 8 { 1 } else if self.values.len() <= 1 << 16 { 2 } else { 4 };
        write_uint(&mut out, width as u64)?;
        let codes: Vec<u8> = self.codes.iter().flat_map(|code| code.to_le_bytes().into_iter().take(width)).collect();
        write_bin(&mut out, &codes)?;
        Ok(out)
    }
}

pub type Error = Box<dyn std::error::Error + Send + Sync>;
type Block = (usize, String, String);
/// How many attempts have a name, a type and a state.
type Count = ([String; 3], u64);

#[derive(Default)]
struct Cluster {
    job: String,
    full: Vec<Block>,
    /// When its first block was full, in the order of all clusters.
    order: usize,
    left: Vec<(String, String)>,
}

#[derive(Default)]
struct OfJob {
    counts: Vec<Count>,
    places: HashMap<[String; 3], usize>,
    tasks: u32,
    lineage: Vec<u8>,
}

#[derive(Default)]
pub struct Table {
    pub ids: Vec<String>,
    pub columns: Vec<Column>,
    clusters: Vec<Cluster>,
    by_job: HashMap<String, usize>,
    filled: usize,
    jobs: Vec<(String, OfJob)>,
    job_places: HashMap<String, usize>,
}

/// What a table part is made of: `writer.TablePart.finish` compresses and names it.
pub struct Part {
    pub blocks: Vec<Block>,
    pub clusters: Vec<String>,
    pub columns: Vec<(&'static str, Vec<u8>)>,
    pub keys: Vec<u8>,
    pub counts: Vec<(String, Vec<Count>)>,
    pub lineage: Vec<(String, Vec<u8>)>,
}

impl Table {
    pub fn new() -> Self {
        Table { columns: COLUMNS.iter().map(|_| Column::default()).collect(), ..Table::default() }
    }

    pub fn add<'a, 'e>(&mut self, id: &str, attempt: &'a Attempt<'a>, runtime_env: impl FnOnce(&'a str, bool) -> &'e str) -> Result<(), Error> {
        let Some(definition) = &attempt.definition else { return Ok(()) };
        let job = &*definition.job_id.0;
        let at = *self.by_job.entry(job.to_string()).or_insert_with(|| {
            self.clusters.push(Cluster { job: job.to_string(), ..Cluster::default() });
            self.clusters.len() - 1
        });
        let cluster = &mut self.clusters[at];
        let (mut base, mut whole) = (String::with_capacity(512), String::with_capacity(2048));
        let mut noted = Ok(());
        let (columns, jobs, job_places) = (&mut self.columns, &mut self.jobs, &mut self.job_places);
        render(id, attempt, runtime_env, &mut base, &mut whole, |values, created| {
            for (column, value) in columns.iter_mut().zip(values) {
                column.add(*value);
            }
            if values[KIND] != Value::Text(DRIVER) {
                let place = *job_places.entry(job.to_string()).or_insert_with(|| {
                    jobs.push((job.to_string(), OfJob::default()));
                    jobs.len() - 1
                });
                noted = jobs[place].1.add(id, values, created);
            }
        });
        noted?;
        self.ids.push(id.to_string());
        cluster.left.push((base, whole));
        if cluster.left.len() == BLOCK_ROWS {
            if cluster.full.is_empty() {
                cluster.order = self.filled;
                self.filled += 1;
            }
            cluster.full.push(block(&cluster.left));
            cluster.left.clear();
        }
        Ok(())
    }

    /// Clusters that filled no block come last and share blocks.
    pub fn finish(mut self) -> Result<Part, Error> {
        let (mut large, small): (Vec<Cluster>, Vec<Cluster>) = std::mem::take(&mut self.clusters).into_iter().partition(|of| !of.full.is_empty());
        large.sort_by_key(|cluster| cluster.order);
        let clusters: Vec<String> = large.iter().chain(&small).map(|cluster| cluster.job.clone()).collect();
        let mut blocks = Vec::new();
        for mut cluster in large {
            blocks.append(&mut cluster.full);
            blocks.extend(cluster.left.chunks(BLOCK_ROWS).map(block));
        }
        let shared: Vec<(String, String)> = small.into_iter().flat_map(|cluster| cluster.left).collect();
        blocks.extend(shared.chunks(BLOCK_ROWS).map(block));
        let by_cluster = &mut self.columns[JOB];
        let jobs = std::mem::take(by_cluster);
        for job in &clusters {
            by_cluster.new_code(Value::Text(job));
        }
        let recoded: Vec<u32> = jobs.values.iter().map(|value| if let Owned::Text(job) = value { by_cluster.texts[job] } else { 0 }).collect();
        by_cluster.codes = jobs.codes.iter().map(|code| recoded[*code as usize]).collect();
        let columns = COLUMNS.iter().zip(&self.columns).map(|(name, column)| Ok((*name, column.pack()?))).collect::<Result<_, Error>>()?;
        let mut counts = Vec::new();
        let mut lineage = Vec::new();
        for (job, of) in self.jobs {
            let mut packed = Vec::with_capacity(of.lineage.len() + 5);
            write_array_len(&mut packed, of.tasks)?;
            packed.extend(of.lineage);
            lineage.push((job.clone(), packed));
            counts.push((job, of.counts));
        }
        Ok(Part { blocks, clusters, columns, keys: keys(&self.ids)?, counts, lineage })
    }
}

impl OfJob {
    /// Counts an attempt, and adds it to the lineage as `LineageTask` in msgpack.
    fn add(&mut self, id: &str, values: &[Value; 15], created: Option<i64>) -> Result<(), Error> {
        let name = if text(values[NAME]).is_empty() { text(values[FUNCTION]) } else { text(values[NAME]) };
        let key = [name, text(values[KIND]), text(values[STATE])].map(str::to_string);
        match self.places.get(&key) {
            Some(at) => self.counts[*at].1 += 1,
            None => {
                self.places.insert(key.clone(), self.counts.len());
                self.counts.push((key, 1));
            }
        }
        self.tasks += 1;
        let out = &mut self.lineage;
        write_array_len(out, 8)?;
        for field in [id, name, text(values[FUNCTION]), text(values[KIND]), text(values[STATE]), text(values[PARENT])] {
            write_str(out, field)?;
        }
        match values[ACTOR] {
            Value::Text(actor) => write_str(out, actor)?,
            _ => write_nil(out)?,
        }
        match created {
            Some(ms) => drop(write_sint(out, ms)?),
            None => write_nil(out)?,
        }
        Ok(())
    }
}

fn text<'r>(value: Value<'r>) -> &'r str {
    if let Value::Text(text) = value { text } else { "" }
}

fn block<R: AsRef<[(String, String)]> + ?Sized>(rows: &R) -> Block {
    let rows = rows.as_ref();
    let join = |texts: Vec<&str>| texts.join(BETWEEN_ROWS);
    (rows.len(), join(rows.iter().map(|row| &*row.0).collect()), join(rows.iter().map(|row| &*row.1).collect()))
}

/// The eight bytes by which each id is looked up.
fn keys(ids: &[String]) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(ids.len() * 8);
    for id in ids {
        let digits = if id.starts_with(ONES) { id.get(16..32) } else { id.get(..16) };
        out.extend(u64::from_str_radix(digits.ok_or("a short id")?, 16)?.to_be_bytes());
    }
    Ok(out)
}
