//! A key that takes one value or a list of them, and is written as it was given.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::StrDeserializer;
use serde::de::{Error, IntoDeserializer as _, SeqAccess, Visitor};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most values of such a list.
pub const MOST_LISTED: usize = 64;

/// A type of which a key takes one value or several.
pub trait Listed {
    /// The type in words, and that a list is taken too.
    const ONE_OR_MORE: &'static str;
    /// A value as it is written.
    const EXAMPLE: &'static str;
}

/// One value or more in their order; none where the key is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMore<T>(Vec<T>);

impl<T> Default for OneOrMore<T> {
    fn default() -> Self {
        OneOrMore(Vec::new())
    }
}

impl<T> From<T> for OneOrMore<T> {
    fn from(one: T) -> Self {
        OneOrMore(vec![one])
    }
}

impl<T> OneOrMore<T> {
    /// True where the key is absent.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The first value.
    pub fn first(&self) -> Option<&T> {
        self.0.first()
    }

    /// The values in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }
}

impl<'a, T> IntoIterator for &'a OneOrMore<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: Serialize> Serialize for OneOrMore<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if let [one] = self.0.as_slice() {
            return one.serialize(to);
        }
        let mut list = to.serialize_seq(Some(self.0.len()))?;
        self.0.iter().try_for_each(|each| list.serialize_element(each))?;
        list.end()
    }
}

impl<'de, T: Listed + Deserialize<'de>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Values<T>(PhantomData<T>);
        impl<'de, T: Listed + Deserialize<'de>> Visitor<'de> for Values<T> {
            type Value = OneOrMore<T>;
            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str(T::ONE_OR_MORE)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<OneOrMore<T>, E> {
                let text: StrDeserializer<'_, E> = text.into_deserializer();
                T::deserialize(text).map(OneOrMore::from)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMore<T>, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    if values.len() == MOST_LISTED {
                        return Err(A::Error::custom(format!(
                            "the list has more than {MOST_LISTED}; name {MOST_LISTED} at the most"
                        )));
                    }
                    values.push(value);
                }
                if values.is_empty() {
                    return Err(A::Error::custom(format!(
                        "the list is empty; name at least one, as in [\"{}\"]",
                        T::EXAMPLE
                    )));
                }
                Ok(OneOrMore(values))
            }
        }
        from.deserialize_any(Values(PhantomData))
    }
}

#[cfg(test)]
impl<T: Listed + schemars::JsonSchema> schemars::JsonSchema for OneOrMore<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("OneOrMore{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let one = T::json_schema(generator);
        schemars::json_schema!({
            "title": T::ONE_OR_MORE,
            "anyOf": [one, { "type": "array", "items": one, "minItems": 1, "maxItems": MOST_LISTED }],
            "examples": [T::EXAMPLE],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::HostPort;
    use super::*;

    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Table {
        at: OneOrMore<HostPort>,
    }

    fn read(text: &str) -> Result<Table, String> {
        toml::from_str(text).map_err(|error| error.message().to_string())
    }

    #[test]
    fn one_in_a_list_is_one_and_is_written_so() {
        let one = read("at = 'a:1'").unwrap();
        assert_eq!(read("at = ['a:1']").unwrap(), one);
        assert_eq!((one.at.len(), toml::to_string(&one).unwrap()), (1, "at = \"a:1\"\n".into()));
        let two = read("at = ['b:1', 'a:1']").unwrap();
        assert_eq!(toml::to_string(&two).unwrap(), "at = [\"b:1\", \"a:1\"]\n");
        let order: Vec<_> = two.at.iter().map(HostPort::to_string).collect();
        assert_eq!((order, two.at.first().unwrap().host()), (vec!["b:1".to_string(), "a:1".into()], "b"));
    }

    #[test]
    fn lists_have_bounds_and_each_fault_is_of_its_element() {
        let list = |count: usize| {
            let each: Vec<_> = (0..count).map(|n| format!("'h{n}:1'")).collect();
            read(&format!("at = [{}]", each.join(", ")))
        };
        assert_eq!(list(MOST_LISTED).unwrap().at.len(), MOST_LISTED);
        assert!(list(MOST_LISTED + 1).unwrap_err().contains("64 at the most"));
        assert!(list(0).unwrap_err().contains("at least one"));
        assert!(read("at = ['a:1', 'b']").unwrap_err().contains("`b` is no address"));
        assert!(read("at = 5").unwrap_err().contains(HostPort::ONE_OR_MORE));
    }
}
