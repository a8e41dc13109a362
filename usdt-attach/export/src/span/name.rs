//! Names of spans.

use super::attribute;
use crate::pairs::work_name;
use usdt_attach::event::Event;

/// What the name of a span is made of, as known at its start.
pub(super) struct NameValues {
    /// The name without a template.
    default_name: String,
    /// The arguments of the start that the template contains and that are not empty.
    values: Vec<(String, String)>,
}

impl NameValues {
    pub(super) fn of_start(template: Option<&str>, event: &Event<'_>) -> NameValues {
        let mut values = Vec::new();
        if let Some(template) = template {
            fill(template, |name| {
                values.extend(value(event, name).map(|value| (name.to_owned(), value)));
                None
            });
        }
        NameValues { default_name: default_name(event), values }
    }

    /// The name of a span that has ended. Arguments that are not those of the start are taken from
    /// the end.
    pub(super) fn with_end(&self, template: Option<&str>, event: &Event<'_>) -> String {
        self.name(template, |name| value(event, name))
    }

    /// The name of a span whose end is not known.
    pub(super) fn without_end(&self, template: Option<&str>) -> String {
        self.name(template, |_| None)
    }

    /// Fills the template. Spaces around the name are left out: they are next to an argument that
    /// is empty, such as the route of a request that matches none.
    fn name(&self, template: Option<&str>, end: impl Fn(&str) -> Option<String>) -> String {
        let Some(template) = template else { return self.default_name.clone() };
        let filled = fill(template, |name| {
            let start = self.values.iter().find(|(known, _)| known == name);
            start.map(|(_, value)| value.clone()).or_else(|| end(name))
        });
        match filled.trim() {
            "" => self.default_name.clone(),
            name => name.to_owned(),
        }
    }
}

/// The value of an argument; `None` if there is none or if it is empty.
fn value(event: &Event<'_>, name: &str) -> Option<String> {
    let value = event.arg(name).and_then(attribute)?.to_string();
    (!value.is_empty()).then_some(value)
}

/// The name of a span without a template: the name of the start without its suffix.
fn default_name(event: &Event<'_>) -> String {
    format!("{}:{}", event.probe.provider, work_name(event.probe))
}

/// Replaces each `{ARGUMENT}` by the value of that argument, or by nothing if there is none.
fn fill(template: &str, mut value: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            out.push('{');
            rest = after;
            continue;
        };
        out.push_str(&value(name).unwrap_or_default());
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(values: &[(&str, &str)]) -> NameValues {
        let values = values.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        NameValues { default_name: "http:request".to_owned(), values }
    }

    #[test]
    fn takes_arguments_of_the_end_that_the_start_does_not_have() {
        let start = values(&[("method", "GET")]);
        let end = |name: &str| match name {
            "method" => Some("other".to_owned()),
            "route" => Some("/items/{id}".to_owned()),
            _ => None,
        };
        let template = Some("{method} {route}");
        assert_eq!(start.name(template, end), "GET /items/{id}");
        assert_eq!(start.without_end(template), "GET");
        assert_eq!(values(&[]).name(template, end), "other /items/{id}");
    }

    #[test]
    fn falls_back_to_the_name_of_the_probe() {
        assert_eq!(values(&[]).without_end(Some("{method} {route}")), "http:request");
        assert_eq!(values(&[]).without_end(None), "http:request");
        assert_eq!(values(&[("kind", "read")]).without_end(Some("{kind} {")), "read {");
    }
}
