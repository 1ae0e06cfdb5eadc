//! JSON as collectors write it, read into the fields of records. Every unusual value is an error here: such a line is left to the Python
//! reference. From msgpack, which is not human readable, fields are read as they were written.

use data_encoding::{BASE64, HEXLOWER};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::fmt::{Formatter, Result as Formatted};
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::UNIX_EPOCH;

const LONGEST_EXTRA: usize = 1 << 16;

/// A text that borrows where it can.
#[derive(Serialize, Default, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(transparent)]
pub struct Text<'a>(pub Cow<'a, str>);
/// An integer, or a 64-bit one as text.
struct Int(i64);
pub struct Number(f64);

impl Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'a, T: Into<Cow<'a, str>>> From<T> for Text<'a> {
    fn from(text: T) -> Self {
        Text(text.into())
    }
}

/// Of a scalar: what it is made of, beside null, which is its default.
macro_rules! scalar {
    ($kind:ty, $null:expr, $($visit:ident: $given:ty => $made:expr),*) => {
        impl<'de: 'a, 'a> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct V<'a>(PhantomData<&'a ()>);
                impl<'de: 'a, 'a> Visitor<'de> for V<'a> {
                    type Value = $kind;
                    fn expecting(&self, f: &mut Formatter) -> Formatted {
                        f.write_str(stringify!($kind))
                    }
                    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                        $null.ok_or_else(|| E::custom("null"))
                    }
                    $(fn $visit<E: Error>(self, value: $given) -> Result<Self::Value, E> {
                        let made: fn($given) -> Option<$kind> = $made;
                        made(value).ok_or_else(|| E::custom(stringify!($kind)))
                    })*
                }
                deserializer.deserialize_any(V(PhantomData))
            }
        }
    };
}

scalar!(Text<'a>, Some(Text::default()), visit_borrowed_str: &'de str => |text| Some(text.into()),
    visit_str: &str => |text| Some(text.to_string().into()));
scalar!(Int, Some(Int(0)), visit_i64: i64 => |value| Some(Int(value)), visit_u64: u64 => |value| value.try_into().ok().map(Int),
    visit_str: &str => |text| whole_number(text).map(Int));
scalar!(Number, None, visit_f64: f64 => |value| Some(Number(value)), visit_i64: i64 => |value| Some(Number(value as f64)),
    visit_u64: u64 => |value| i64::try_from(value).ok().map(|value| Number(value as f64)));

fn whole_number(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    (digits.len() <= 19 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

pub fn int<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Int::deserialize(deserializer).map(|int| int.0)
}

pub fn optional_int<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Option::<Int>::deserialize(deserializer).map(|int| int.map(|int| int.0))
}

/// A text that JSON writes in another way.
fn read<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D, made: fn(Text<'a>) -> Option<Text<'a>>) -> Result<Text<'a>, D::Error> {
    let is_json = deserializer.is_human_readable();
    let text = Text::deserialize(deserializer)?;
    if is_json { made(text).ok_or_else(|| D::Error::custom("unusual text")) } else { Ok(text) }
}

/// Padded standard base64 to lower-case hex. Text that could be hex already is for the reference.
pub fn id<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Text<'a>, D::Error> {
    read(deserializer, |text| match &*text {
        "" => Some(text),
        text if text.bytes().all(|byte| byte.is_ascii_hexdigit()) => None,
        text => BASE64.decode(text.as_bytes()).ok().map(|bytes| HEXLOWER.encode(&bytes).into()),
    })
}

/// The name of an enum's value. Where there is none, `read.rs` knows the default.
pub fn name<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Text<'a>, D::Error> {
    read(deserializer, |text| (!text.is_empty()).then_some(text))
}

/// JSON in a string. Only plain objects: what else there is, is for the reference.
pub fn extra<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Text<'a>, D::Error> {
    read(deserializer, |text| match &*text {
        "" | "{}" => Some("{}".into()),
        json if !json.starts_with('{') || json.contains(['\n', '\r']) || json.len() > LONGEST_EXTRA => None,
        json => serde_json::from_str::<serde_json::Value>(json).is_ok().then_some(text),
    })
}

/// What records hold and usual events do not.
pub fn absent<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Text<'a>, D::Error> {
    if !deserializer.is_human_readable() {
        return Text::deserialize(deserializer);
    }
    Option::<IgnoredAny>::deserialize(deserializer)?.map_or(Ok(Text::default()), |_| Err(D::Error::custom("unusual field")))
}

