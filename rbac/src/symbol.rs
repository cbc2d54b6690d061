//! Strings as numbers: a policy names the same verbs, resources and users over and over.

use std::collections::HashMap;
use std::sync::Arc;

/// A string of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Symbol(u32);

impl Symbol {
    /// The empty string: no subresource, no name, the core API group; as a namespace, the cluster.
    pub(crate) const EMPTY: Self = Self(0);
    /// `*`.
    pub(crate) const ANY: Self = Self(1);
}

/// All strings of a policy.
#[derive(Debug, Clone)]
pub(crate) struct Symbols {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, Symbol>,
}

impl Default for Symbols {
    fn default() -> Self {
        let mut symbols = Self {
            texts: Vec::new(),
            numbers: HashMap::new(),
        };
        // In the order of the constants above.
        symbols.put("");
        symbols.put("*");
        symbols
    }
}

impl Symbols {
    /// The symbol of a string, a new one if need be.
    pub(crate) fn put(&mut self, text: &str) -> Symbol {
        if let Some(&symbol) = self.numbers.get(text) {
            return symbol;
        }
        #[allow(
            clippy::cast_possible_truncation,
            reason = "2^32 different strings fit no memory"
        )]
        let symbol = Symbol(self.texts.len() as u32);
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, symbol);
        symbol
    }

    /// The symbol of a string; none if the policy does not have it.
    pub(crate) fn find(&self, text: &str) -> Option<Symbol> {
        self.numbers.get(text).copied()
    }

    /// The string of a symbol.
    pub(crate) fn text(&self, symbol: Symbol) -> &str {
        self.texts.get(symbol.0 as usize).map_or("", |text| text)
    }
}
