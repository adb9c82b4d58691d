//! The settings reference, made from the same files as the defaults: as a commented TOML file and as Markdown.

use std::fmt::Write as _;

use super::analyzer::Kind;
use super::known::{Known, Setting};
use super::schema::{BUDGET, Field, RULE, SETTINGS, Schema, WEBHOOK, kind_text};

/// The built-in settings as a commented file: a starting point for one's own.
#[must_use]
pub fn default_toml() -> String {
    let mut text = SETTINGS.to_owned();
    for kind in Kind::ALL {
        let _ = write!(
            text,
            "\n# All fields of an analyzer of kind \"{0}\":\n#[analyzers.NAME]\n#kind = \"{0}\"\n",
            kind.name()
        );
        for line in kind_text(kind).lines() {
            let mark = if line.is_empty() || line.starts_with('#') { "" } else { "#" };
            let _ = writeln!(text, "{mark}{line}");
        }
    }
    let _ = write!(text, "\n# What may be spent; any number of these.\n#[[budget]]\n{BUDGET}");
    let _ = write!(
        text,
        "\n# Who is told of complete records; any number of these.\n#[[webhook]]\n{WEBHOOK}"
    );
    let _ =
        write!(text, "\n# Which analyzers an image gets; any number of these.\n#[[rule]]\n{RULE}");
    text
}

const HEAD: &str = "\
# Settings

<!-- Made from the program's own settings; a test compares. Do not edit. -->

Every setting has a default; `ocelli run PATH` needs none of them. Layers, later ones win, leaf by leaf (lists are
replaced whole):

1. the defaults below
2. `/etc/ocelli/ocelli.toml`
3. `ocelli.toml` in the current folder
4. the file named by `--config` (or `OCELLI_CONFIG`)
5. environment variables `OCELLI_SECTION__KEY`, for example `OCELLI_BROKER__URL`; an empty one counts as not set, a list
   is written with commas or as a TOML list
6. flags

An unknown key or `OCELLI_` variable is an error that names the nearest known one. All problems are listed at once, and
nothing is started. `ocelli config show` prints every setting with the place it was set in, secrets masked;
`ocelli config check` only checks.

Durations are written `500ms`, `10s`, `1m30s`, `1h`; sizes `50MB` (10⁶ bytes) or `512MiB` (2²⁰ bytes). Paths are
relative to the current folder.
";

const ANALYZERS: &str = "
## `[analyzers.NAME]`

The readers whose answers make up a record, shown by `order`, then by name. Three are built in: `gemma3-27b-vision`,
`tesseract-ocr`, `llama3.2-vision`. A table of one of these names overrides single fields; a table of a new name with a
`kind` (`\"ocr\"` or `\"llm\"`) adds an analyzer; `enabled = false` turns one off. A name with a dot is quoted:
`[analyzers.\"llama3.2-vision\"]`. In the name of an environment variable every character but letters and digits becomes
`_`: `OCELLI_ANALYZERS__LLAMA3_2_VISION__MODEL`. A new analyzer needs a file.
";

const BUDGETS: &str = "
## `[[budget]]`

What may be spent; any number of tables. A budget that is used up pauses what it is about: what is in hand is finished,
nothing is lost and no attempt is spent. It goes on by itself with the next month, or when the budget is raised and the
worker started again. What is spent beyond the budget is bounded by the jobs in hand when it was reached, which are at
most the slots and two more of each worker. There is no environment variable for budgets.

";

const WEBHOOKS: &str = "
## `[[webhook]]`

Who is told of complete records by HTTP; any number of tables ([events](EVENTS.md)). There is no environment variable for webhooks.

";

const RULES: &str = "
## `[[rule]]`

Which analyzers an image gets; up to `limits.rules` tables ([rules](RULES.md)). An analyzer is asked where every rule about it
holds; where one does not, the outcome is `skipped`, with the rule's name. There is no environment variable for rules.

";

/// The settings reference as Markdown (`docs/settings.md`).
#[must_use]
pub fn markdown() -> String {
    let schema = Schema::get();
    let mut text = HEAD.to_owned();
    for section in &schema.sections {
        let _ = writeln!(text, "\n## `[{}]`\n", section.name);
        table(&mut text, &section.fields, Some(&section.name));
    }
    text.push_str(ANALYZERS);
    for kind in Kind::ALL {
        let _ = writeln!(text, "\n### Fields of kind `{}`\n", kind.name());
        table(&mut text, schema.kind(kind), None);
    }
    text.push_str(BUDGETS);
    table(&mut text, &schema.budget, None);
    text.push_str(WEBHOOKS);
    table(&mut text, &schema.webhook, None);
    text.push_str(RULES);
    table(&mut text, &schema.rule, None);
    text
}

fn table(text: &mut String, fields: &[Field], section: Option<&str>) {
    let known = Known::new(&std::collections::BTreeMap::new());
    text.push_str("| setting | default | what it does |\n|---|---|---|\n");
    for field in fields {
        let default = if field.is_default {
            format!("`{}`", super::show::text(&[], &field.sample))
        } else {
            "–".to_owned()
        };
        let variable = section
            .and_then(|section| known.key(&format!("{section}.{}", field.name)))
            .map(|setting: &Setting| format!("<br>`{}`", setting.variable()))
            .unwrap_or_default();
        let words = field.explanation.replace('|', "\\|").replace('<', "&lt;");
        let _ = writeln!(text, "| `{}`{variable} | {default} | {words} |", field.name);
    }
}
