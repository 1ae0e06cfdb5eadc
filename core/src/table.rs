//! Rows to blocks and columns: the twin of `workers/task_events/task_range.py`.

use crate::merge::Attempt;
use crate::record::Definition;
use crate::render::{render, Row, COLUMNS, DRIVER};
use std::collections::HashMap;
use rmp::encode::{write_array_len, write_nil, write_sint, write_str};
use std::borrow::Cow;

pub type Error = Box<dyn std::error::Error + Send + Sync>;

const BETWEEN_ROWS: &str = ",\n";

#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Value<'r> {
    None,
    Bool(bool),
    Int(i64),
    Text(Cow<'r, str>),
}

impl Value<'_> {
    fn text(&self) -> &str {
        if let Value::Text(text) = self { text } else { "" }
    }
}

impl<'r> From<&'r str> for Value<'r> {
    fn from(text: &'r str) -> Self {
        Value::Text(Cow::Borrowed(text))
    }
}

/// A dictionary-coded column.
#[derive(Default)]
pub struct Column {
    places: HashMap<Value<'static>, u32>,
    pub values: Vec<Value<'static>>,
    pub codes: Vec<u32>,
}

impl Column {
    fn add<'r>(&mut self, value: Value<'r>) {
        // Most rows have the value of the row before.
        let last = self.codes.last().copied().filter(|code| self.values[*code as usize] == value);
        let known: &HashMap<Value<'r>, u32> = &self.places;
        let code = last.or_else(|| known.get(&value).copied()).unwrap_or_else(|| {
            let code = self.values.len() as u32;
            let owned = match value {
                Value::None => Value::None,
                Value::Bool(value) => Value::Bool(value),
                Value::Int(value) => Value::Int(value),
                Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            };
            self.places.insert(owned.clone(), code);
            self.values.push(owned);
            code
        });
        self.codes.push(code);
    }
}

/// The next rows of a job, JSON with the base columns and with all, joined as they lie in a block; and what its lineage needs of all.
#[derive(Default)]
pub struct Rows {
    pub job: String,
    pub count: usize,
    pub base: String,
    pub whole: String,
    tasks: u32,
    lineage: Vec<u8>,
}

impl Rows {
    /// `LineageTask` in msgpack.
    fn note(&mut self, id: &str, row: &Row) -> Result<(), Error> {
        let [_, name, state, _, actor, kind, function, parent, ..] = &row.values;
        if kind.text() == DRIVER {
            return Ok(());
        }
        self.tasks += 1;
        let out = &mut self.lineage;
        write_array_len(out, 8)?;
        let named = if name.text().is_empty() { function } else { name };
        for text in [id, named.text(), function.text(), kind.text(), state.text(), parent.text()] {
            write_str(out, text)?;
        }
        if let Value::Text(actor) = actor { write_str(out, actor)? } else { write_nil(out)? }
        match row.times[0] {
            Some(ms) => drop(write_sint(out, ms)?),
            None => write_nil(out)?,
        }
        Ok(())
    }

    /// All of them, if there are any.
    pub fn lineage(&self) -> Result<Option<Vec<u8>>, Error> {
        let mut out = Vec::with_capacity(self.lineage.len() + 5);
        write_array_len(&mut out, self.tasks)?;
        out.extend(&self.lineage);
        Ok((self.tasks > 0).then_some(out))
    }
}

/// `Rows` of `block_rows` are handed on as soon as they are there. `times` and `errors` are what `TaskRows` says, three times a row.
pub struct Table<F> {
    pub ids: Vec<String>,
    pub columns: Vec<Column>,
    pub times: Vec<i64>,
    pub errors: Column,
    pub jobs: Vec<Rows>,
    places: HashMap<String, usize>,
    block_rows: usize,
    hand_on: F,
}

impl<F: FnMut(&Rows) -> Result<(), Error>> Table<F> {
    pub fn new(block_rows: usize, hand_on: F) -> Self {
        let columns = COLUMNS.iter().map(|_| Column::default()).collect();
        Table { ids: vec![], columns, times: vec![], errors: Column::default(), jobs: vec![], places: HashMap::new(), block_rows, hand_on }
    }

    pub fn add(&mut self, id: &str, attempt: &Attempt, definition: &Definition, runtime_env: &str) -> Result<(), Error> {
        let at = match self.places.get(&*definition.job_id) {
            Some(at) => *at,
            None => {
                self.places.insert(definition.job_id.to_string(), self.jobs.len());
                self.jobs.push(Rows { job: definition.job_id.to_string(), ..Rows::default() });
                self.jobs.len() - 1
            }
        };
        let rows = &mut self.jobs[at];
        if rows.count > 0 {
            rows.base.push_str(BETWEEN_ROWS);
            rows.whole.push_str(BETWEEN_ROWS);
        }
        let row = render(id, attempt, definition, runtime_env, &mut rows.base, &mut rows.whole);
        rows.count += 1;
        rows.note(id, &row)?;
        for (column, value) in self.columns.iter_mut().zip(row.values) {
            column.add(value);
        }
        self.times.extend(row.times.map(Option::unwrap_or_default));
        self.errors.add(row.error);
        self.ids.push(id.to_string());
        if rows.count == self.block_rows {
            (self.hand_on)(rows)?;
            rows.count = 0;
            rows.base.clear();
            rows.whole.clear();
        }
        Ok(())
    }

    /// Hands on what filled no block.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.jobs.iter().filter(|rows| rows.count > 0).try_for_each(&mut self.hand_on)
    }
}
