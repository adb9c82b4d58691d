//! Values as text, secrets masked: for `ocelli config show` and for error messages.

use serde_json::Value;

use super::known::Kinds;
use super::schema::Schema;
use super::secret::{MASK, mask_url};
use super::tree::{Path, Tree, key, path};

/// One setting as it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The whole key: `broker.url`, `analyzers.llama3.2-vision.model`.
    pub key: String,
    /// The value as TOML, secrets masked.
    pub value: String,
    /// `default`, a file and line, an environment variable, or `command line`.
    pub origin: String,
}

/// Every setting that has a value, in the order of the reference.
pub(crate) fn show(tree: &Tree, kinds: &Kinds, order: &[String]) -> Vec<Shown> {
    let schema = Schema::get();
    let sections = schema
        .sections
        .iter()
        .flat_map(|section| section.fields.iter().map(|field| path(&[&section.name, &field.name])));
    let analyzers =
        order.iter().filter_map(|name| Some((name, kinds.get(name)?))).flat_map(|(name, kind)| {
            let fields = schema.kind(*kind).iter().map(|field| field.name.as_str());
            ["kind"].into_iter().chain(fields).map(move |field| path(&["analyzers", name, field]))
        });
    let lists =
        [super::vet::BUDGETS, super::vet::WEBHOOKS, super::vet::RULES].map(|name| path(&[name]));
    sections.chain(analyzers).chain(lists).filter_map(|path| shown(tree, &path)).collect()
}

fn shown(tree: &Tree, path: &Path) -> Option<Shown> {
    let value = text(path, tree.get(path)?);
    Some(Shown { key: key(path), value, origin: tree.origin(path).to_owned() })
}

/// `value` as TOML, with what is secret at `path` masked.
pub(crate) fn text(path: &[String], value: &Value) -> String {
    let names: Vec<&str> = path.iter().map(String::as_str).collect();
    let secret = match names.as_slice() {
        ["broker" | "catalog", "url", ..] => Secret::Url,
        ["web", "token", ..]
        | ["objects", "access_key" | "secret_key" | "gs_key" | "az_key", ..] => Secret::All,
        ["analyzers", _, "endpoints", _, "url", ..] => Secret::Url,
        ["analyzers", _, "endpoints", _, "api_key" | "headers", ..] => Secret::All,
        ["analyzers", _, "endpoints", ..] => Secret::Endpoints,
        ["webhook", ..] => Secret::Webhooks,
        _ => Secret::No,
    };
    render(value, secret)
}

#[derive(Clone, Copy)]
enum Secret {
    /// Not secret; a URL with a password in a wrong place is masked all the same.
    No,
    /// A URL that may carry a password.
    Url,
    /// Endpoints: URLs or tables with secrets.
    Endpoints,
    /// Tables with a URL and a secret.
    Webhooks,
    /// Nothing of it may be shown.
    All,
}

fn render(value: &Value, secret: Secret) -> String {
    match (value, secret) {
        (Value::Array(items), _) => {
            let items: Vec<_> = items.iter().map(|item| render(item, secret)).collect();
            format!("[{}]", items.join(", "))
        }
        (Value::Object(table), _) => {
            let inner = |name: &str| match (secret, name) {
                (Secret::Endpoints, "api_key" | "headers") => Secret::All,
                (Secret::Webhooks, "secret") => Secret::All,
                (Secret::Webhooks, "url") => Secret::Url,
                (Secret::Webhooks, _) => Secret::No,
                _ => secret,
            };
            let pairs: Vec<_> = table
                .iter()
                .map(|(name, value)| format!("{name} = {}", render(value, inner(name))))
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        (_, Secret::All) => format!("\"{MASK}\""),
        (Value::String(text), Secret::Url | Secret::Endpoints) => quote(&mask_url(text)),
        // Not a table: it could be anything.
        (_, Secret::Webhooks) => format!("\"{MASK}\""),
        (Value::String(text), Secret::No) if text.contains("://") => quote(&mask_url(text)),
        (Value::String(text), Secret::No) => quote(text),
        (other, _) => other.to_string(),
    }
}

fn quote(text: &str) -> String {
    toml::Value::from(text).to_string()
}
