//! The plan of a build: rules, and for each package pattern the flag that selects them.
//!
//! `usdt-gen inject` writes the plan to the user's cache and prints flags for the go command.
//! `-toolexec` names the plan. `-gcflags=PATTERN=-usdt=KEY` marks the packages: the go command
//! hashes compiler flags, so a package is compiled again exactly if its key changes. The wrapper
//! removes the flag before the compiler sees it.

use super::go_flags::quote;
use super::pattern::{contains, is_wildcard, matches, overlaps};
use super::rules::{Rule, RuleSet};
use super::{InjectError, cached};
use crate::cache;
use crate::overlay;
use serde::{Deserialize, Serialize};
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use usdt_files::{Origin, TEXT_LIMIT, write_if_changed};

/// Version of the plan's format.
const VERSION: u32 = 3;
/// The compiler flag that marks a package. No compiler has it.
pub(crate) const FLAG: &str = "-usdt=";
/// Import path that the go command gives to a program of single files.
const SINGLE_FILES: &str = "command-line-arguments";

/// What a build injects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    version: u32,
    /// The rules and the files that they come from.
    pub(crate) rules: RuleSet,
    /// Import paths of the programs that rules for `main` apply to.
    programs: Vec<String>,
    /// Providers of the catalog, whose probes are added to the runtime and the standard library.
    pub(crate) providers: Vec<String>,
    /// Package patterns, a contained one after those that contain it.
    pub(crate) packages: Vec<PlannedPackages>,
}

/// The packages of one pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlannedPackages {
    /// Pattern of import paths.
    pub(crate) pattern: String,
    /// Identifies the rules that apply to the packages, and this program.
    pub(crate) key: String,
}

/// Compiler flags for a pattern of packages, as `-gcflags` takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CompilerFlags {
    /// Pattern of import paths, or `all`.
    pub(crate) pattern: String,
    /// The flags, separated by spaces.
    pub(crate) flags: String,
}

impl CompilerFlags {
    /// Parses `PATTERN=FLAGS`. The error is a message for the user.
    pub(crate) fn parse(text: &str) -> Result<CompilerFlags, String> {
        match text.split_once('=') {
            Some((pattern, flags)) if !pattern.starts_with('-') && !pattern.is_empty() => {
                Ok(CompilerFlags { pattern: pattern.to_owned(), flags: flags.to_owned() })
            }
            _ => Err(format!("no package pattern; write `all={text}` or `PATTERN={text}`")),
        }
    }

    /// Returns true if the flags are for all packages of a pattern.
    fn apply_to(&self, pattern: &str) -> bool {
        self.pattern == "all" || contains(&self.pattern, pattern)
    }
}

impl Plan {
    /// Makes the plan for rules and for providers of the catalog. `programs` are the import paths that
    /// rules for `main` apply to, and `tool` identifies this build of usdt-gen.
    pub(crate) fn new(
        rules: RuleSet,
        providers: Vec<String>,
        mut programs: Vec<String>,
        tool: &str,
    ) -> Plan {
        programs.push(SINGLE_FILES.to_owned());
        let mut plan = Plan { version: VERSION, rules, programs, providers, packages: Vec::new() };
        let mut patterns: Vec<&str> =
            plan.rules.rules.iter().flat_map(|rule| plan.patterns(rule)).collect();
        patterns.extend(overlay::packages(&plan.providers));
        patterns.sort_unstable();
        patterns.dedup();
        // The go command uses the last flag whose pattern matches.
        let depth = |pattern: &str| patterns.iter().filter(|p| contains(p, pattern)).count();
        let mut ordered: Vec<(usize, &str)> = patterns.iter().map(|p| (depth(p), *p)).collect();
        ordered.sort_unstable();
        let packages = ordered.into_iter().map(|(_, pattern)| PlannedPackages {
            pattern: pattern.to_owned(),
            key: plan.key(pattern, tool),
        });
        plan.packages = packages.collect();
        plan
    }

    /// Returns the package patterns of a rule.
    pub(crate) fn patterns<'a>(&'a self, rule: &'a Rule) -> Vec<&'a str> {
        if rule.package == "main" {
            self.programs.iter().map(String::as_str).collect()
        } else {
            vec![&rule.package]
        }
    }

