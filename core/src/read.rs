//! Lines to records: the twin of `workers/task_events/read.py` for what collectors usually write.
//! `None`: the line is unusual in some way, and the Python reference reads it.

use crate::json::{instant, message, Object, Text};
use crate::record::{Definition, Lifecycle, Profile, TaskRecord};
use serde::Deserialize;

const TASK_ID_LENGTH: usize = 48;
const DEEPEST: usize = 100;
const TASK_EVENTS: [&str; 4] = ["TASK_LIFECYCLE_EVENT", "TASK_PROFILE_EVENT", "TASK_DEFINITION_EVENT", "ACTOR_TASK_DEFINITION_EVENT"];

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default, bound(deserialize = "'de: 'a"))]
struct Event<'a> {
    event_type: Text<'a>,
    #[serde(deserialize_with = "instant")]
    timestamp: Option<i64>,
    #[serde(deserialize_with = "message")]
    task_lifecycle_event: Option<Box<Lifecycle<'a>>>,
    #[serde(deserialize_with = "message")]
    task_profile_events: Option<ProfileEvents<'a>>,
    #[serde(deserialize_with = "message")]
    task_definition_event: Option<Box<Definition<'a>>>,
    #[serde(deserialize_with = "message")]
    actor_task_definition_event: Option<Box<Definition<'a>>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default, bound(deserialize = "'de: 'a"))]
struct ProfileEvents<'a> {
    #[serde(deserialize_with = "crate::json::id")]
    task_id: Text<'a>,
    #[serde(deserialize_with = "crate::json::int")]
    attempt_number: i64,
    #[serde(deserialize_with = "message")]
    profile_events: Option<Box<Profile<'a>>>,
}

/// The task's id in hex, and the record.
pub fn read_line(line: &[u8]) -> Option<(Text<'_>, TaskRecord<'_>)> {
    if opening(line) > DEEPEST {
        return None;
    }
    let Object(event) = serde_json::from_str::<Object<Event>>(std::str::from_utf8(line).ok()?).ok()?;
    if !TASK_EVENTS.contains(&&*event.event_type) {
        return None;
    }
    let mut record = TaskRecord { ns: event.timestamp.unwrap_or(0), ..TaskRecord::default() };
    let definitions = (event.task_definition_event, event.actor_task_definition_event);
    let (task_id, attempt) = match (event.task_lifecycle_event, event.task_profile_events, definitions) {
        (Some(lifecycle), None, (None, None)) => live(lifecycle, &mut record),
        (None, Some(mut profile), (None, None)) => {
            for span in profile.profile_events.iter_mut().flat_map(|spans| &mut spans.spans) {
                default(&mut span.extra, "{}");
            }
            record.profile = profile.profile_events;
            (profile.task_id, profile.attempt_number)
        }
        (None, None, (Some(definition), None)) => define(definition, "NORMAL_TASK", &mut record),
        (None, None, (None, Some(definition))) => define(definition, "ACTOR_TASK", &mut record),
        _ => return None,
    };
    record.attempt = attempt;
    (task_id.len() == TASK_ID_LENGTH).then_some((task_id, record))
}

/// How many braces and brackets open in it. Sums of bytes, which can't overflow, the compiler makes of many bytes at once.
fn opening(line: &[u8]) -> usize {
    let opens = |byte: &u8| u8::from(*byte == b'{' || *byte == b'[');
    line.chunks(128).map(|some| some.iter().map(opens).sum::<u8>() as usize).sum()
}

/// As read, a state's time is in ns. Where there is none, it is the event's.
fn live<'a>(mut lifecycle: Box<Lifecycle<'a>>, record: &mut TaskRecord<'a>) -> (Text<'a>, i64) {
    for state in &mut lifecycle.states {
        let ns = state.ms.filter(|ns| *ns != 0).unwrap_or(record.ns);
        state.ms = (ns != 0).then_some(ns / 1_000_000);
        default(&mut state.name, "NIL");
    }
    if let Some(error) = &mut lifecycle.error {
        default(&mut error.kind, "WORKER_DIED");
    }
    let of = (std::mem::take(&mut lifecycle.task_id), lifecycle.task_attempt);
    record.lifecycle = Some(lifecycle);
    of
}

fn define<'a>(mut definition: Box<Definition<'a>>, kind: &'static str, record: &mut TaskRecord<'a>) -> (Text<'a>, i64) {
    default(&mut definition.kind, kind);
    default(&mut definition.language, "PYTHON");
    default(&mut definition.resources, "{}");
    default(&mut definition.label_selector, "{}");
    let of = (std::mem::take(&mut definition.task_id), definition.task_attempt);
    record.definition = Some(definition);
    of
}

fn default(text: &mut Text, default: &'static str) {
    if text.is_empty() {
        *text = default.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(part: &str) -> String {
        format!(r#"{{"eventType":"TASK_LIFECYCLE_EVENT","taskLifecycleEvent":{{"taskId":"2MGtFYYQKJf///////////////8EAAAA"{part}}}}}"#)
    }

    #[test]
    fn times_are_instants() {
        let at = |time: &str| {
            let line = line(&format!(r#","stateTransitions":[{{"state":"RUNNING","timestamp":"{time}"}}]"#));
            read_line(line.as_bytes()).map(|(_, record)| record.lifecycle.unwrap().states[0].ms)
        };
        assert_eq!(at("1970-01-01T00:00:00Z"), Some(None));
        assert_eq!(at("2026-11-23T19:00:00.9Z"), Some(Some(1_795_460_400_900)));
        assert_eq!(at("2024-02-29T23:59:59.001000001Z"), Some(Some(1_709_251_199_001)));
        for odd in ["2023-02-29T00:00:00Z", "2026-11-23T19:00:60Z", "2026-11-23 19:00:00Z", "2026-11-23T19:00:00.Z", "9999-01-01T00:00:00Z", "é", "Z"] {
            assert_eq!(at(odd), None, "{odd}");
        }
    }

    #[test]
    fn ids_are_hex() {
        let of = |id: &str| {
            let line = line(&format!(r#","nodeId":"{id}""#));
            read_line(line.as_bytes()).map(|(_, record)| record.lifecycle.unwrap().node_id.to_string())
        };
        assert_eq!(of("BAAAAA=="), Some("04000000".into()));
        assert_eq!(of(""), Some(String::new()));
        for odd in ["04000000", "BAAAAA=", "BAAA*A==", "BA=AAA==", "===="] {
            assert_eq!(of(odd), None, "{odd}");
        }
    }

    #[test]
    fn unusual_lines_are_left_to_the_reference() {
        assert!(read_line(line("").as_bytes()).is_some());
        for odd in [r#","workerPid":1.5"#, r#","taskAttempt":18446744073709551616"#, r#","nodeId":"!""#, r#","workerId":7"#, r#","stateTransitions":[{"state":3}]"#, ","] {
            assert!(read_line(line(odd).as_bytes()).is_none(), "{odd}");
        }
        assert!(read_line(b"{}").is_none());
        assert!(read_line(&b"[".repeat(5000)).is_none());
        assert!(read_line(b"\xff").is_none());
    }
}
