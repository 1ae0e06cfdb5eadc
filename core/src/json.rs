//! JSON as collectors write it. Every unusual value is an error here: such a line is left to the Python reference.

use crate::record::Text;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// An integer, or a 64-bit one as text.
#[derive(Clone, Copy)]
pub struct Int(pub i64);

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = Int;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an integer")
            }
            fn visit_i64<E>(self, value: i64) -> Result<Int, E> {
                Ok(Int(value))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Int, E> {
                i64::try_from(value).map(Int).map_err(E::custom)
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Int, E> {
                let digits = value.strip_prefix('-').unwrap_or(value);
                if digits.is_empty() || digits.len() > 19 || !digits.bytes().all(|c| c.is_ascii_digit()) {
                    return Err(E::custom("no integer"));
                }
                value.parse().map(Int).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// A map of texts to values of one kind, as JSON text again.
pub struct JsonMap<T>(pub String, std::marker::PhantomData<T>);

pub trait MapValue<'de>: Deserialize<'de> {
    fn write(&self, out: &mut String);
}

impl<'de> MapValue<'de> for f64 {
    fn write(&self, out: &mut String) {
        float(out, *self);
    }
}

impl<'de: 'a, 'a> MapValue<'de> for Text<'a> {
    fn write(&self, out: &mut String) {
        quote(out, &self.0);
    }
}

impl<'de, T: MapValue<'de>> Deserialize<'de> for JsonMap<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V<T>(std::marker::PhantomData<T>);
        impl<'de, T: MapValue<'de>> Visitor<'de> for V<T> {
            type Value = JsonMap<T>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonMap<T>, A::Error> {
                let mut out = String::from("{");
                let mut keys: Vec<Text> = Vec::new();
                while let Some(key) = map.next_key::<Text>()? {
                    if keys.contains(&key) {
                        return Err(A::Error::custom("a key twice"));
                    }
                    if !keys.is_empty() {
                        out.push(',');
                    }
                    quote(&mut out, &key.0);
                    out.push(':');
                    map.next_value::<T>()?.write(&mut out);
                    keys.push(key);
                }
                out.push('}');
                Ok(JsonMap(out, std::marker::PhantomData))
            }
        }
        deserializer.deserialize_map(V(std::marker::PhantomData))
    }
}

type Fields<'a> = Option<Text<'a>>;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Call<'a> {
    #[serde(borrow)]
    pub function_name: Fields<'a>,
    #[serde(borrow)]
    pub class_name: Fields<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Function<'a> {
    #[serde(borrow)]
    pub python_function_descriptor: Option<Call<'a>>,
    #[serde(borrow)]
    pub java_function_descriptor: Option<Call<'a>>,
    #[serde(borrow)]
    pub cpp_function_descriptor: Option<Call<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Definition<'a> {
    #[serde(borrow)]
    pub task_id: Fields<'a>,
    pub task_attempt: Option<Int>,
    #[serde(borrow)]
    pub job_id: Fields<'a>,
    #[serde(borrow)]
    pub task_type: Fields<'a>,
    #[serde(borrow)]
    pub task_name: Fields<'a>,
    #[serde(borrow)]
    pub actor_task_name: Fields<'a>,
    #[serde(borrow)]
    pub actor_id: Fields<'a>,
    #[serde(borrow)]
    pub task_func: Option<Function<'a>>,
    #[serde(borrow)]
    pub actor_func: Option<Function<'a>>,
    #[serde(borrow)]
    pub language: Fields<'a>,
    #[serde(borrow)]
    pub parent_task_id: Fields<'a>,
    #[serde(borrow)]
    pub placement_group_id: Fields<'a>,
    #[serde(borrow)]
    pub serialized_runtime_env: Fields<'a>,
    pub required_resources: Option<JsonMap<f64>>,
    #[serde(borrow)]
    pub label_selector: Option<JsonMap<Text<'a>>>,
    pub fallback_strategy: Option<IgnoredAny>,
    #[serde(borrow)]
    pub call_site: Fields<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Transition<'a> {
    #[serde(borrow)]
    pub state: Fields<'a>,
    #[serde(borrow)]
    pub timestamp: Fields<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorInfo<'a> {
    #[serde(borrow)]
    pub error_type: Fields<'a>,
    #[serde(borrow)]
    pub error_message: Fields<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct LogInfo<'a> {
    #[serde(borrow)]
    pub stdout_file: Fields<'a>,
    #[serde(borrow)]
    pub stderr_file: Fields<'a>,
    pub stdout_start: Option<Int>,
    pub stdout_end: Option<Int>,
    pub stderr_start: Option<Int>,
    pub stderr_end: Option<Int>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Lifecycle<'a> {
    #[serde(borrow)]
    pub task_id: Fields<'a>,
    pub task_attempt: Option<Int>,
    #[serde(borrow)]
    pub state_transitions: Option<Vec<Transition<'a>>>,
    #[serde(borrow)]
    pub node_id: Fields<'a>,
    #[serde(borrow)]
    pub worker_id: Fields<'a>,
    pub worker_pid: Option<Int>,
    #[serde(borrow)]
    pub ray_error_info: Option<ErrorInfo<'a>>,
    #[serde(borrow)]
    pub task_log_info: Option<LogInfo<'a>>,
    #[serde(borrow)]
    pub actor_repr_name: Fields<'a>,
    pub is_debugger_paused: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Span<'a> {
    #[serde(borrow)]
    pub event_name: Fields<'a>,
    pub start_time: Option<Int>,
    pub end_time: Option<Int>,
    #[serde(borrow)]
    pub extra_data: Fields<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Spans<'a> {
    #[serde(borrow)]
    pub component_id: Fields<'a>,
    #[serde(borrow)]
    pub component_type: Fields<'a>,
    #[serde(borrow)]
    pub node_ip_address: Fields<'a>,
    #[serde(borrow)]
    pub events: Option<Vec<Span<'a>>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Profile<'a> {
    #[serde(borrow)]
    pub task_id: Fields<'a>,
    pub attempt_number: Option<Int>,
    #[serde(borrow)]
    pub profile_events: Option<Spans<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Event<'a> {
    #[serde(borrow)]
    pub event_type: Fields<'a>,
    #[serde(borrow)]
    pub timestamp: Fields<'a>,
    #[serde(borrow)]
    pub task_lifecycle_event: Option<Lifecycle<'a>>,
    #[serde(borrow)]
    pub task_profile_events: Option<Profile<'a>>,
    #[serde(borrow)]
    pub task_definition_event: Option<Definition<'a>>,
    #[serde(borrow)]
    pub actor_task_definition_event: Option<Definition<'a>>,
}

/// As Python's `encode_basestring` and msgspec write it.
pub fn quote(out: &mut String, text: &str) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[from..at]);
        from = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            8 => out.push_str("\\b"),
            12 => out.push_str("\\f"),
            _ => out.push_str(&format!("\\u{byte:04x}")),
        }
    }
    out.push_str(&text[from..]);
    out.push('"');
}

/// As msgspec writes it.
pub fn float(out: &mut String, value: f64) {
    out.push_str(ryu::Buffer::new().format(value));
}
