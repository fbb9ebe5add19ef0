//! JSON, as `ConvertTo-Json` writes it.

use serde_json::Value as Json;

use super::ReadError;
use super::value::{Object, Value};

/// The objects of a file: one, or a list of them.
pub(super) fn read(text: &str) -> Result<Vec<Object>, ReadError> {
    let json: Properties = serde_json::from_str(text.trim())?;
    Ok(json.0)
}

/// The outermost level, read by hand because keys that are there twice must not get lost.
struct Properties(Vec<Object>);

impl<'de> serde::Deserialize<'de> for Properties {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Outermost).map(Self)
    }
}

struct Outermost;

impl<'de> serde::de::Visitor<'de> for Outermost {
    type Value = Vec<Object>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object or a list of objects")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut object = Object::default();
        let mut wrapped = None;
        while let Some(name) = map.next_key::<String>()? {
            let json: Json = map.next_value()?;
            // A list that was an object's property comes with its length.
            if name == "value"
                && let Json::Array(list) = json
            {
                wrapped = Some(list);
                continue;
            }
            object.properties.push((name, value(json)));
        }
        let Some(list) = wrapped else { return Ok(vec![object]) };
        let objects = list.into_iter().map(|json| match json {
            Json::Object(map) => {
                Ok(Object { properties: map.into_iter().map(|(k, v)| (k, value(v))).collect() })
            }
            _ => Err(serde::de::Error::custom("a list of objects is expected")),
        });
        objects.collect()
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut objects = Vec::new();
        while let Some(Properties(inside)) = list.next_element()? {
            objects.extend(inside);
        }
        Ok(objects)
    }
}

fn value(json: Json) -> Value {
    match json {
        Json::Null => Value::Nothing,
        Json::Bool(bool) => Value::Bool(bool),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Number(whole),
            None => whole(&number).map_or_else(|| Value::Opaque(number.to_string()), Value::Number),
        },
        Json::String(text) if text.is_empty() => Value::Nothing,
        Json::String(text) => Value::Text(text),
        Json::Array(list) => names(list),
        Json::Object(mut map) => match (map.remove("value"), map.remove("TotalSeconds")) {
            (Some(Json::Array(list)), _) => names(list),
            (_, Some(seconds @ Json::Number(_))) => value(seconds),
            _ if map.is_empty() => Value::List(Vec::new()),
            _ => Value::Opaque("an object".to_owned()),
        },
    }
}

/// `300.0` is 300.
fn whole(number: &serde_json::Number) -> Option<i64> {
    let text = number.to_string();
    let (whole, fraction) = text.split_once('.')?;
    fraction.bytes().all(|digit| digit == b'0').then(|| whole.parse().ok())?
}

fn names(list: Vec<Json>) -> Value {
    let names: Option<Vec<String>> = list
        .into_iter()
        .map(|json| match json {
            Json::String(name) => Some(name),
            _ => None,
        })
        .collect();
    names.map_or_else(|| Value::Opaque("a list".to_owned()), Value::List)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_object_several_and_a_wrapped_list_are_the_same() {
        for text in [r#"{"A":"x"}"#, r#"[{"A":"x"}]"#, r#"{"value":[{"A":"x"}],"Count":1}"#] {
            let objects = read(text).unwrap();
            assert_eq!(objects.len(), 1, "{text}");
            assert_eq!(objects[0].get("a"), Some(&Value::Text("x".to_owned())), "{text}");
        }
    }

    #[test]
    fn values_are_what_powershell_means() {
        let read = |text: &str| read(&format!("{{\"A\":{text}}}")).unwrap().remove(0).properties.remove(0).1;
        let list = Value::List(vec!["a.example".to_owned()]);
        for (text, expected) in [
            ("null", Value::Nothing),
            ("\"\"", Value::Nothing),
            ("true", Value::Bool(true)),
            ("20", Value::Number(20)),
            ("300.0", Value::Number(300)),
            ("0.5", Value::Opaque("0.5".to_owned())),
            ("[\"a.example\"]", list.clone()),
            ("{\"value\":[\"a.example\"],\"Count\":1}", list),
            ("{}", Value::List(Vec::new())),
            ("{\"Ticks\":3000000000,\"TotalSeconds\":300}", Value::Number(300)),
            ("{\"x\":1}", Value::Opaque("an object".to_owned())),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn a_key_that_is_there_twice_is_seen() {
        assert_eq!(read(r#"{"A":1,"a":2}"#).unwrap()[0].twice().as_deref(), Some("a"));
        assert_eq!(read(r#"{"A":1,"B":2}"#).unwrap()[0].twice(), None);
    }

    #[test]
    fn hostile_json_is_refused() {
        let deep = format!("{{\"A\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        for text in ["{", "[1]", "[\"x\"]", "{\"A\":1}{\"A\":2}", &deep] {
            assert!(matches!(read(text), Err(ReadError::Json(_))), "{}", &text[..text.len().min(20)]);
        }
    }
}
