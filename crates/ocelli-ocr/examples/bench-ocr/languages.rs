//! Which language data a set of images needs, as a person who knows the archive names them: by the letters of its texts.
//! All contenders get the same.

use anyhow::Result;
use ocelli_ocr::data;

/// The languages of these texts, `first` leading, and which of them have no data here.
pub(crate) fn needed<'a>(
    first: &str,
    texts: impl Iterator<Item = &'a str>,
) -> Result<(String, Vec<String>)> {
    let mut names: Vec<String> = first.split('+').map(str::to_owned).collect();
    for text in texts {
        let kana = text.chars().any(|c| matches!(c, '\u{3041}'..='\u{30ff}'));
        for name in text.chars().filter_map(|c| language(c, kana)) {
            if names.iter().all(|known| known != name) {
                names.push(name.to_owned());
            }
        }
    }
    let missing = data::missing(&data::folder(None, None)?, &names);
    names.retain(|name| !missing.contains(name));
    Ok((names.join("+"), missing))
}

/// What a letter gives away. Letters that many languages share say nothing, and are what the first language is for.
const fn language(letter: char, beside_kana: bool) -> Option<&'static str> {
    Some(match letter {
        'ä' | 'ö' | 'ü' | 'ß' => "deu",
        '\u{370}'..='\u{3ff}' => "ell",
        '\u{400}'..='\u{4ff}' => "rus",
        '\u{590}'..='\u{5ff}' => "heb",
        '\u{600}'..='\u{6ff}' => "ara",
        '\u{900}'..='\u{97f}' => "hin",
        '\u{e00}'..='\u{e7f}' => "tha",
        '\u{3041}'..='\u{30ff}' => "jpn",
        '\u{4e00}'..='\u{9fff}' if beside_kana => "jpn",
        '\u{4e00}'..='\u{9fff}' => "chi_sim",
        '\u{ac00}'..='\u{d7af}' => "kor",
        _ => return None,
    })
}
