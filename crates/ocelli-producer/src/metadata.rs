//! What a list says about a reference beside where it is, within bounds. Pure.
//!
//! What is no text is kept as its JSON: a number as its digits, a list or an object whole. Nothing (`null`, an empty value of CSV) is
//! not kept.

use ocelli_core::Meta;
use ocelli_core::meta::MAX_NAME_BYTES;
use serde_json::Value;

use crate::source::clip;

/// How much is kept of what a list says about one reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetaLimits {
    /// Names (setting `producer.meta_names`).
    pub names: usize,
    /// Bytes of names and texts together (setting `producer.meta_bytes`).
    pub bytes: usize,
}

impl Default for MetaLimits {
    fn default() -> Self {
        // What a catalog card has, and a description of some pages.
        Self { names: 64, bytes: 16 * 1024 }
    }
}

impl MetaLimits {
    /// Gathers names and texts; an error names the limit. Of two with one name the latter counts.
    pub(crate) fn gather(
        &self,
        fields: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Meta, String> {
        let mut meta = Meta::default();
        let mut bytes = 0;
        for (name, text) in fields {
            if name.len() > MAX_NAME_BYTES {
                return Err(format!(
                    "the name of the field '{}…' has {} bytes; at most {MAX_NAME_BYTES} are kept",
                    clip(&name).chars().take(40).collect::<String>(),
                    name.len()
                ));
            }
            bytes += name.len() + text.len();
            meta.insert(name, text);
            if bytes > self.bytes {
                return Err(format!(
                    "it has more than {} bytes of metadata (setting producer.meta_bytes)",
                    self.bytes
                ));
            }
            if meta.len() > self.names {
                return Err(format!(
                    "it has more than {} fields of metadata (setting producer.meta_names)",
                    self.names
                ));
            }
        }
        Ok(meta)
    }
}

/// A value as it is kept; none when there is nothing to keep.
pub(crate) fn text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(count: usize, text: &str) -> Vec<(String, String)> {
        (0..count).map(|number| (format!("n{number}"), text.to_owned())).collect()
    }

    #[test]
    fn too_much_is_an_error_that_names_its_limit() {
        let limits = MetaLimits { names: 3, bytes: 100 };
        assert_eq!(limits.gather(fields(3, "x")).unwrap().len(), 3);
        let many = limits.gather(fields(4, "x")).unwrap_err();
        assert!(many.contains("producer.meta_names"), "{many}");
        let large = limits.gather(fields(1, &"x".repeat(99))).unwrap_err();
        assert!(large.contains("producer.meta_bytes"), "{large}");
        assert_eq!(limits.gather(fields(1, &"x".repeat(98))).unwrap().bytes(), 100);
        let name = [("ü".repeat(101), String::new())];
        let long = MetaLimits::default().gather(name).unwrap_err();
        assert!(long.contains("at most 200"), "{long}");
        // The same name again and again is no way around the bytes.
        let same = vec![("a".to_owned(), "x".repeat(30)); 4];
        assert!(limits.gather(same).is_err());
    }

    #[test]
    fn what_is_no_text_is_kept_as_its_json() {
        assert_eq!(text(json!(null)), None);
        assert_eq!(text(json!("a \"b\"")).unwrap(), "a \"b\"");
        assert_eq!(text(json!(7)).unwrap(), "7");
        assert_eq!(text(json!({"x": [1, "y"]})).unwrap(), "{\"x\":[1,\"y\"]}");
    }
}
