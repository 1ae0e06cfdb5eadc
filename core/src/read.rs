//! Lines to records: the twin of `workers/task_events/read.py` for what collectors usually write.
//! `None`: the line is unusual in some way, and the Python reference reads it.

use crate::json;
use crate::record::{Definition, ErrorInfo, Lifecycle, LogInfo, Profile, Span, State, TaskRecord, Text};
use std::borrow::Cow;

const TASK_ID_LENGTH: usize = 48;
const DEEPEST: usize = 100;

/// The task's id in hex, and the record.
pub fn read_line(line: &[u8]) -> Option<(String, TaskRecord<'_>)> {
    if line.iter().filter(|byte| **byte == b'{' || **byte == b'[').count() > DEEPEST {
        return None;
    }
    let json::Object(event) = serde_json::from_str::<json::Object<json::Event>>(std::str::from_utf8(line).ok()?).ok()?;
    let kind = event.event_type?;
    if !matches!(&*kind.0, "TASK_LIFECYCLE_EVENT" | "TASK_PROFILE_EVENT" | "TASK_DEFINITION_EVENT" | "ACTOR_TASK_DEFINITION_EVENT") {
        return None;
    }
    let ns = time(&event.timestamp)?;
    let parts = (event.task_lifecycle_event, event.task_profile_events, event.task_definition_event, event.actor_task_definition_event);
    let mut record = TaskRecord { ns, ..TaskRecord::default() };
    let (task_id, attempt) = match parts {
        (Some(json::Object(part)), None, None, None) => {
            let of = (id(&part.task_id)?, int(part.task_attempt));
            record.lifecycle = Some(lifecycle(part, ns)?);
            of
        }
        (None, Some(json::Object(part)), None, None) => {
            let of = (id(&part.task_id)?, int(part.attempt_number));
            record.profile = match part.profile_events {
                Some(json::Object(spans)) => Some(profile(spans)?),
                None => None,
            };
            of
        }
        (None, None, Some(json::Object(part)), None) => definition(part, "NORMAL_TASK", &mut record)?,
        (None, None, None, Some(json::Object(part))) => definition(part, "ACTOR_TASK", &mut record)?,
        _ => return None,
    };
    record.attempt = attempt;
    (task_id.0.len() == TASK_ID_LENGTH).then(|| (task_id.0.into_owned(), record))
}

fn definition<'a>(part: json::Definition<'a>, kind: &'static str, record: &mut TaskRecord<'a>) -> Option<(Text<'a>, i64)> {
    if part.fallback_strategy.is_some() {
        return None;
    }
    let function = match (&part.task_func, &part.actor_func) {
        (Some(json::Object(function)), None) | (None, Some(json::Object(function))) => call_name(function),
        (None, None) => Text::default(),
        _ => return None,
    };
    let name = part.task_name.filter(|name| !name.is_empty()).or(part.actor_task_name).unwrap_or_default();
    record.definition = Some(Definition {
        kind: part.task_type.unwrap_or(Text::from(kind)),
        name,
        function,
        job_id: id(&part.job_id)?,
        actor_id: id(&part.actor_id)?,
        parent_task_id: id(&part.parent_task_id)?,
        placement_group_id: id(&part.placement_group_id)?,
        language: part.language.unwrap_or(Text::from("PYTHON")),
        runtime_env: part.serialized_runtime_env.unwrap_or_default(),
        call_site: part.call_site,
        resources: part.required_resources.map_or(Text::from("{}"), |map| Text::from(map.0)),
        label_selector: part.label_selector.map_or(Text::from("{}"), |map| Text::from(map.0)),
        fallback_strategy: Text::default(),
    });
    Some((id(&part.task_id)?, int(part.task_attempt)))
}

fn call_name(function: &json::Function) -> Text<'static> {
    let text = |text: &Option<Text>| text.as_ref().map_or(String::new(), |text| text.0.to_string());
    if let Some(json::Object(python)) = &function.python_function_descriptor {
        let (class, name) = (text(&python.class_name), text(&python.function_name));
        let name = last_part(&name);
        return Text::from(if class.is_empty() { name.to_string() } else { format!("{}.{name}", last_part(&class)) });
    }
    if let Some(json::Object(java)) = &function.java_function_descriptor {
        let (class, name) = (text(&java.class_name), text(&java.function_name));
        return Text::from(if class.is_empty() { name } else { format!("{class}.{name}") });
    }
    Text::from(function.cpp_function_descriptor.as_ref().map_or(String::new(), |cpp| text(&cpp.0.function_name)))
}

pub fn last_part(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}