    /// Returns the key of a pattern. It covers the rules that may apply to a package for which this
    /// pattern's flag counts. A rule whose pattern is contained has a later flag of its own.
    fn key(&self, pattern: &str, tool: &str) -> String {
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write(tool.as_bytes());
        for rule in &self.rules.rules {
            for other in self.patterns(rule) {
                if overlaps(other, pattern) && (other == pattern || !contains(pattern, other)) {
                    hasher.write(other.as_bytes());
                    hasher.write_u8(0);
                    hasher.write(&serde_json::to_vec(&rule.matcher).unwrap_or_default());
                }
            }
        }
        for provider in self.providers.iter().filter(|name| overlay::changes(name, pattern)) {
            hasher.write_u8(1);
            hasher.write(provider.as_bytes());
        }
        format!("{:016x}", hasher.finish())
    }

    /// Returns true if a package gets probes of the catalog.
    pub(crate) fn has_runtime_probes(&self, path: &str) -> bool {
        self.providers.iter().any(|name| overlay::changes(name, path))
    }

    /// Returns the rules that apply to a package, with their indices.
    pub(crate) fn rules_for(&self, path: &str) -> Vec<(usize, &Rule)> {
        let applies = |rule: &Rule| self.patterns(rule).iter().any(|p| matches(p, path));
        self.rules.rules.iter().enumerate().filter(|(_, rule)| applies(rule)).collect()
    }

    /// Returns the key with which the go command compiles a package; `None` if no rule applies.
    pub(crate) fn key_for(&self, path: &str) -> Option<&str> {
        let planned = self.packages.iter().rev().find(|p| matches(&p.pattern, path))?;
        Some(&planned.key)
    }

    /// Returns true if a rule names this package without a wildcard.
    pub(crate) fn is_named(&self, rule: &Rule) -> bool {
        rule.package != "main" && !is_wildcard(&rule.package)
    }

    /// Returns the plan's identity.
    pub(crate) fn id(&self) -> String {
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write(&self.to_json());
        format!("{:016x}", hasher.finish())
    }

    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Writes the plan to the user's cache.
    pub(crate) fn save(&self) -> Result<Vec<String>, InjectError> {
        let path = file(&self.id())?;
        cache::create_parent(&path)
            .map_err(|source| InjectError::Write { path: path.clone(), source })?;
        let warnings = write_if_changed(&path, &self.to_json(), Origin::New)?;
        // It may have been there.
        cached::mark_used(&path);
        Ok(warnings)
    }

    /// Notes that a build uses a plan, also if it compiles nothing and does not read it.
    pub(crate) fn mark_used(id: &str) {
        if is_id(id)
            && let Ok(path) = file(id)
        {
            cached::mark_used(&path);
        }
    }

    /// Reads a plan from the user's cache.
    pub(crate) fn load(id: &str) -> Result<Plan, InjectError> {
        if !is_id(id) {
            return Err(InjectError::UnknownPlan { id: id.to_owned() });
        }
        let path = file(id)?;
        let text = usdt_files::read(&path, TEXT_LIMIT)
            .map_err(|_| InjectError::UnknownPlan { id: id.to_owned() })?;
        let plan: Option<Plan> = serde_json::from_slice(&text).ok();
        plan.filter(|plan| plan.version == VERSION)
            .ok_or_else(|| InjectError::UnknownPlan { id: id.to_owned() })
    }

    /// Returns the value of GOFLAGS. `program` is the path of usdt-gen, `wrapper` a further wrapper
    /// of the go command's tools, and `flags` are the user's own compiler flags.
    pub(crate) fn go_flags(
        &self,
        program: &Path,
        wrapper: Option<&str>,
        flags: &[CompilerFlags],
    ) -> Result<String, String> {
        let program = quote(&program.to_string_lossy())?;
        let mut toolexec = format!("-toolexec={program} toolexec --inject={}", self.id());
        if let Some(wrapper) = wrapper {
            toolexec.push(' ');
            toolexec.push_str(wrapper);
        }
        let mut words = vec![quote(&toolexec)?];
        for CompilerFlags { pattern, flags } in flags {
            words.push(quote(&format!("-gcflags={pattern}={flags}"))?);
        }
        for PlannedPackages { pattern, key } in &self.packages {
            let mut flag = format!("-gcflags={pattern}={FLAG}{key}");
            for CompilerFlags { flags, .. } in flags.iter().filter(|flags| flags.apply_to(pattern))
            {
                flag.push(' ');
                flag.push_str(flags);
            }
            words.push(quote(&flag)?);
        }
        Ok(words.join(" "))
    }
}

