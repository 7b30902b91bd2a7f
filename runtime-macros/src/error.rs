//! What is wrong with an attribute, and where: the one way this crate reports it.

use proc_macro::{Delimiter, Group, Literal, Span, TokenStream, TokenTree};

use crate::token::code;

/// A message over the source between two spans, because `Span::join` is not stable.
pub(crate) struct Error {
    first: Span,
    last: Span,
    message: String,
}

impl Error {
    pub(crate) fn at(span: Span, message: impl Into<String>) -> Error {
        Error { first: span, last: span, message: message.into() }
    }

    /// Over all of `tokens`; over the attribute if there are none.
    pub(crate) fn over(tokens: &[TokenTree], message: impl Into<String>) -> Error {
        let first = tokens.first().map_or_else(Span::call_site, TokenTree::span);
        let last = tokens.last().map_or(first, TokenTree::span);
        Error { first, last, message: message.into() }
    }

    /// `::core::compile_error! { "message" }`, an item.
    ///
    /// rustc marks the source from the first token of a macro call to the last, so only their spans matter.
    pub(crate) fn into_compile_error(self) -> TokenStream {
        let message = TokenStream::from(TokenTree::from(Literal::string(&self.message)));
        let mut tokens: Vec<TokenTree> = code("::core::compile_error!").into_iter().collect();
        tokens.push(Group::new(Delimiter::Brace, message).into());
        for (index, token) in tokens.iter_mut().enumerate() {
            // With a span located at the place but resolved here, rustc would add a note on macro backtraces.
            token.set_span(if index == 0 { self.first } else { self.last });
        }
        tokens.into_iter().collect()
    }
}
