//! Patterns of function names, as selectors write them.

use std::fmt;
use wildmatch::WildMatchPattern;

/// The provider of function probes.
pub const FUNCTIONS: &str = "func";
/// The suffix of names of probes at the returns of a function.
pub const RETURN: &str = "%return";

/// Wildcards that no symbol contains, in place of `*` and `?`.
const ANY: char = '\u{1}';
const ONE: char = '\u{2}';

/// A pattern of symbols: `*` matches any characters and `?` matches one. The asterisk of `(*` is
/// that of a receiver, not a wildcard.
///
/// ```
/// use gobinary::symbol_pattern::SymbolPattern;
///
/// assert!(SymbolPattern::new("main.(*Store).*").matches("main.(*Store).Get"));
/// assert!(!SymbolPattern::new("main.(*).Get").matches("main.(*Store).Get"));
/// ```
#[derive(Clone, Debug)]
pub struct SymbolPattern(WildMatchPattern<ANY, ONE>);

impl SymbolPattern {
    /// Creates a pattern. Every string is valid.
    pub fn new(pattern: &str) -> SymbolPattern {
        let mut before = None;
        let translate = |c| {
            let is_receiver = before.replace(c) == Some('(');
            match c {
                '*' if !is_receiver => ANY,
                '?' => ONE,
                c => c,
            }
        };
        let pattern: String = pattern.chars().map(translate).collect();
        SymbolPattern(WildMatchPattern::new(&pattern))
    }

    /// Returns true if a symbol matches.
    pub fn matches(&self, symbol: &str) -> bool {
        self.0.matches(symbol)
    }
}

/// A pattern of functions, at their entries or at their returns: `SYMBOL` or `SYMBOL%return`.
#[derive(Clone, Debug)]
pub struct FunctionPattern {
    symbol: SymbolPattern,
    /// True for the returns of the functions, false for their entries.
    pub is_return: bool,
    pattern: String,
}

impl FunctionPattern {
    /// Creates a pattern. Every string is valid.
    pub fn new(pattern: &str) -> FunctionPattern {
        let (symbol, is_return) = match pattern.strip_suffix(RETURN) {
            Some(symbol) => (symbol, true),
            None => (pattern, false),
        };
        FunctionPattern {
            symbol: SymbolPattern::new(symbol),
            is_return,
            pattern: pattern.to_owned(),
        }
    }

    /// Parses a glob such as `func:SYMBOL`; `None` if its provider is not `func`. Without a symbol, it
    /// is that of all functions.
    pub fn parse(glob: &str) -> Option<FunctionPattern> {
        let pattern = glob.strip_prefix(FUNCTIONS)?.strip_prefix(':')?;
        let any = if pattern.is_empty() || pattern == RETURN { "*" } else { "" };
        let function = FunctionPattern::new(&format!("{any}{pattern}"));
        Some(FunctionPattern { pattern: glob.to_owned(), ..function })
    }

    /// Returns true if the name of a function matches.
    pub fn matches_symbol(&self, symbol: &str) -> bool {
        self.symbol.matches(symbol)
    }

    /// Returns true if the name of a function probe matches.
    pub fn matches(&self, probe: &str) -> bool {
        match probe.strip_suffix(RETURN) {
            Some(symbol) => self.is_return && self.matches_symbol(symbol),
            None => !self.is_return && self.matches_symbol(probe),
        }
    }
}

impl fmt::Display for FunctionPattern {
    /// Writes the pattern as it was given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}
