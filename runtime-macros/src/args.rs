//! The options between the parentheses of an attribute, and the builder calls they stand for.

use proc_macro::{Delimiter, Group, Ident, Literal, Span, TokenStream, TokenTree};

use crate::error::Error;
use crate::token::{code, is_punct};

/// Which of the two attributes is expanded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attribute {
    Main,
    Test,
}

impl Attribute {
    /// As a user writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Attribute::Main => "#[runtime::main]",
            Attribute::Test => "#[runtime::test]",
        }
    }

    fn known(self) -> &'static str {
        match self {
            Attribute::Main => "`worker_threads`, `flavor`, `name`, `graceful` and `crate`",
            Attribute::Test => "`worker_threads`, `flavor`, `name`, `start_paused` and `crate`",
        }
    }
}

/// The options of one attribute, every value checked.
#[derive(Default)]
pub(crate) struct Options {
    seen: Vec<String>,
    krate: Option<TokenStream>,
    flavor: Option<Flavor>,
    /// The whole option, to point at, and the number.
    worker_threads: Option<(Vec<TokenTree>, Literal)>,
    name: Option<Literal>,
    start_paused: Option<Ident>,
    /// In milliseconds.
    graceful: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flavor {
    MultiThread,
    CurrentThread,
}

impl Options {
    /// Reads all options, and the first error among them.
    ///
    /// An error does not hide the options after it: with `crate = ..` among them the function can still be
    /// expanded without an error of its own (I3).
    pub(crate) fn parse(attribute: Attribute, args: TokenStream) -> (Options, Option<Error>) {
        let mut options = Options::default();
        let mut error = None;
        let tokens = ungrouped(args);
        for option in tokens.split_inclusive(|token| is_punct(token, ',')) {
            if let Err(found) = options.set(attribute, option) {
                error.get_or_insert(found);
            }
        }
        if let Err(found) = options.check() {
            error.get_or_insert(found);
        }
        (options, error)
    }

    /// The path of the `runtime` crate.
    pub(crate) fn path(&self) -> TokenStream {
        self.krate.clone().unwrap_or_else(|| code("::runtime"))
    }

    /// The name of the function in `runtime::__private` that runs the body, and what it takes between the builder and
    /// the body.
    pub(crate) fn entry(&self, attribute: Attribute) -> (&'static str, TokenStream) {
        match (attribute, self.graceful) {
            (Attribute::Test, _) => ("test", TokenStream::new()),
            (Attribute::Main, None) => ("main", TokenStream::new()),
            (Attribute::Main, Some(grace)) => {
                ("main_gracefully", code(&format!("::core::time::Duration::from_millis({grace}u64),")))
            }
        }
    }

    /// The calls after `Builder::new()`.
    pub(crate) fn builder_calls(&self) -> TokenStream {
        let mut calls = TokenStream::new();
        if let Some((_, number)) = &self.worker_threads {
            calls.extend(call("worker_threads", number.clone().into()));
        }
        if self.flavor == Some(Flavor::CurrentThread) {
            calls.extend(code(".current_thread()"));
        }
        if let Some(name) = &self.name {
            calls.extend(call("name", name.clone().into()));
        }
        if let Some(paused) = &self.start_paused {
            calls.extend(call("start_paused", paused.clone().into()));
        }
        calls
    }

