//! Functions that are left out, by reason, for messages.

use std::borrow::Cow;

/// The number of names in a message.
const MAX_NAMED: usize = 3;

/// The functions that are left out, by reason.
#[derive(Debug, Default)]
pub struct Refused(Vec<(Cow<'static, str>, Vec<String>)>);

impl Refused {
    /// Adds a function.
    pub fn add(&mut self, name: &str, reason: impl Into<Cow<'static, str>>) {
        let reason = reason.into();
        match self.0.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(name.to_owned()),
            None => self.0.push((reason, vec![name.to_owned()])),
        }
    }

    /// Returns the reasons, each after the names of its first functions with a prefix.
    pub fn by_reason(&self, prefix: &str) -> impl Iterator<Item = (String, &str)> {
        self.0.iter().map(move |(reason, names)| {
            let names: Vec<String> = names.iter().map(|name| format!("{prefix}{name}")).collect();
            (first_names(names.iter().map(String::as_str)), &**reason)
        })
    }
}

/// Joins the first names, and says how many more there are.
pub fn first_names<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> String {
    let more = match names.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let first: Vec<&str> = names.take(MAX_NAMED).collect();
    format!("{}{more}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_first_functions_of_each_reason() {
        let mut refused = Refused::default();
        for n in 0..5 {
            refused.add(&format!("main.f{n}"), "first");
        }
        refused.add("main.g", "second");
        let found: Vec<(String, &str)> = refused.by_reason("func:").collect();
        assert_eq!(
            found,
            [
                ("func:main.f0, func:main.f1, func:main.f2 and 2 more".to_owned(), "first"),
                ("func:main.g".to_owned(), "second"),
            ]
        );
    }
}
