//! What an attribute turns its function into.

use proc_macro::{Delimiter, Group, Span, TokenStream, TokenTree};

use crate::args::{Attribute, Options};
use crate::error::Error;
use crate::function::Function;
use crate::token::{code, is_ident};

/// The inner function's name. Items are not hygienic, so it must be one that no body says.
const BODY: &str = "__runtime_body";

/// Expands one attribute. With an error, the function comes as near to the user's as still compiles (I3).
pub(crate) fn expand(attribute: Attribute, args: TokenStream, item: TokenStream) -> TokenStream {
    let (options, mut error) = Options::parse(attribute, args);
    let mut expansion = match Function::parse(attribute, item.clone()) {
        Err(found) => {
            error.get_or_insert(found);
            item
        }
        Ok(function) => match function.objection(attribute) {
            Some(found) => {
                error.get_or_insert(found);
                stand_in(&function)
            }
            None => entry(attribute, &options, &function),
        },
    };
    expansion.extend(error.map(Error::into_compile_error));
    expansion
}

/// The function that starts the runtime and hands it the user's body.
fn entry(attribute: Attribute, options: &Options, function: &Function) -> TokenStream {
    // An import, because of two full paths a wrong one would be reported twice.
    let mut inner = code("use");
    inner.extend(options.path());
    inner.extend(code("::{Builder as __RuntimeBuilder, __private as __runtime};"));

    inner.extend(code(&format!("async fn {BODY}")));
    inner.extend([TokenTree::from(function.parameters.clone())]);
    inner.extend(function.output.clone());
    inner.extend(function.body.clone().map(TokenTree::from));

    let mut arguments = code("__RuntimeBuilder::new()");
    arguments.extend(options.builder_calls());
    let (run, more) = options.entry(attribute);
    arguments.extend(code(","));
    arguments.extend(more);
    arguments.extend(code(&format!("{BODY}()")));
    inner.extend(code(&format!("__runtime::{run}")));
    inner.extend([TokenTree::from(Group::new(Delimiter::Parenthesis, arguments))]);

    let mut outer = TokenStream::new();
    if attribute == Attribute::Test {
        // The path, because `test` itself may be shadowed, by `use runtime::test` to begin with.
        outer.extend(code("#[::core::prelude::v1::test]"));
    }
    outer.extend(function.attributes.iter().flatten().cloned());
    outer.extend(signature(function, function.output.clone()));
    let mut block = Group::new(Delimiter::Brace, inner);
    block.set_span(function.body.as_ref().map_or_else(Span::call_site, Group::span));
    outer.extend([TokenTree::from(block)]);
    outer
}

/// A function that others can call and that checks the body, for one that cannot be an entry point.
fn stand_in(function: &Function) -> TokenStream {
    let mut inner = code("#[allow(dead_code)] async");
    let unsafe_or_not = function.qualifiers.iter().filter(|token| is_ident(token, "unsafe"));
    inner.extend(unsafe_or_not.cloned());
    inner.extend(code(&format!("fn {BODY}")));
    inner.extend(function.generics.clone());
    inner.extend([TokenTree::from(function.parameters.clone())]);
    inner.extend(function.output.clone());
    inner.extend(function.bounds.clone());
    inner.extend(function.body.clone().map(TokenTree::from));
    if function.body.is_none() {
        inner = TokenStream::new();
    }
    // A loop is of every type that can be written outside: all but `impl Trait` and the generic ones.
    let output = if function.generics.is_empty() && !mentions_impl(function.output.iter().cloned()) {
        inner.extend(code("loop {}"));
        function.output.clone()
    } else {
        Vec::new()
    };
    let mut outer: TokenStream = function.plain_attributes().collect();
    outer.extend(signature(function, output));
    outer.extend([TokenTree::from(Group::new(Delimiter::Brace, inner))]);
    outer
}

/// `pub fn name() -> Output`.
fn signature(function: &Function, output: Vec<TokenTree>) -> TokenStream {
    let mut tokens: TokenStream = function.visibility.iter().cloned().collect();
    let mut parameters = Group::new(Delimiter::Parenthesis, TokenStream::new());
    parameters.set_span(function.parameters.span());
    let named: [TokenTree; 3] = [function.keyword.clone(), function.name.clone().into(), parameters.into()];
    tokens.extend(named);
    tokens.extend(output);
    tokens
}

fn mentions_impl(tokens: impl IntoIterator<Item = TokenTree>) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) => mentions_impl(group.stream()),
        token => is_ident(&token, "impl"),
    })
}
