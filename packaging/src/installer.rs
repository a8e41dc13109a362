//! `install.sh`, which knows where the releases are.

use crate::Release;
use crate::error::{Error, Result, read_text, write};
use std::path::PathBuf;

/// The line of the script that a release replaces.
const REPOSITORY: &str = "repository=''\n";

/// Copies the script to the output, and returns its path. With `repository`, the URL of the forge's
/// repository, the script downloads releases from there by default.
///
/// # Errors
///
/// Fails if the URL is not one, or a file cannot be read or written.
pub fn write_installer(release: &Release, repository: Option<&str>) -> Result<PathBuf> {
    let mut script = read_text(&release.source.join("packaging/install.sh"))?;
    if script.matches(REPOSITORY).count() != 1 {
        return Err(Error::Unexpected(
            "packaging/install.sh has no single line `repository=''`".to_owned(),
        ));
    }
    if let Some(url) = repository {
        script = script.replace(REPOSITORY, &format!("repository='{}'\n", checked_url(url)?));
    }
    let output = release.output_file("install.sh")?;
    write(&output, script.as_bytes())?;
    Ok(output)
}

/// Returns the URL without a slash at its end. It becomes part of a script, so only the characters
/// that repositories use are accepted.
fn checked_url(url: &str) -> Result<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/".contains(c);
    let rest = url.strip_prefix("https://").unwrap_or_default();
    if rest.is_empty() || !rest.chars().all(is_plain) {
        let message = format!(
            "`{url}` is not the URL of a repository, such as https://example.com/user/repo"
        );
        return Err(Error::Unexpected(message));
    }
    Ok(url.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rejects_what_is_not_the_url_of_a_repository() {
        assert_eq!(checked_url("https://example.com/a/b/").ok(), Some("https://example.com/a/b"));
        for url in ["", "https://", "http://example.com", "https://e/'; rm -rf /; '", "git@e:a/b"] {
            assert!(checked_url(url).is_err(), "{url}");
        }
    }

    proptest! {
        #[test]
        fn accepted_urls_need_no_quoting(url in "https://[ -~\n]{0,20}") {
            if let Ok(url) = checked_url(&url) {
                prop_assert!(!url.contains(['\'', '\n', ' ', '$', '`', '\\']));
            }
        }
    }
}
