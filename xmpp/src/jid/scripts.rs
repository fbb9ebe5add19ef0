//! Whether a name mixes scripts, as one does that is to be taken for another (UTS 39 §5, RFC 7622 §7.3).

use icu_properties::props::Script;
use icu_properties::script::ScriptWithExtensions;
use smallvec::SmallVec;

/// Whether no single writing system has all of the characters, and not Latin together with Chinese, Japanese or Korean
/// either: whatever is not *highly restrictive* by UTS 39 §5.2. Characters that belong to every script, such as digits and
/// hyphens, do not count. A name that looks like another within one script is not found by this.
pub(super) fn mixed(name: &str) -> bool {
    if name.is_ascii() {
        return false;
    }
    let latin = |c: &char| ScriptWithExtensions::new().has_script(*c, Script::Latin);
    // Most names are of one script.
    if systems(name.chars()).is_none_or(|systems| !systems.is_empty()) {
        return false;
    }
    let rest = systems(name.chars().filter(|c| !latin(c)));
    !rest.is_some_and(|rest| rest.iter().any(|system| !matches!(system, System::Of(_))))
}

/// What a text can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum System {
    /// With one script alone.
    Of(Script),
    /// Han with Bopomofo.
    Chinese,
    /// Han with Hiragana and Katakana.
    Japanese,
    /// Hangul with Han.
    Korean,
}

/// Those in which every one of the characters may stand (UTS 39 §5.1); `None`: any.
fn systems(characters: impl Iterator<Item = char>) -> Option<SmallVec<[System; 8]>> {
    let mut all: Option<SmallVec<[System; 8]>> = None;
    for character in characters {
        let Some(these) = systems_of(character) else { continue };
        match &mut all {
            Some(all) => all.retain(|system| these.contains(system)),
            None => all = Some(these),
        }
    }
    all
}

fn systems_of(character: char) -> Option<SmallVec<[System; 8]>> {
    use System::{Chinese, Japanese, Korean, Of};
    let mut systems = SmallVec::new();
    for script in ScriptWithExtensions::new().get_script_extensions_val(character).iter() {
        systems.push(Of(script));
        match script {
            Script::Common | Script::Inherited => return None,
            Script::Han => systems.extend([Chinese, Japanese, Korean]),
            Script::Hiragana | Script::Katakana => systems.push(Japanese),
            Script::Hangul => systems.push(Korean),
            Script::Bopomofo => systems.push(Chinese),
            _ => {}
        }
    }
    Some(systems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_13_names_of_one_script_and_of_those_that_are_written_together() {
        for name in [
            "paypal",
            "münchen",
            "сбербанк",
            "ελλάδα",
            "ไทย",
            "日本語",
            "日本のテレビ",
            "日本テレビnews",
            "한국어",
            "한국kbs",
            "注音ㄅㄆㄇ",
            // What belongs to every script.
            "сбер-24_7",
            "а\u{301}",
            // The prolonged sound mark is of both kana.
            "ラーメン",
            "",
        ] {
            assert!(!mixed(name), "{name}");
        }
    }

    #[test]
    fn sec_13_names_that_mix_scripts() {
        for name in [
            // Cyrillic а, then о, in a Latin word; a Latin o in a Cyrillic one.
            "p\u{430}ypal",
            "micr\u{43e}soft",
            "сбербанкo",
            // A Greek ο and ν.
            "g\u{3bf}ogle",
            "\u{3bd}ideo",
            "ไทยx",
            // Kana and Hangul are not written together, nor is Cyrillic with Han.
            "カ한",
            "日本ж",
            "日本aж",
        ] {
            assert!(mixed(name), "{name}");
        }
    }
}