    /// Takes one option, with the comma after it if there is one.
    fn set(&mut self, attribute: Attribute, option: &[TokenTree]) -> Result<(), Error> {
        let option = match option {
            [comma] if is_punct(comma, ',') => return Err(Error::at(comma.span(), "remove this comma")),
            [option @ .., comma] if is_punct(comma, ',') => option,
            _ => option,
        };
        let [TokenTree::Ident(key), rest @ ..] = option else {
            let known = attribute.known();
            return Err(Error::over(option, format!("expected `option = value`; the options are {known}")));
        };
        let key = key.to_string();
        let example = example(attribute, &key).map_err(|message| Error::at(option[0].span(), message))?;
        if self.seen.contains(&key) {
            return Err(Error::over(option, format!("`{key}` is set twice: remove one of the two")));
        }
        let value = match rest {
            [equals, value @ ..] if is_punct(equals, '=') && !value.is_empty() => value,
            _ => return Err(Error::over(option, format!("`{key}` needs a value: `{example}`"))),
        };
        if value.iter().any(|token| is_punct(token, '=')) {
            return Err(Error::over(value, "write a comma between two options"));
        }
        match key.as_str() {
            "worker_threads" => self.worker_threads = Some((option.to_vec(), worker_threads(value)?)),
            "flavor" => self.flavor = Some(flavor(value)?),
            "name" => self.name = Some(name(value)?),
            "start_paused" => self.start_paused = Some(start_paused(value)?),
            "graceful" => self.graceful = Some(graceful(option, value)?),
            _ => self.krate = Some(krate(value)?),
        }
        self.seen.push(key);
        Ok(())
    }

    /// What only all options together can show.
    fn check(&self) -> Result<(), Error> {
        match (&self.worker_threads, self.flavor) {
            (Some((option, _)), Some(Flavor::CurrentThread)) => Err(Error::over(
                option,
                "a runtime of the flavor \"current_thread\" has no workers: remove `worker_threads`, \
                 or write `flavor = \"multi_thread\"`",
            )),
            _ => Ok(()),
        }
    }
}

/// How the option `key` is written; what to say if there is none.
fn example(attribute: Attribute, key: &str) -> Result<&'static str, String> {
    match key {
        "worker_threads" => Ok("worker_threads = 4"),
        "flavor" => Ok("flavor = \"current_thread\""),
        "name" => Ok("name = \"api\""),
        "crate" => Ok("crate = my_crate::runtime"),
        "graceful" if attribute == Attribute::Main => Ok("graceful = \"5s\""),
        "graceful" => Err("only `#[runtime::main]` takes `graceful`: remove it".into()),
        "start_paused" if attribute == Attribute::Test => Ok("start_paused = true"),
        "start_paused" => Err("only `#[runtime::test]` takes `start_paused`: remove it, \
                               or build the runtime with `Runtime::builder().start_paused(true)`"
            .into()),
        "multi_thread" | "current_thread" => {
            Err(format!("`{key}` is a flavor, not an option: write `flavor = \"{key}\"`"))
        }
        _ => {
            let known = attribute.known();
            Err(format!("unknown option `{key}`; the options of `{}` are {known}", attribute.name()))
        }
    }
}

fn worker_threads(value: &[TokenTree]) -> Result<Literal, Error> {
    let error = || {
        let message = "`worker_threads` must be an integer literal of at least 1, such as `worker_threads = 4`; \
                       for a computed number use `Runtime::builder()`";
        Error::over(value, message)
    };
    let [TokenTree::Literal(literal)] = value else { return Err(error()) };
    match integer(&literal.to_string()) {
        Some(number) if number > 0 => {
            let mut number = Literal::usize_unsuffixed(number);
            number.set_span(literal.span());
            Ok(number)
        }
        _ => Err(error()),
    }
}

fn flavor(value: &[TokenTree]) -> Result<Flavor, Error> {
    match string(value).as_deref() {
        Some("multi_thread") => Ok(Flavor::MultiThread),
        Some("current_thread") => Ok(Flavor::CurrentThread),
        _ => Err(Error::over(value, "`flavor` must be \"multi_thread\" or \"current_thread\"")),
    }
}

fn name(value: &[TokenTree]) -> Result<Literal, Error> {
    match value {
        [TokenTree::Literal(literal)] if string(value).is_some() => Ok(literal.clone()),
        _ => Err(Error::over(value, "`name` must be a string literal, such as `name = \"api\"`")),
    }
}

fn start_paused(value: &[TokenTree]) -> Result<Ident, Error> {
    match value {
        [TokenTree::Ident(word)] if matches!(word.to_string().as_str(), "true" | "false") => Ok(word.clone()),
        _ => Err(Error::over(value, "`start_paused` must be `true` or `false`")),
    }
}

