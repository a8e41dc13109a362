//! Presets: rule files for libraries that many programs use.
//!
//! They are data: rule files as users write them, whose first comment says what they show. Their
//! rules are optional, because the functions of a library change with its versions.

/// A rule file that is part of this program.
#[derive(Debug)]
pub(crate) struct Preset {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

/// All presets, ordered by name.
pub(crate) const PRESETS: [Preset; 6] = [
    Preset { name: "gin", text: include_str!("presets/gin.toml") },
    Preset { name: "grpc", text: include_str!("presets/grpc.toml") },
    Preset { name: "kafka-go", text: include_str!("presets/kafka-go.toml") },
    Preset { name: "redis", text: include_str!("presets/redis.toml") },
    Preset { name: "sql", text: include_str!("presets/sql.toml") },
    Preset { name: "sql-drivers", text: include_str!("presets/sql-drivers.toml") },
];

impl Preset {
    /// Returns the preset with a name.
    pub(crate) fn find(name: &str) -> Option<&'static Preset> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// Returns what the preset is for: its first line, without the final period.
    pub(crate) fn summary(&self) -> &'static str {
        let line = self.text.lines().next().unwrap_or_default();
        line.trim_start_matches("# ").trim_end_matches('.')
    }

    /// Returns the name that messages about the preset's rules use.
    pub(crate) fn file_name(&self) -> String {
        format!("preset {}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::rules::RuleSet;

    #[test]
    fn presets_are_rule_files_with_a_header() {
        assert!(PRESETS.is_sorted_by_key(|preset| preset.name));
        for preset in &PRESETS {
            let mut set = RuleSet::default();
            set.add_file(&preset.file_name(), preset.text, false).unwrap();
            let header: Vec<&str> =
                preset.text.lines().take_while(|line| line.starts_with('#')).collect();
            assert!(header.len() >= 2, "{}: {header:?}", preset.name);
            assert!(preset.summary().contains(": "), "{}", preset.name);
            assert!(preset.text.lines().all(|line| line.len() <= 130), "{}", preset.name);
        }
    }

    /// A function of a third-party library may be missing in another version of it.
    #[test]
    fn rules_for_libraries_are_optional() {
        for preset in &PRESETS {
            let mut set = RuleSet::default();
            set.add_file(preset.name, preset.text, false).unwrap();
            for rule in &set.rules {
                let is_public = rule.package == "database/sql" && rule.matcher.args.is_none();
                assert!(
                    rule.matcher.optional || is_public || rule.matcher.probe == "db_begin",
                    "{}",
                    rule.func
                );
            }
        }
    }
}
