//! Tokens: how to write them and how to recognize them.

use proc_macro::{TokenStream, TokenTree};

/// Tokens of ours, with the call site's span (I2).
pub(crate) fn code(source: &str) -> TokenStream {
    source.parse().expect("BUG: the macro's own source is valid Rust")
}

pub(crate) fn is_ident(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident.to_string() == word)
}

pub(crate) fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}
