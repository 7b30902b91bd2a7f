//! The function under an attribute: its parts, and whether it can be an entry point.

use std::iter::Peekable;
use std::vec::IntoIter;

use proc_macro::{Delimiter, Group, Ident, TokenStream, TokenTree};

use crate::args::Attribute;
use crate::error::Error;
use crate::token::{is_ident, is_punct};

/// An `async fn`, cut at the joints that the expansion needs.
pub(crate) struct Function {
    /// Doc comments, lints, `#[should_panic]` ...; a `#` and a group each.
    pub(crate) attributes: Vec<[TokenTree; 2]>,
    pub(crate) visibility: Vec<TokenTree>,
    /// `const`, `async`, `unsafe`, `extern "C"`.
    pub(crate) qualifiers: Vec<TokenTree>,
    /// The word `fn`.
    pub(crate) keyword: TokenTree,
    pub(crate) name: Ident,
    pub(crate) generics: Vec<TokenTree>,
    pub(crate) parameters: Group,
    /// `-> Type`, or nothing.
    pub(crate) output: Vec<TokenTree>,
    pub(crate) bounds: Vec<TokenTree>,
    /// Absent in a declaration, which ends in a semicolon.
    pub(crate) body: Option<Group>,
}

impl Function {
    /// Reads `item`. The error is for an item that has to be left as it is: it is no function, one that is
    /// already valid without being async, or a method.
    pub(crate) fn parse(attribute: Attribute, item: TokenStream) -> Result<Function, Error> {
        let mut tokens = Tokens::new(item);
        let attributes = tokens.attributes();
        let visibility = tokens.visibility();
        let start = Vec::from_iter(tokens.peek().cloned());
        let qualifiers = tokens.qualifiers();
        let no_function = || {
            let message = "goes on an `async fn`, not on another item: move or remove it";
            Error::over(&start, format!("`{}` {message}", attribute.name()))
        };
        let keyword = tokens.next_if(|token| is_ident(token, "fn")).ok_or_else(no_function)?;
        let Some(TokenTree::Ident(name)) = tokens.next() else { return Err(no_function()) };
        let generics = tokens.generics();
        let Some(TokenTree::Group(parameters)) = tokens.next() else { return Err(no_function()) };
        let (rest, body) = tokens.rest_and_body();
        let where_at = rest.iter().position(|token| is_ident(token, "where")).unwrap_or(rest.len());
        let (output, bounds) = rest.split_at(where_at);
        let (output, bounds) = (output.to_vec(), bounds.to_vec());
        let function = Function {
            attributes,
            visibility,
            qualifiers,
            keyword,
            name,
            generics,
            parameters,
            output,
            bounds,
            body,
        };
        function.check_kind(attribute).map(|()| function)
    }

    /// Why this cannot be an entry point, if it cannot.
    pub(crate) fn objection(&self, attribute: Attribute) -> Option<Error> {
        let name = attribute.name();
        let found = |tokens: &[TokenTree], advice: &str| {
            (!tokens.is_empty()).then(|| Error::over(tokens, format!("`{name}` {advice}")))
        };
        let qualifier = |word| self.qualifiers.iter().position(|token| is_ident(token, word));
        for (word, advice) in [
            ("const", "starts a runtime, which a `const fn` cannot: remove `const`"),
            ("unsafe", "has no caller who could keep an `unsafe fn`'s contract: remove `unsafe`"),
        ] {
            if let Some(at) = qualifier(word) {
                return found(&self.qualifiers[at..=at], advice);
            }
        }
        if let Some(at) = qualifier("extern") {
            return found(&self.qualifiers[at..], "calls the function as a Rust one: remove `extern`");
        }
        let parameters: Vec<TokenTree> = self.parameters.stream().into_iter().collect();
        found(&self.generics, "has no types to fill in: remove the generic parameters")
            .or_else(|| found(&parameters, arguments_advice(attribute)))
            .or_else(|| found(&self.bounds, "has no use for a `where` clause: remove it"))
            .or_else(|| self.missing_body(name))
            .or_else(|| self.second_entry(name))
    }

    /// The attributes but those that would make an entry point a second time.
    pub(crate) fn plain_attributes(&self) -> impl Iterator<Item = TokenTree> {
        self.attributes.iter().filter(|attribute| !is_entry(attribute)).flatten().cloned()
    }

    fn check_kind(&self, attribute: Attribute) -> Result<(), Error> {
        let name = attribute.name();
        if let Some(receiver) = receiver(&self.parameters) {
            let message = format!("`{name}` goes on a free function, not on a method: remove `self`");
            return Err(Error::at(receiver.span(), message));
        }
        if self.qualifiers.iter().any(|token| is_ident(token, "async")) {
            return Ok(());
        }
        let needs = |token: &TokenTree, advice| {
            Err(Error::at(token.span(), format!("`{name}` needs an `async fn`: {advice}")))
        };
        match (self.qualifiers.iter().find(|token| is_ident(token, "const")), attribute) {
            (Some(qualifier), _) => needs(qualifier, "write `async` for `const`"),
            (None, Attribute::Main) => needs(&self.keyword, "write `async fn`, or remove the attribute"),
            (None, Attribute::Test) => needs(&self.keyword, "write `async fn`, or use `#[test]`"),
        }
    }

