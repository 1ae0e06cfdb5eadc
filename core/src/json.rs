//! JSON as collectors write it. Every unusual value is an error here: such a line is left to the Python reference.

use crate::record::Text;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

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
pub struct JsonMap<T>(pub String, PhantomData<T>);

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
        struct V<T>(PhantomData<T>);
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
                Ok(JsonMap(out, PhantomData))
            }
        }
        deserializer.deserialize_map(V(PhantomData))
    }
}

/// A message. Serde would take an array for one, field by field.
#[derive(Default)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(V(PhantomData))
    }
}

type Str<'a> = Option<Text<'a>>;
type Message<T> = Option<Object<T>>;
type Messages<T> = Option<Vec<Object<T>>>;

macro_rules! messages {
    ($($name:ident { $($field:ident: $kind:ty),* $(,)? })*) => { $(
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "camelCase", default, bound(deserialize = "'de: 'a"))]
        pub struct $name<'a> { $(pub $field: $kind),* }
    )* };
}

messages! {
    Call { function_name: Str<'a>, class_name: Str<'a> }
    Function {
        python_function_descriptor: Message<Call<'a>>, java_function_descriptor: Message<Call<'a>>, cpp_function_descriptor: Message<Call<'a>>,
    }
    Definition {
        task_id: Str<'a>, task_attempt: Option<Int>, job_id: Str<'a>, task_type: Str<'a>, task_name: Str<'a>, actor_task_name: Str<'a>,
        actor_id: Str<'a>, task_func: Message<Function<'a>>, actor_func: Message<Function<'a>>, language: Str<'a>, parent_task_id: Str<'a>,
        placement_group_id: Str<'a>, serialized_runtime_env: Str<'a>, required_resources: Option<JsonMap<f64>>,
        label_selector: Option<JsonMap<Text<'a>>>, fallback_strategy: Option<IgnoredAny>, call_site: Str<'a>,
    }
    Transition { state: Str<'a>, timestamp: Str<'a> }
    ErrorInfo { error_type: Str<'a>, error_message: Str<'a> }
    LogInfo {
        stdout_file: Str<'a>, stderr_file: Str<'a>,
        stdout_start: Option<Int>, stdout_end: Option<Int>, stderr_start: Option<Int>, stderr_end: Option<Int>,
    }
    Lifecycle {
        task_id: Str<'a>, task_attempt: Option<Int>, state_transitions: Messages<Transition<'a>>, node_id: Str<'a>, worker_id: Str<'a>,
        worker_pid: Option<Int>, ray_error_info: Message<ErrorInfo<'a>>, task_log_info: Message<LogInfo<'a>>, actor_repr_name: Str<'a>,
        is_debugger_paused: Option<bool>,
    }
    Span { event_name: Str<'a>, start_time: Option<Int>, end_time: Option<Int>, extra_data: Str<'a> }
    Spans { component_id: Str<'a>, component_type: Str<'a>, node_ip_address: Str<'a>, events: Messages<Span<'a>> }
    Profile { task_id: Str<'a>, attempt_number: Option<Int>, profile_events: Message<Spans<'a>> }
    Event {
        event_type: Str<'a>, timestamp: Str<'a>, task_lifecycle_event: Message<Lifecycle<'a>>, task_profile_events: Message<Profile<'a>>,
        task_definition_event: Message<Definition<'a>>, actor_task_definition_event: Message<Definition<'a>>,
    }
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
