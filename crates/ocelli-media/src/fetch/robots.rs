//! What a server says about the use of one image: `X-Robots-Tag`.
//!
//! There is no standard: the form is that of the search engines, and `noai` and `noimageai` are what image hosts add. A directive that
//! is for another program is none for us.

use reqwest::header::HeaderMap;

const HEADER: &str = "x-robots-tag";

/// Directives that forbid what ocelli does: an index of images, read by models.
const FORBIDDING: [&str; 5] = ["noai", "noimageai", "noindex", "noimageindex", "none"];

/// Directives with a value behind a colon: not the name of a program.
const WITH_VALUE: [&str; 4] =
    ["unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"];

/// The directive that forbids the use, if there is one.
pub(super) fn refusal(headers: &HeaderMap) -> Option<&'static str> {
    headers.get_all(HEADER).iter().find_map(|value| forbidding(value.to_str().ok()?))
}

fn forbidding(value: &str) -> Option<&'static str> {
    let value = value.to_ascii_lowercase();
    let directives = match value.split_once(':') {
        Some((agent, directives))
            if !agent.contains(',') && !WITH_VALUE.contains(&agent.trim()) =>
        {
            if agent.trim() != "ocelli" {
                return None;
            }
            directives
        }
        _ => &value,
    };
    let said = |name: &&str| directives.split(',').any(|one| one.trim() == *name);
    FORBIDDING.into_iter().find(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_for_everybody_and_for_us_count_and_others_do_not() {
        for (value, expected) in [
            ("noai", Some("noai")),
            ("nofollow, NoIndex", Some("noindex")),
            ("none", Some("none")),
            ("ocelli: noimageai", Some("noimageai")),
            ("unavailable_after: 25 Jun 2010 15:00:00 PST, noindex", Some("noindex")),
            ("otherbot: noindex", None),
            ("all", None),
            ("nofollow, noarchive", None),
            ("noaic", None),
            ("", None),
        ] {
            assert_eq!(forbidding(value), expected, "{value}");
        }
    }
}