/// Returns true for the identity of a plan, which is a part of a file name.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Returns the path of the plan with an identity.
fn file(id: &str) -> Result<PathBuf, InjectError> {
    cached::path(&format!("{}{id}.json", cached::PLAN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules<F: AsRef<str>>(functions: &[F]) -> RuleSet {
        let mut set = RuleSet::default();
        for function in functions {
            set.add_function(function.as_ref()).unwrap();
        }
        set
    }

    fn plan(functions: &[&str]) -> Plan {
        Plan::new(rules(functions), Vec::new(), vec!["x/cmd".into()], "tool")
    }

    #[test]
    fn a_new_rule_changes_only_the_keys_of_its_packages() {
        let before = plan(&["a/...:*", "a/b.F", "c.G"]);
        let after = plan(&["a/...:*", "a/b.F", "c.G", "a/b.H"]);
        for path in ["a", "a/x", "c"] {
            assert_eq!(before.key_for(path), after.key_for(path), "{path}");
        }
        assert_ne!(before.key_for("a/b"), after.key_for("a/b"));
        assert_eq!(before.key_for("d"), None);
        assert_ne!(before.id(), after.id());
    }

    #[test]
    fn rules_for_main_apply_to_programs() {
        let plan = plan(&["main.run"]);
        assert_eq!(plan.rules_for("x/cmd").len(), 1);
        assert_eq!(plan.rules_for(SINGLE_FILES).len(), 1);
        assert_eq!(plan.rules_for("main").len(), 0);
    }

    #[test]
    fn runtime_probes_mark_their_packages_only() {
        let plan = |functions: &[&str], providers: &[&str]| {
            let providers = providers.iter().map(|name| (*name).to_owned()).collect();
            Plan::new(rules(functions), providers, Vec::new(), "tool")
        };
        let both = plan(&["net/...:*"], &["net_http", "go"]);
        for package in ["runtime", "net/http", "net/http/internal/http2"] {
            assert!(both.has_runtime_probes(package), "{package}");
            assert_ne!(both.key_for(package), plan(&["net/...:*"], &[]).key_for(package));
        }
        assert_eq!(both.key_for("net/url"), plan(&["net/...:*"], &[]).key_for("net/url"));
        assert_eq!(both.key_for("runtime/debug"), None);
        // The go command uses the last flag that matches.
        let last = both.packages.iter().rev().find(|p| matches(&p.pattern, "net/http"));
        assert_eq!(last.map(|p| p.pattern.as_str()), Some("net/http"));
    }

    #[test]
    fn prints_flags_that_the_go_command_splits() {
        let plan = plan(&["a/...:*", "a/b.F"]);
        let flags = [CompilerFlags::parse("all=-N -l").unwrap()];
        let words = plan.go_flags(Path::new("/a b/usdt-gen"), None, &flags).unwrap();
        let expected = format!(
            "\"-toolexec='/a b/usdt-gen' toolexec --inject={}\" '-gcflags=all=-N -l' '-gcflags=a/...=-usdt={} -N -l' '-gcflags=a/b=-usdt={} -N -l'",
            plan.id(),
            plan.key_for("a/x").unwrap(),
            plan.key_for("a/b").unwrap(),
        );
        assert_eq!(words, expected);
        assert!(CompilerFlags::parse("-N").is_err());
    }

    fn functions() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec("[ab](/[ab]|/\\.\\.\\.)?:[FG]\\*?", 1..6)
    }

    proptest! {
        /// The key that counts for a package covers every rule that applies to it.
        #[test]
        fn changing_a_rule_changes_the_key_of_its_packages(
            functions in functions(), at in any::<prop::sample::Index>(), path in "[ab](/[ab])?"
        ) {
            let set = rules(&functions);
            let before = Plan::new(set.clone(), Vec::new(), Vec::new(), "tool");
            let mut changed = set;
            let at = at.index(changed.rules.len());
            changed.rules[at].matcher.form = "copy".to_owned();
            let after = Plan::new(changed, Vec::new(), Vec::new(), "tool");
            let applies = before.rules_for(&path).iter().any(|(i, _)| *i == at);
            if applies {
                prop_assert_ne!(before.key_for(&path), after.key_for(&path));
            }
        }

        #[test]
        fn plans_survive_their_json(functions in functions()) {
            let set = rules(&functions);
            let plan = Plan::new(set, vec!["sql".into()], vec!["x".into()], "tool");
            let read: Plan = serde_json::from_slice(&plan.to_json()).unwrap();
            prop_assert_eq!(read, plan);
        }
    }
}
