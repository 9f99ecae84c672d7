//! serde over a value with places: errors say where, `16:12: '3x' is not a valid u64`.

use crate::config::error::Span;
use crate::config::raw::{RawValue, Spanned};
use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use std::fmt;

/// A value that does not fit its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    /// The value; `None` until a level that knows its place has seen the error.
    pub span: Option<Span>,
    /// What is wrong, naming the value.
    pub message: String,
}

impl ValueError {
    fn at(mut self, span: &Span) -> Self {
        self.span.get_or_insert_with(|| span.clone());
        self
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(span) = &self.span {
            let (line, column) = span.line_column();
            write!(f, "{line}:{column}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ValueError {}

impl serde::de::Error for ValueError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { span: None, message: message.to_string() }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self { span: None, message: format!("{found} found where {expected} is expected") }
    }
}

/// Reads a typed setting.
///
/// # Errors
/// The first value that does not fit, with its place.
pub fn from_value<T: DeserializeOwned>(value: &RawValue, span: &Span) -> Result<T, ValueError> {
    T::deserialize(Value { value, span })
}

#[derive(Clone, Copy)]
struct Value<'a> {
    value: &'a RawValue,
    span: &'a Span,
}

impl<'a> From<&'a Spanned<RawValue>> for Value<'a> {
    fn from(spanned: &'a Spanned<RawValue>) -> Self {
        Self { value: &spanned.value, span: &spanned.span }
    }
}

impl<'a> Value<'a> {
    fn scalar(self, what: &str) -> Result<&'a str, ValueError> {
        let found = match self.value {
            RawValue::Scalar(text) => return Ok(text),
            RawValue::List(_) => "a list",
            RawValue::Map(_) => "a mapping",
        };
        Err(ValueError {
            span: Some(self.span.clone()),
            message: format!("{found} found where {what} is expected"),
        })
    }

    fn parse<T: std::str::FromStr>(self, what: &str) -> Result<T, ValueError> {
        let text = self.scalar(what)?;
        text.parse().map_err(|_| ValueError {
            span: Some(self.span.clone()),
            message: format!("'{text}' is not a valid {what}"),
        })
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
            let value = self.parse::<$type>(stringify!($type))?;
            visitor.$visit(value).map_err(|e: ValueError| e.at(self.span))
        }
    )*};
}

impl<'de> Deserializer<'de> for Value<'_> {
    type Error = ValueError;

    numbers!(
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64, deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64, deserialize_f32 visit_f32 f32,
        deserialize_f64 visit_f64 f64, deserialize_char visit_char char
    );

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.value {
            RawValue::Scalar(text) => visitor.visit_str(text),
            RawValue::List(items) => visitor.visit_seq(List { items: items.iter() }),
            RawValue::Map(entries) => visitor.visit_map(Entries { entries: entries.iter(), value: None }),
        }
        .map_err(|e: ValueError| e.at(self.span))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        let value = match self.scalar("true or false")? {
            "true" | "yes" | "on" | "1" => true,
            "false" | "no" | "off" | "0" => false,
            other => {
                return Err(ValueError {
                    span: Some(self.span.clone()),
                    message: format!("'{other}' is neither true nor false"),
                });
            }
        };
        visitor.visit_bool(value).map_err(|e: ValueError| e.at(self.span))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        if matches!(self.value, RawValue::Scalar(text) if text.is_empty()) {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        let text = self.scalar("a word")?;
        visitor.visit_enum(Word(text)).map_err(|e: ValueError| e.at(self.span))
    }

    // a type whose values are not ours to guess gets the text
    serde::forward_to_deserialize_any! {
        str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}

struct List<'a> {
    items: std::slice::Iter<'a, Spanned<RawValue>>,
}

impl<'de> SeqAccess<'de> for List<'_> {
    type Error = ValueError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ValueError> {
        self.items.next().map(|item| seed.deserialize(Value::from(item))).transpose()
    }
}

struct Entries<'a> {
    entries: std::slice::Iter<'a, (Spanned<String>, Spanned<RawValue>)>,
    value: Option<&'a Spanned<RawValue>>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ValueError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ValueError> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some(value);
        let name: StrDeserializer<'_, ValueError> = key.value.as_str().into_deserializer();
        seed.deserialize(name).map(Some).map_err(|e| e.at(&key.span))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ValueError> {
        match self.value.take() {
            Some(value) => seed.deserialize(Value::from(value)),
            None => Err(serde::de::Error::custom("a value was asked for before its key")),
        }
    }
}

struct Word<'a>(&'a str);

impl<'de> EnumAccess<'de> for Word<'_> {
    type Error = ValueError;
    type Variant = UnitOnly;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, UnitOnly), ValueError> {
        let word: StrDeserializer<'_, ValueError> = self.0.into_deserializer();
        Ok((seed.deserialize(word)?, UnitOnly))
    }
}

struct UnitOnly;

impl<'de> VariantAccess<'de> for UnitOnly {
    type Error = ValueError;

    fn unit_variant(self) -> Result<(), ValueError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, ValueError> {
        Err(serde::de::Error::custom("a plain word is expected"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, ValueError> {
        Err(serde::de::Error::custom("a plain word is expected"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, ValueError> {
        Err(serde::de::Error::custom("a plain word is expected"))
    }
}
