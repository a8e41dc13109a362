//! The words of GOFLAGS. The go command splits it at spaces, and knows single and double quotes
//! around a word, but no escapes.

use super::plan::FLAG;

/// Quotes a word if necessary. The error is a message for the user.
pub(super) fn quote(word: &str) -> Result<String, String> {
    let is_plain = |c: char| !c.is_whitespace() && c != '\'' && c != '"';
    if word.chars().all(is_plain) {
        return Ok(word.to_owned());
    }
    ['\'', '"']
        .into_iter()
        .find(|mark| !word.contains(*mark))
        .map(|mark| format!("{mark}{word}{mark}"))
        .ok_or_else(|| format!("GOFLAGS cannot hold both kinds of quotes: {word}"))
}

/// Splits GOFLAGS into words without their quotes.
fn split(flags: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = flags.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = if first == '\'' || first == '"' {
            let inner = rest.get(1..).unwrap_or_default();
            inner.split_once(first).unwrap_or((inner, ""))
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            rest.split_at(end)
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

/// Returns the flags that `usdt-gen inject` did not print.
pub(crate) fn foreign(flags: &str) -> Vec<String> {
    let is_own = |word: &str| {
        let word = word.strip_prefix('-').unwrap_or(word);
        word.strip_prefix("-toolexec=")
            .or_else(|| word.strip_prefix("toolexec="))
            .is_some_and(|tools| tools.contains("usdt-gen") || tools.contains("--inject="))
            || word.contains("gcflags=") && word.contains(&format!("={FLAG}"))
    };
    split(flags).into_iter().filter(|word| !is_own(word)).collect()
}

/// Joins words to a value of GOFLAGS. The error is a message for the user.
pub(crate) fn join(words: &[String]) -> Result<String, String> {
    Ok(words.iter().map(|word| quote(word)).collect::<Result<Vec<_>, _>>()?.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keeps_the_flags_of_others() {
        let flags = "-mod=mod '-toolexec=/x/usdt-gen toolexec --inject=1' -gcflags=a=-usdt=2 '-gcflags=all=-N -l'";
        assert_eq!(foreign(flags), ["-mod=mod", "-gcflags=all=-N -l"]);
        assert!(quote("'\" ").is_err());
    }

    proptest! {
        #[test]
        fn joined_words_are_split_again(words in proptest::collection::vec("[a-z=,'/ -]{1,8}", 0..5)) {
            let words: Vec<String> = words.into_iter().filter(|w| !w.trim().is_empty()).collect();
            prop_assert_eq!(split(&join(&words).unwrap()), words);
        }
    }
}
