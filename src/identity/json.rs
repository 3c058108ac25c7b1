//! JSON of untrusted small documents, strict: no duplicate member at any depth, bounded depth and width,
//! nothing behind the value. `serde_json` reads the text (RFC 8259: no BOM, no NaN, no lone surrogate).

use crate::limits;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use std::{borrow::Cow, fmt};

/// A JSON value; texts without escapes are borrowed from the document.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    Null,
    Bool(bool),
    Number(f64),
    Text(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    /// In order of appearance, every name once.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// Parses a whole document; `None` if it is not one, or not strict, or exceeds the bounds.
    pub fn parse(document: &'a [u8]) -> Option<Json<'a>> {
        let mut deserializer = serde_json::Deserializer::from_slice(document);
        let value = Strict { depth: 0 }.deserialize(&mut deserializer).ok()?;
        deserializer.end().ok()?;
        Some(value)
    }

    /// The member called `name` of an object.
    pub fn member(&self, name: &str) -> Option<&Json<'a>> {
        match self {
            Json::Object(members) => members.iter().find(|(n, _)| n == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The value that `name` stands for: a JSON pointer if it begins with `/` (RFC 6901), else a member.
    pub fn find(&self, name: &str) -> Option<&Json<'a>> {
        let Some(pointer) = name.strip_prefix('/') else {
            return self.member(name);
        };
        pointer.split('/').try_fold(self, |value, step| {
            if step.contains('~') {
                return value.member(&step.replace("~1", "/").replace("~0", "~"));
            }
            match value {
                Json::Array(items) => items.get(step.parse::<usize>().ok()?),
                _ => value.member(step),
            }
        })
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }
}

struct Strict {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Json<'de>;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Strict {
    fn inner<E: de::Error>(&self) -> Result<Strict, E> {
        if self.depth == limits::IDENTITY_JSON_DEPTH_MAX {
            return Err(E::custom("too deep"));
        }
        Ok(Strict { depth: self.depth + 1 })
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Json<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(self.inner()?)? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let mut members: Vec<(Cow<'de, str>, Json<'de>)> = Vec::new();
        while let Some(name) = map.next_key_seed(Name)? {
            if members.len() == limits::IDENTITY_JSON_MEMBERS_MAX {
                return Err(de::Error::custom("too many members"));
            }
            if members.iter().any(|(known, _)| *known == name) {
                return Err(de::Error::custom("duplicate member"));
            }
            members.push((name, map.next_value_seed(self.inner()?)?));
        }
        Ok(Json::Object(members))
    }
}

/// A member's name, borrowed where it can be.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_strict_is_refused() {
        let deep = "[".repeat(40) + &"]".repeat(40);
        let wide: Vec<String> = (0..300).map(|n| format!("\"m{n}\":0")).collect();
        let wide = format!("{{{}}}", wide.join(","));
        let bad = [
            "",
            "{",
            "{}x",
            "{} {}",
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"b":{"a":1,"a":2}}"#,
            r#"[{"a":1,"a":2}]"#,
            "\u{feff}{}",
            "NaN",
            r#""\ud800""#,
            "1e999",
            "01",
            "'a'",
            "{a:1}",
            "[1,]",
            "\"\n\"",
            &deep,
            &wide,
        ];
        for document in bad {
            assert_eq!(Json::parse(document.as_bytes()), None, "{document:?}");
        }
        assert_eq!(Json::parse(b"\"\xff\""), None);
        assert!(Json::parse(br#" {"a":[1,-2,0.5,null,true],"b":{"a":"\u0061"}} "#).is_some());
    }

    #[test]
    fn pointers_find_nested_values() {
        let document = br#"{"/a":"slash","b":{"c/d":["x","y"]},"https://example.com/groups":"g"}"#;
        let json = Json::parse(document).expect("sound");
        let cases = [
            ("https://example.com/groups", Some("g")),
            ("/b/c~1d/1", Some("y")),
            ("/b/c~1d/2", None),
            ("/~1a", Some("slash")),
            ("b/c", None),
        ];
        for (name, expected) in cases {
            assert_eq!(json.find(name).and_then(Json::text), expected, "{name}");
        }
    }
}
