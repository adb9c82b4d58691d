//! What a host's `robots.txt` allows (RFC 9309).
//!
//! Pure: text in, decision out. Groups of the same agent are one; the longest pattern decides, and of two equally long ones that
//! which allows.

/// The name that groups are looked for by.
const AGENT: &str = "ocelli";

/// Longest text that is read, as the RFC asks for at least.
pub(crate) const MAX_BYTES: u64 = 512 * 1024;

/// More rules than this are not looked at: no site has them.
const MAX_RULES: usize = 10_000;

/// The rules for this program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Robots {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    pattern: Vec<u8>,
    allows: bool,
}

impl Robots {
    /// Reads the groups of this program, else those of all.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let (mut ours, mut all) = (Vec::new(), Vec::new());
        let (mut is_ours, mut is_all, mut in_head, mut met_ours) = (false, false, false, false);
        for line in text.split(|byte| matches!(byte, b'\n' | b'\r')) {
            let Some((key, value)) = field(line) else { continue };
            match key.as_slice() {
                b"user-agent" => {
                    if !in_head {
                        (is_ours, is_all, in_head) = (false, false, true);
                    }
                    let product = product(value);
                    is_all |= value.first() == Some(&b'*');
                    is_ours |= product.eq_ignore_ascii_case(AGENT.as_bytes());
                    met_ours |= is_ours;
                }
                key @ (b"allow" | b"disallow") => {
                    in_head = false;
                    if value.is_empty() {
                        continue;
                    }
                    let rule = || Rule { pattern: normal(value), allows: key == b"allow" };
                    for (applies, rules) in [(is_ours, &mut ours), (is_all, &mut all)] {
                        if applies && rules.len() < MAX_RULES {
                            rules.push(rule());
                        }
                    }
                }
                _ => {}
            }
        }
        Self { rules: if met_ours { ours } else { all } }
    }

    /// Whether a path with its query may be asked for.
    pub(crate) fn allows(&self, path: &str) -> bool {
        let path = normal(path.as_bytes());
        let matching = self.rules.iter().filter(|rule| matches(&rule.pattern, &path));
        let best = matching.max_by_key(|rule| (rule.pattern.len(), rule.allows));
        best.is_none_or(|rule| rule.allows)
    }
}

/// `key: value` without comment, the key in lower case.
fn field(line: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let line = line.split(|byte| *byte == b'#').next()?;
    let colon = line.iter().position(|byte| *byte == b':')?;
    let key = line[..colon].trim_ascii().to_ascii_lowercase();
    Some((key, line[colon + 1..].trim_ascii()))
}

/// The product token at the beginning: `Ocelli/1.0` is `Ocelli`.
fn product(value: &[u8]) -> &[u8] {
    let is_token = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_');
    let end = value.iter().position(|byte| !is_token(byte)).unwrap_or(value.len());
    &value[..end]
}

/// What is not in ASCII percent-encoded, and the digits of `%xx` in upper case: so that both sides are written alike.
fn normal(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let byte = text[at];
        let digits = text.get(at + 1..at + 3).filter(|two| two.iter().all(u8::is_ascii_hexdigit));
        match digits {
            Some(digits) if byte == b'%' => {
                bytes.push(b'%');
                bytes.extend(digits.to_ascii_uppercase());
                at += 3;
                continue;
            }
            _ if byte.is_ascii() => bytes.push(byte),
            _ => bytes.extend(format!("%{byte:02X}").into_bytes()),
        }
        at += 1;
    }
    bytes
}

/// Whether a pattern is a beginning of the path; `*` stands for anything, `$` at the end for the end. What stands between two `*` is
/// looked for once, from the left: if there is any way to match, that is one.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    let (pattern, to_end) = match pattern.strip_suffix(b"$") {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    let mut parts = pattern.split(|byte| *byte == b'*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = path.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return !to_end || rest.is_empty() };
    for part in parts {
        let Some(at) = find(rest, part) else { return false };
        rest = &rest[at + part.len()..];
    }
    if to_end { rest.ends_with(last) } else { find(rest, last).is_some() }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(text: &str, path: &str) -> bool {
        Robots::parse(text.as_bytes()).allows(path)
    }

    #[test]
    fn the_longest_pattern_decides_and_allowing_wins_a_tie() {
        let text =
            "User-agent: *\nDisallow: /images\nAllow: /images/public/\nDisallow: /a\nAllow: /a\n";
        assert!(!allows(text, "/images/x.png"));
        assert!(allows(text, "/images/public/x.png"));
        assert!(allows(text, "/a"));
        assert!(allows(text, "/other"));
        assert!(allows("", "/"), "nothing is said");
        assert!(allows("User-agent: *\nDisallow:\n", "/"), "nothing is disallowed");
        assert!(!allows("User-agent: *\nDisallow: /\n", "/"));
    }

    #[test]
    fn the_groups_of_this_program_count_alone_where_there_are_some() {
        let text = "user-agent: other\nuser-agent: OCELLI/2.0 # us\ndisallow: /us # too\n\
                    user-agent: *\ndisallow: /\n\nUser-Agent: ocelli\nDisallow: /more\n";
        assert!(allows(text, "/all"));
        assert!(!allows(text, "/us") && !allows(text, "/more"));
        assert!(allows("User-agent: ocelli-next\nDisallow: /\n", "/a"), "another program");
        assert!(allows("User-agent: ocelli\n\nUser-agent: *\nDisallow: /x\n", "/y"));
        assert!(!allows("Disallow: /\nUser-agent: *\nDisallow: /x", "/x"));
        assert!(allows("Disallow: /\nUser-agent: *\nDisallow: /x", "/y"), "it belongs to nobody");
    }

    #[test]
    fn stars_and_ends_and_encodings_are_understood() {
        let text = "User-agent: *\nDisallow: /*.gif$\nDisallow: /a*b*c\nDisallow: /%c3%a4\nDisallow: /q?x=\n";
        assert!(
            !allows(text, "/x/y.gif") && allows(text, "/x/y.gif?1") && !allows(text, "/x.gif.gif")
        );
        assert!(!allows(text, "/a1b2c3") && allows(text, "/a1c2b3"));
        assert!(!allows(text, "/%C3%A4/x") && !allows(text, "/ä"));
        assert!(!allows(text, "/q?x=1") && allows(text, "/q?y=1"));
        assert!(!allows("User-agent: *\nDisallow: *\n", "/"));
        assert!(!allows("User-agent: *\nDisallow: /*aa$\n", "/aaa"));
        assert!(allows("User-agent: *\nDisallow: /$\n", "/a"));
        assert!(!allows("User-agent: *\nDisallow: /$\n", "/"));
    }

    #[test]
    fn a_pattern_of_many_stars_is_decided_at_once() {
        let text = format!("User-agent: *\nDisallow: /{}x\n", "a*".repeat(10_000));
        assert!(allows(&text, &format!("/{}", "a".repeat(20_000))));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(0_u8.., 0..300), path in ".{0,40}") {
            Robots::parse(&bytes).allows(&path);
        }
    }
}