/// RFC 3339 in UTC to ns since the epoch, 0 for none.
pub fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    if !deserializer.is_human_readable() {
        return Option::deserialize(deserializer);
    }
    let text = Text::deserialize(deserializer)?;
    if text.is_empty() { Ok(Some(0)) } else { ns(&text).map(Some).ok_or_else(|| D::Error::custom("unusual time")) }
}

fn ns(text: &str) -> Option<i64> {
    if text.ends_with(".Z") || text.get(17..19)? == "60" {
        return None;
    }
    let since_epoch = humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    since_epoch.as_nanos().try_into().ok()
}

/// A message. Serde would take an array for one, field by field.
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut Formatter) -> Formatted {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        if deserializer.is_human_readable() { deserializer.deserialize_map(V::<T>(PhantomData)) } else { T::deserialize(deserializer).map(Object) }
    }
}

pub fn message<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::<Object<T>>::deserialize(deserializer).map(|found| found.map(|object| object.0))
}

pub fn messages<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let found = Option::<Vec<Object<T>>>::deserialize(deserializer)?;
    Ok(found.unwrap_or_default().into_iter().map(|object| object.0).collect())
}

/// A function's descriptor to Ray's call string.
pub fn function<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Text<'a>, D::Error> {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "camelCase", default, bound(deserialize = "'de: 'a"))]
    struct Call<'a> {
        function_name: Text<'a>,
        class_name: Text<'a>,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "camelCase", default, bound(deserialize = "'de: 'a"))]
    struct Function<'a> {
        #[serde(deserialize_with = "message")]
        python_function_descriptor: Option<Call<'a>>,
        #[serde(deserialize_with = "message")]
        java_function_descriptor: Option<Call<'a>>,
        #[serde(deserialize_with = "message")]
        cpp_function_descriptor: Option<Call<'a>>,
    }
    if !deserializer.is_human_readable() {
        return Text::deserialize(deserializer);
    }
    let Some(found) = message::<Function, D>(deserializer)? else { return Ok(Text::default()) };
    Ok(match (found.python_function_descriptor, found.java_function_descriptor, found.cpp_function_descriptor) {
        (Some(python), ..) => called(last_part(&python.class_name), last_part(&python.function_name)),
        (None, Some(java), _) => called(&java.class_name, &java.function_name),
        (None, None, cpp) => cpp.map_or(Text::default(), |cpp| cpp.function_name),
    })
}

fn called<'a>(class: &str, function: &str) -> Text<'a> {
    if class.is_empty() { function.to_string().into() } else { format!("{class}.{function}").into() }
}

pub fn last_part(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}

pub trait MapValue {
    fn write(&self, out: &mut String);
}

impl MapValue for Number {
    fn write(&self, out: &mut String) {
        float(out, self.0);
    }
}

impl MapValue for Text<'_> {
    fn write(&self, out: &mut String) {
        quote(out, self);
    }
}

/// A map of texts to values of one kind, as JSON text again.
pub fn json_map<'de: 'a, 'a, T: MapValue + Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Text<'a>, D::Error> {
    struct V<T>(PhantomData<T>);
    impl<'de, T: MapValue + Deserialize<'de>> Visitor<'de> for V<T> {
        type Value = String;
        fn expecting(&self, f: &mut Formatter) -> Formatted {
            f.write_str("a map")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
            let mut out = String::from("{");
            let mut keys: Vec<Text> = Vec::new();
            while let Some(key) = map.next_key::<Text>()? {
                if keys.contains(&key) {
                    return Err(A::Error::custom("a key twice"));
                }
                if !keys.is_empty() {
                    out.push(',');
                }
                quote(&mut out, &key);
                out.push(':');
                map.next_value::<T>()?.write(&mut out);
                keys.push(key);
            }
            out.push('}');
            Ok(out)
        }
    }
    if deserializer.is_human_readable() { deserializer.deserialize_map(V::<T>(PhantomData)).map(Text::from) } else { Text::deserialize(deserializer) }
}

/// As Python's `encode_basestring` and msgspec write it.
pub fn quote(out: &mut String, text: &str) {
    out.push('"');
    // Most texts have nothing to escape. Without a way out of the loop the compiler looks at many bytes at once.
    if !text.bytes().fold(false, |found, byte| found | (byte < 0x20) | (byte == b'"') | (byte == b'\\')) {
        out.push_str(text);
        return out.push('"');
    }
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