fn lifecycle(part: json::Lifecycle<'_>, event_ns: i64) -> Option<Lifecycle<'_>> {
    let mut states = Vec::new();
    for json::Object(step) in part.state_transitions.unwrap_or_default() {
        let ns = match time(&step.timestamp)? {
            0 => event_ns,
            ns => ns,
        };
        states.push(State { name: step.state.unwrap_or(Text::from("NIL")), ms: (ns != 0).then_some(ns / 1_000_000) });
    }
    Some(Lifecycle {
        states,
        node_id: id(&part.node_id)?,
        worker_id: id(&part.worker_id)?,
        worker_pid: int(part.worker_pid),
        error: part.ray_error_info.map(|json::Object(error)| ErrorInfo {
            kind: error.error_type.unwrap_or(Text::from("WORKER_DIED")),
            message: error.error_message.unwrap_or_default(),
        }),
        logs: part.task_log_info.map(|json::Object(logs)| LogInfo {
            stdout_file: logs.stdout_file,
            stderr_file: logs.stderr_file,
            stdout_start: logs.stdout_start.map(|int| int.0),
            stdout_end: logs.stdout_end.map(|int| int.0),
            stderr_start: logs.stderr_start.map(|int| int.0),
            stderr_end: logs.stderr_end.map(|int| int.0),
        }),
        repr_name: part.actor_repr_name.unwrap_or_default(),
        debugger_paused: part.is_debugger_paused,
    })
}

fn profile(part: json::Spans<'_>) -> Option<Profile<'_>> {
    let mut spans = Vec::new();
    for json::Object(span) in part.events.unwrap_or_default() {
        spans.push(Span {
            start: int(span.start_time),
            end: int(span.end_time),
            extra: extra(span.extra_data.unwrap_or_default())?,
            name: span.event_name.unwrap_or_default(),
        });
    }
    Some(Profile {
        component_type: part.component_type.unwrap_or_default(),
        component_id: id(&part.component_id)?,
        node_ip: part.node_ip_address.unwrap_or_default(),
        spans,
    })
}

/// JSON in a string. Only plain objects: what else there is, is for the reference.
fn extra(text: Text<'_>) -> Option<Text<'_>> {
    if text.is_empty() || text.0 == "{}" {
        return Some(Text::from("{}"));
    }
    if !text.0.starts_with('{') || text.0.contains(['\n', '\r']) || text.0.len() > 1 << 16 {
        return None;
    }
    serde_json::from_str::<serde_json::Value>(&text.0).ok()?;
    Some(text)
}

fn int(value: Option<json::Int>) -> i64 {
    value.map_or(0, |int| int.0)
}

/// Padded standard base64 to lower-case hex. Text that could be hex already is for the reference.
fn id(text: &Option<Text>) -> Option<Text<'static>> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let Some(text) = text else { return Some(Text::default()) };
    let bytes = text.0.as_bytes();
    if bytes.len() % 4 != 0 || (!bytes.is_empty() && bytes.iter().all(u8::is_ascii_hexdigit)) {
        return None;
    }
    let padding = bytes.iter().rev().take_while(|byte| **byte == b'=').count();
    if padding > 2 {
        return None;
    }
    let mut out = String::with_capacity(bytes.len() * 3 / 2);
    let (mut bits, mut held) = (0u32, 0);
    for byte in &bytes[..bytes.len() - padding] {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            let whole = (bits >> held) as usize;
            out.push(HEX[(whole >> 4) & 15] as char);
            out.push(HEX[whole & 15] as char);
        }
    }
    Some(Text(Cow::Owned(out)))
}

/// RFC 3339 in UTC to ns since the epoch; 0 for none.
fn time(text: &Option<Text>) -> Option<i64> {
    let Some(text) = text else { return Some(0) };
    if text.is_empty() {
        return Some(0);
    }
    let bytes = text.0.as_bytes();
    let (&zone, bytes) = bytes.split_last()?;
    if zone != b'Z' || bytes.len() < 19 || bytes.len() == 20 || bytes.len() > 29 {
        return None;
    }
    let number = |from: usize, to: usize| {
        bytes[from..to].iter().try_fold(0i64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    };
    if [bytes[4], bytes[7], bytes[10], bytes[13], bytes[16]] != *b"--T::" || bytes.len() > 19 && bytes[19] != b'.' {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1970..=2261).contains(&year) || !(1..=longest).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since the epoch, counted in years that begin in March (Howard Hinnant's `days_from_civil`).
    let (shifted, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + (153 * month + 2) / 5 + day - 719_469;
    let mut ns = if bytes.len() > 20 { number(20, bytes.len())? } else { 0 };
    for _ in bytes.len().max(20)..29 {
        ns *= 10;
    }
    Some((days * 86_400 + hour * 3600 + minute * 60 + second) * 1_000_000_000 + ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_instants() {
        let at = |text: &'static str| time(&Some(Text::from(text)));
        assert_eq!(at("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(at("2026-11-23T19:00:00.9Z"), Some(1_795_460_400_900_000_000));
        assert_eq!(at("2024-02-29T23:59:59.000000001Z"), Some(1_709_251_199_000_000_001));
        for odd in ["2023-02-29T00:00:00Z", "2026-11-23T19:00:60Z", "2026-11-23 19:00:00Z", "2026-11-23T19:00:00.Z", "9999-01-01T00:00:00Z", "é", "Z"] {
            assert_eq!(at(odd), None, "{odd}");
        }
    }

    #[test]
    fn ids_are_hex() {
        let of = |text: &'static str| id(&Some(Text::from(text))).map(|id| id.0.into_owned());
        assert_eq!(of("BAAAAA=="), Some("04000000".into()));
        assert_eq!(of(""), Some(String::new()));
        for odd in ["04000000", "BAAAAA=", "BAAA*A==", "BA=AAA==", "===="] {
            assert_eq!(of(odd), None, "{odd}");
        }
    }

    #[test]
    fn unusual_lines_are_left_to_the_reference() {
        let line = |part: &str| format!(r#"{{"eventType":"TASK_LIFECYCLE_EVENT","taskLifecycleEvent":{{"taskId":"2MGtFYYQKJf///////////////8EAAAA"{part}}}}}"#);
        assert!(read_line(line("").as_bytes()).is_some());
        for odd in [r#","workerPid":1.5"#, r#","taskAttempt":18446744073709551616"#, r#","nodeId":"!""#, r#","workerId":7"#, r#","stateTransitions":[{"state":3}]"#, ","] {
            assert!(read_line(line(odd).as_bytes()).is_none(), "{odd}");
        }
        assert!(read_line(b"{}").is_none());
        assert!(read_line(&b"[".repeat(5000)).is_none());
        assert!(read_line(b"\xff").is_none());
    }
}
