//! Patterns of function names, as selectors write them.

use wildmatch::WildMatchPattern;

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