/// A length of time, in milliseconds.
fn graceful(option: &[TokenTree], value: &[TokenTree]) -> Result<u64, Error> {
    let message =
        "`graceful` must be a whole number of `ms`, `s` or `m` in a string, such as `graceful = \"5s\"`";
    let millis =
        string(value).as_deref().and_then(milliseconds).ok_or_else(|| Error::over(value, message))?;
    if cfg!(feature = "signal") {
        return Ok(millis);
    }
    let message = "`graceful` needs the feature `signal` of the crate `runtime`: add it in Cargo.toml, \
                   `runtime = { .., features = [\"signal\"] }`";
    Err(Error::over(option, message))
}

/// `500ms`, `5s` or `1m`.
fn milliseconds(text: &str) -> Option<u64> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let factor = match &text[unit..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return None,
    };
    text[..unit].parse::<u64>().ok()?.checked_mul(factor)
}

/// A path, or one in a string: serde and tokio taught people the latter.
fn krate(value: &[TokenTree]) -> Result<TokenStream, Error> {
    let unquoted = string(value).and_then(|text| text.parse::<TokenStream>().ok());
    let path: Vec<TokenTree> = match unquoted {
        Some(path) => path.into_iter().map(|token| respanned(token, value[0].span())).collect(),
        None => value.to_vec(),
    };
    if is_path(&path) {
        return Ok(path.into_iter().collect());
    }
    let message = "`crate` must be the path of the `runtime` crate, such as `crate = my_crate::runtime`";
    Err(Error::over(value, message))
}

/// Whether `tokens` are `a`, `a::b` or `::a::b`, of any length.
fn is_path(tokens: &[TokenTree]) -> bool {
    let relative = match tokens {
        [a, b, rest @ ..] if is_punct(a, ':') && is_punct(b, ':') => rest,
        _ => tokens,
    };
    relative.chunks(3).all(|segment| match segment {
        [TokenTree::Ident(_)] => true,
        [TokenTree::Ident(_), a, b] => is_punct(a, ':') && is_punct(b, ':'),
        _ => false,
    }) && relative.len() % 3 == 1
}

/// What a string literal holds. One with escapes is handed out as written: no value of ours needs any.
fn string(value: &[TokenTree]) -> Option<String> {
    let [TokenTree::Literal(literal)] = value else { return None };
    let text = literal.to_string();
    let quoted = match text.strip_prefix('r') {
        Some(raw) => raw.trim_matches('#'),
        None => text.as_str(),
    };
    Some(quoted.strip_prefix('"')?.strip_suffix('"')?.to_owned())
}

/// The value of an integer literal in any base, with underscores, perhaps with the suffix `usize`.
fn integer(text: &str) -> Option<usize> {
    let digits = text.replace('_', "");
    let digits = digits.strip_suffix("usize").unwrap_or(&digits);
    match digits.get(..2) {
        Some("0x") => usize::from_str_radix(&digits[2..], 16).ok(),
        Some("0o") => usize::from_str_radix(&digits[2..], 8).ok(),
        Some("0b") => usize::from_str_radix(&digits[2..], 2).ok(),
        _ => digits.parse().ok(),
    }
}

/// `.method(argument)`.
fn call(method: &str, argument: TokenTree) -> TokenStream {
    let mut tokens = code(&format!(".{method}"));
    tokens.extend([TokenTree::from(Group::new(Delimiter::Parenthesis, argument.into()))]);
    tokens
}

/// The tokens without the invisible groups in which `macro_rules!` hands on `$x:expr` and the like.
fn ungrouped(tokens: TokenStream) -> Vec<TokenTree> {
    let mut flat = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
                flat.extend(ungrouped(group.stream()));
            }
            token => flat.push(token),
        }
    }
    flat
}

fn respanned(mut token: TokenTree, span: Span) -> TokenTree {
    token.set_span(span);
    token
}
