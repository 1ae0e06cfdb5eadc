//! What is left of a task event once it is read: the twin of `workers/task_events/records.py`, msgpack arrays on the way.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A text that borrows where it can, also within an `Option`.
#[derive(Serialize, Deserialize, Default, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl Text<'_> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Text(Cow::Owned(text))
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Text(Cow::Borrowed(text))
    }
}

#[derive(Serialize, Deserialize, Default, Clone)]
pub struct LogInfo<'a> {
    #[serde(borrow)]
    pub stdout_file: Option<Text<'a>>,
    #[serde(borrow)]
    pub stderr_file: Option<Text<'a>>,
    pub stdout_start: Option<i64>,
    pub stdout_end: Option<i64>,
    pub stderr_start: Option<i64>,
    pub stderr_end: Option<i64>,
}

#[derive(Serialize, Deserialize, Default, Clone)]
pub struct ErrorInfo<'a> {
    #[serde(borrow)]
    pub kind: Text<'a>,
    #[serde(borrow)]
    pub message: Text<'a>,
}

#[derive(Serialize, Deserialize, Default)]
pub struct Definition<'a> {
    #[serde(borrow)]
    pub kind: Text<'a>,
    #[serde(borrow)]
    pub name: Text<'a>,
    #[serde(borrow)]
    pub function: Text<'a>,
    #[serde(borrow)]
    pub job_id: Text<'a>,
    #[serde(borrow)]
    pub actor_id: Text<'a>,
    #[serde(borrow)]
    pub parent_task_id: Text<'a>,
    #[serde(borrow)]
    pub placement_group_id: Text<'a>,
    #[serde(borrow)]
    pub language: Text<'a>,
    #[serde(borrow)]
    pub runtime_env: Text<'a>,
    #[serde(borrow)]
    pub call_site: Option<Text<'a>>,
    #[serde(borrow)]
    pub resources: Text<'a>,
    #[serde(borrow)]
    pub label_selector: Text<'a>,
    #[serde(borrow)]
    pub fallback_strategy: Text<'a>,
}

#[derive(Serialize, Deserialize)]
pub struct State<'a>(#[serde(borrow)] pub Text<'a>, pub Option<i64>);

#[derive(Serialize, Deserialize, Default)]
pub struct Lifecycle<'a> {
    #[serde(borrow)]
    pub states: Vec<State<'a>>,
    #[serde(borrow)]
    pub node_id: Text<'a>,
    #[serde(borrow)]
    pub worker_id: Text<'a>,
    pub worker_pid: i64,
    #[serde(borrow)]
    pub error: Option<ErrorInfo<'a>>,
    #[serde(borrow)]
    pub logs: Option<LogInfo<'a>>,
    #[serde(borrow)]
    pub repr_name: Text<'a>,
    pub debugger_paused: Option<bool>,
}

#[derive(Serialize, Deserialize)]
pub struct Span<'a> {
    pub start: i64,
    pub end: i64,
    #[serde(borrow)]
    pub extra: Text<'a>,
    #[serde(borrow)]
    pub name: Text<'a>,
}

#[derive(Serialize, Deserialize, Default)]
pub struct Profile<'a> {
    #[serde(borrow)]
    pub component_type: Text<'a>,
    #[serde(borrow)]
    pub component_id: Text<'a>,
    #[serde(borrow)]
    pub node_ip: Text<'a>,
    #[serde(borrow)]
    pub spans: Vec<Span<'a>>,
}

#[derive(Serialize, Deserialize, Default)]
pub struct TaskRecord<'a> {
    pub ns: i64,
    pub attempt: i64,
    #[serde(borrow)]
    pub definition: Option<Definition<'a>>,
    #[serde(borrow)]
    pub lifecycle: Option<Lifecycle<'a>>,
    #[serde(borrow)]
    pub profile: Option<Profile<'a>>,
}
