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

type OptionalText<'a> = Option<Text<'a>>;

macro_rules! records {
    ($($name:ident { $($field:ident: $kind:ty),* $(,)? })*) => { $(
        #[derive(Serialize, Deserialize, Default)]
        #[serde(bound(deserialize = "'de: 'a"))]
        pub struct $name<'a> { $(pub $field: $kind),* }
    )* };
}

records! {
    LogInfo {
        stdout_file: OptionalText<'a>, stderr_file: OptionalText<'a>,
        stdout_start: Option<i64>, stdout_end: Option<i64>, stderr_start: Option<i64>, stderr_end: Option<i64>,
    }
    ErrorInfo { kind: Text<'a>, message: Text<'a> }
    Definition {
        kind: Text<'a>, name: Text<'a>, function: Text<'a>, job_id: Text<'a>, actor_id: Text<'a>, parent_task_id: Text<'a>,
        placement_group_id: Text<'a>, language: Text<'a>, runtime_env: Text<'a>, call_site: OptionalText<'a>, resources: Text<'a>,
        label_selector: Text<'a>, fallback_strategy: Text<'a>,
    }
    State { name: Text<'a>, ms: Option<i64> }
    Lifecycle {
        states: Vec<State<'a>>, node_id: Text<'a>, worker_id: Text<'a>, worker_pid: i64, error: Option<ErrorInfo<'a>>,
        logs: Option<LogInfo<'a>>, repr_name: Text<'a>, debugger_paused: Option<bool>,
    }
    Span { start: i64, end: i64, extra: Text<'a>, name: Text<'a> }
    Profile { component_type: Text<'a>, component_id: Text<'a>, node_ip: Text<'a>, spans: Vec<Span<'a>> }
    TaskRecord {
        ns: i64, attempt: i64, definition: Option<Definition<'a>>, lifecycle: Option<Lifecycle<'a>>, profile: Option<Profile<'a>>,
    }
}
