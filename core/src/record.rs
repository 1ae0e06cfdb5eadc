//! What is left of a task event once it is read: the twin of `workers/task_events/records.py`, as msgpack arrays on the way.
//! The same types are read from the events' JSON, as `json.rs` says.

use crate::json::{absent, extra, function, id, instant, int, json_map, message, messages, name, optional_int, Number, Text};
use serde::{Deserialize, Serialize};

macro_rules! records {
    ($($name:ident { $($(#[$given:meta])* $field:ident: $kind:ty),* $(,)? })*) => { $(
        #[derive(Serialize, Deserialize, Default)]
        #[serde(rename_all(deserialize = "camelCase"), default, bound(deserialize = "'de: 'a"))]
        pub struct $name<'a> { $($(#[$given])* pub $field: $kind),* }
    )* };
}

// `task_id` and `task_attempt` stand in an event's part, and in its record beside it.
records! {
    LogInfo {
        stdout_file: Option<Text<'a>>,
        stderr_file: Option<Text<'a>>,
        #[serde(deserialize_with = "optional_int")] stdout_start: Option<i64>,
        #[serde(deserialize_with = "optional_int")] stdout_end: Option<i64>,
        #[serde(deserialize_with = "optional_int")] stderr_start: Option<i64>,
        #[serde(deserialize_with = "optional_int")] stderr_end: Option<i64>,
    }
    ErrorInfo {
        #[serde(rename = "errorType", deserialize_with = "name")] kind: Text<'a>,
        #[serde(rename = "errorMessage")] message: Text<'a>,
    }
    Definition {
        #[serde(rename = "taskType", deserialize_with = "name")] kind: Text<'a>,
        #[serde(rename = "taskName", alias = "actorTaskName")] name: Text<'a>,
        #[serde(rename = "taskFunc", alias = "actorFunc", deserialize_with = "function")] function: Text<'a>,
        #[serde(deserialize_with = "id")] job_id: Text<'a>,
        #[serde(deserialize_with = "id")] actor_id: Text<'a>,
        #[serde(deserialize_with = "id")] parent_task_id: Text<'a>,
        #[serde(deserialize_with = "id")] placement_group_id: Text<'a>,
        #[serde(deserialize_with = "name")] language: Text<'a>,
        #[serde(rename = "serializedRuntimeEnv")] runtime_env: Text<'a>,
        call_site: Option<Text<'a>>,
        #[serde(rename = "requiredResources", deserialize_with = "json_map::<Number, _>")] resources: Text<'a>,
        #[serde(deserialize_with = "json_map::<Text, _>")] label_selector: Text<'a>,
        #[serde(deserialize_with = "absent")] fallback_strategy: Text<'a>,
        #[serde(skip_serializing, deserialize_with = "id")] task_id: Text<'a>,
        #[serde(skip_serializing, deserialize_with = "int")] task_attempt: i64,
    }
    State {
        #[serde(rename = "state", deserialize_with = "name")] name: Text<'a>,
        #[serde(rename = "timestamp", deserialize_with = "instant")] ms: Option<i64>,
    }
    Lifecycle {
        #[serde(rename = "stateTransitions", deserialize_with = "messages")] states: Vec<State<'a>>,
        #[serde(deserialize_with = "id")] node_id: Text<'a>,
        #[serde(deserialize_with = "id")] worker_id: Text<'a>,
        #[serde(deserialize_with = "int")] worker_pid: i64,
        #[serde(rename = "rayErrorInfo", deserialize_with = "message")] error: Option<ErrorInfo<'a>>,
        #[serde(rename = "taskLogInfo", deserialize_with = "message")] logs: Option<LogInfo<'a>>,
        #[serde(rename = "actorReprName")] repr_name: Text<'a>,
        #[serde(rename = "isDebuggerPaused")] debugger_paused: Option<bool>,
        #[serde(skip_serializing, deserialize_with = "id")] task_id: Text<'a>,
        #[serde(skip_serializing, deserialize_with = "int")] task_attempt: i64,
    }
    Span {
        #[serde(rename = "startTime", deserialize_with = "int")] start: i64,
        #[serde(rename = "endTime", deserialize_with = "int")] end: i64,
        #[serde(rename = "extraData", deserialize_with = "extra")] extra: Text<'a>,
        #[serde(rename = "eventName")] name: Text<'a>,
    }
    Profile {
        component_type: Text<'a>,
        #[serde(deserialize_with = "id")] component_id: Text<'a>,
        #[serde(rename = "nodeIpAddress")] node_ip: Text<'a>,
        #[serde(rename = "events", deserialize_with = "messages")] spans: Vec<Span<'a>>,
    }
    TaskRecord {
        ns: i64,
        attempt: i64,
        definition: Option<Box<Definition<'a>>>,
        lifecycle: Option<Box<Lifecycle<'a>>>,
        profile: Option<Box<Profile<'a>>>,
    }
}