    fn missing_body(&self, name: &str) -> Option<Error> {
        let message = format!("`{name}` needs a function body: write `{{ .. }}` for the semicolon");
        self.body.is_none().then(|| Error::at(self.name.span(), message))
    }

    fn second_entry(&self, name: &str) -> Option<Error> {
        let second = self.attributes.iter().find(|attribute| is_entry(attribute))?;
        let message =
            format!("the function is an entry point already because of `{name}`: remove this attribute");
        Some(Error::over(second, message))
    }
}

fn arguments_advice(attribute: Attribute) -> &'static str {
    match attribute {
        Attribute::Main => {
            "has no arguments to pass: remove them, and read the command line with `std::env::args()`"
        }
        Attribute::Test => "has no arguments to pass: remove them, and build the values in the body",
    }
}

/// The tokens of an item, with invisible groups opened where a part of it is looked for.
///
/// `macro_rules!` wraps `$vis:vis` and `$item:item` in such groups. The group of a type or of a body's
/// expression stays closed, because it holds their precedence.
struct Tokens(Peekable<IntoIter<TokenTree>>);

impl Tokens {
    fn new(stream: TokenStream) -> Tokens {
        Tokens(stream.into_iter().collect::<Vec<_>>().into_iter().peekable())
    }

    fn peek(&mut self) -> Option<&TokenTree> {
        while let Some(TokenTree::Group(group)) = self.0.peek() {
            if group.delimiter() != Delimiter::None {
                break;
            }
            let inner = group.stream();
            self.0.next();
            *self = Tokens::new(inner.into_iter().chain(self.0.by_ref()).collect());
        }
        self.0.peek()
    }

    fn next(&mut self) -> Option<TokenTree> {
        self.peek()?;
        self.0.next()
    }

    fn next_if(&mut self, wanted: impl Fn(&TokenTree) -> bool) -> Option<TokenTree> {
        if wanted(self.peek()?) { self.0.next() } else { None }
    }

    fn attributes(&mut self) -> Vec<[TokenTree; 2]> {
        let mut attributes = Vec::new();
        while let Some(hash) = self.next_if(|token| is_punct(token, '#')) {
            attributes.extend(self.next().map(|group| [hash, group]));
        }
        attributes
    }

    fn visibility(&mut self) -> Vec<TokenTree> {
        let mut visibility = Vec::from_iter(self.next_if(|token| is_ident(token, "pub")));
        if !visibility.is_empty() {
            visibility.extend(self.next_if(|token| matches!(token, TokenTree::Group(_))));
        }
        visibility
    }

    fn qualifiers(&mut self) -> Vec<TokenTree> {
        let is_qualifier = |token: &TokenTree| match token {
            TokenTree::Ident(word) => {
                matches!(word.to_string().as_str(), "const" | "async" | "unsafe" | "extern")
            }
            TokenTree::Literal(_) => true,
            _ => false,
        };
        std::iter::from_fn(|| self.next_if(is_qualifier)).collect()
    }

    /// `<..>`, or nothing.
    fn generics(&mut self) -> Vec<TokenTree> {
        let mut generics = Vec::new();
        let mut depth = 0;
        let mut in_arrow = false;
        while depth > 0 || self.peek().is_some_and(|token| is_punct(token, '<')) {
            let Some(token) = self.next() else { break };
            if is_punct(&token, '<') {
                depth += 1;
            }
            if is_punct(&token, '>') && !in_arrow {
                depth -= 1;
            }
            // The `>` of `->` closes nothing.
            in_arrow = is_punct(&token, '-');
            generics.push(token);
            if depth == 0 {
                break;
            }
        }
        generics
    }

    /// What stands between the parameters and the body, and the body.
    fn rest_and_body(self) -> (Vec<TokenTree>, Option<Group>) {
        let mut rest: Vec<TokenTree> = self.0.collect();
        let body = rest.pop().and_then(block);
        (rest, body)
    }
}

/// The block in `token`, which may be wrapped as `$body:block` is.
fn block(token: TokenTree) -> Option<Group> {
    match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(group),
        TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
            group.stream().into_iter().next().and_then(block)
        }
        _ => None,
    }
}

/// The `self` among `parameters`.
fn receiver(parameters: &Group) -> Option<TokenTree> {
    let first =
        parameters.stream().into_iter().take_while(|token| !is_punct(token, ',') && !is_punct(token, ':'));
    first.into_iter().find(|token| is_ident(token, "self"))
}

/// Whether an attribute makes a function a test or a main function by itself.
fn is_entry([_, attribute]: &[TokenTree; 2]) -> bool {
    let TokenTree::Group(group) = attribute else { return false };
    let path = group.stream().into_iter().take_while(|token| !matches!(token, TokenTree::Group(_)));
    let path: String = path.map(|token| token.to_string()).collect();
    match path.trim_start_matches("::") {
        "test" | "runtime::main" | "runtime::test" => true,
        path => {
            let standard = path.starts_with("core::prelude::") || path.starts_with("std::prelude::");
            standard && path.ends_with("::test")
        }
    }
}
