//! Tesseract's names of languages (mostly ISO 639-2, with additions) as the ISO 639-1 codes that hOCR asks for.

/// Those of `eng+deu` that have a code, separated by spaces, each once; `unknown` when none has.
pub(super) fn iso_639_1(names: &str) -> String {
    let mut codes: Vec<&str> = Vec::new();
    for code in names.split('+').filter_map(code) {
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    if codes.is_empty() { "unknown".to_owned() } else { codes.join(" ") }
}

/// Variants such as `chi_sim_vert` and `deu_latf` are of the language that they begin with.
fn code(name: &str) -> Option<&'static str> {
    let base = name.split('_').next()?;
    let index = CODES.binary_search_by_key(&base, |(name, _)| name).ok()?;
    Some(CODES[index].1)
}

/// Sorted by name.
const CODES: [(&str, &str); 81] = [
    ("afr", "af"),
    ("amh", "am"),
    ("ara", "ar"),
    ("asm", "as"),
    ("aze", "az"),
    ("bel", "be"),
    ("ben", "bn"),
    ("bod", "bo"),
    ("bos", "bs"),
    ("bre", "br"),
    ("bul", "bg"),
    ("cat", "ca"),
    ("ces", "cs"),
    ("chi", "zh"),
    ("cos", "co"),
    ("cym", "cy"),
    ("dan", "da"),
    ("deu", "de"),
    ("ell", "el"),
    ("eng", "en"),
    ("epo", "eo"),
    ("est", "et"),
    ("eus", "eu"),
    ("fas", "fa"),
    ("fin", "fi"),
    ("fra", "fr"),
    ("frk", "de"),
    ("gla", "gd"),
    ("gle", "ga"),
    ("glg", "gl"),
    ("guj", "gu"),
    ("hat", "ht"),
    ("heb", "he"),
    ("hin", "hi"),
    ("hrv", "hr"),
    ("hun", "hu"),
    ("hye", "hy"),
    ("ind", "id"),
    ("isl", "is"),
    ("ita", "it"),
    ("jav", "jv"),
    ("jpn", "ja"),
    ("kan", "kn"),
    ("kat", "ka"),
    ("kaz", "kk"),
    ("khm", "km"),
    ("kir", "ky"),
    ("kor", "ko"),
    ("lao", "lo"),
    ("lat", "la"),
    ("lav", "lv"),
    ("lit", "lt"),
    ("ltz", "lb"),
    ("mal", "ml"),
    ("mar", "mr"),
    ("mkd", "mk"),
    ("mlt", "mt"),
    ("mon", "mn"),
    ("mri", "mi"),
    ("msa", "ms"),
    ("mya", "my"),
    ("nep", "ne"),
    ("nld", "nl"),
    ("nor", "no"),
    ("pan", "pa"),
    ("pol", "pl"),
    ("por", "pt"),
    ("ron", "ro"),
    ("rus", "ru"),
    ("san", "sa"),
    ("sin", "si"),
    ("slk", "sk"),
    ("slv", "sl"),
    ("spa", "es"),
    ("sqi", "sq"),
    ("srp", "sr"),
    ("swe", "sv"),
    ("tam", "ta"),
    ("tur", "tr"),
    ("ukr", "uk"),
    ("vie", "vi"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_codes_each_once_and_what_has_none_is_left_out() {
        assert!(CODES.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(iso_639_1("eng+deu"), "en de");
        assert_eq!(iso_639_1("chi_sim+chi_tra+script/Latin"), "zh");
        assert_eq!(iso_639_1("script/Latin"), "unknown");
        assert_eq!(iso_639_1(""), "unknown");
    }
}
