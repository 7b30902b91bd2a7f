//! The module tree is the architecture: imports flow one way, and unsafe code stays in the files that account for it.
//!
//! The layers are read from `docs/architecture.md` and the fence from `docs/unsafe.md`, so that the documents cannot
//! say something else than the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file: its path below `runtime/src`, and its text.
type Source = (PathBuf, String);

#[test]
fn imports_flow_one_way() {
    let bad = violations(&layers(), &sources());
    assert!(bad.is_empty(), "\n{}", bad.join("\n"));
}

#[test]
fn an_upward_import_is_found() {
    let mut sources = sources();
    let (_, text) =
        sources.iter_mut().find(|(path, _)| path == Path::new("cell/state.rs")).expect("a file of a layer");
    text.push_str("\nuse crate::{error::Error, scheduler::Shared};\n");
    let bad = violations(&layers(), &sources);
    assert_eq!(bad, ["cell/state.rs: cell must not import crate::scheduler"]);
}

#[test]
fn an_import_within_a_layer_is_found() {
    let sources = [("blocking.rs".into(), "use crate::scheduler::Shared;".to_owned())];
    assert_eq!(violations(&layers(), &sources), ["blocking.rs: blocking must not import crate::scheduler"]);
}

#[test]
fn a_path_through_super_that_leaves_the_module_is_found() {
    let sources = [("driver.rs".into(), "use super::scheduler::Shared;".to_owned())];
    let layers = vec![vec!["driver".to_owned()]];
    assert_eq!(violations(&layers, &sources), ["driver.rs: a top-level module must not use super::"]);
}

#[test]
fn unsafe_stays_fenced() {
    let fence = unsafe_files();
    let outside: Vec<_> =
        sources().into_iter().filter(|(path, text)| has_unsafe(text) && !fence.contains(path)).collect();
    assert!(outside.is_empty(), "unsafe outside of docs/unsafe.md: {:?}", paths(&outside));
}

#[test]
fn every_fenced_file_has_unsafe_code() {
    let sources = sources();
    for path in unsafe_files() {
        let (_, text) = sources
            .iter()
            .find(|(other, _)| *other == path)
            .expect("docs/unsafe.md names a file that exists");
        assert!(has_unsafe(text), "{} needs no entry in docs/unsafe.md", path.display());
    }
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| {
            !text.lines().find(|line| !line.starts_with("#!")).is_some_and(|line| line.starts_with("//!"))
        })
        .collect();
    assert!(silent.is_empty(), "files without a `//!` head: {:?}", paths(&silent));
}

#[test]
fn every_promise_names_tests_that_exist() {
    let missing: Vec<String> = held_by()
        .into_iter()
        .filter(|(file, test)| !has_test(file, test))
        .map(|(file, test)| format!("{file}::{test}"))
        .collect();
    assert!(missing.is_empty(), "docs/guarantees.md names tests that do not exist: {missing:?}");
}

/// The tests, models and unit tests that `docs/guarantees.md` names, as path of the module and function.
fn held_by() -> Vec<(String, String)> {
    let text = document("guarantees.md");
    let names = text.split('`').skip(1).step_by(2).filter_map(|code| code.rsplit_once("::"));
    let names: Vec<_> = names
        .filter(|(file, _)| *file != "file")
        .map(|(file, test)| (file.replace("::", "/"), test.to_owned()))
        .collect();
    assert!(names.len() > 20, "docs/guarantees.md names the tests");
    names
}

fn has_test(file: &str, test: &str) -> bool {
    let function = format!("fn {test}(");
    // Among other code only the attribute tells a test.
    let unit_test = format!("#[test]\n    {function}");
    let places = [
        (format!("tests/{file}.rs"), &function),
        (format!("runtime/src/{file}/models.rs"), &function),
        (format!("runtime/src/{file}.rs"), &unit_test),
    ];
    places.iter().any(|(place, code)| {
        fs::read_to_string(repository().join(place)).is_ok_and(|text| text.contains(*code))
    })
}

fn paths(sources: &[Source]) -> Vec<&Path> {
    sources.iter().map(|(path, _)| path.as_path()).collect()
}

/// What breaks the order of `layers` (lowest first).
fn violations(layers: &[Vec<String>], sources: &[Source]) -> Vec<String> {
    let rank = |module: &str| layers.iter().position(|layer| layer.iter().any(|other| other == module));
    let mut bad = Vec::new();
    for (path, text) in sources {
        let module = top(path);
        if module == "lib" {
            continue;
        }
        let Some(own) = rank(&module) else {
            bad.push(format!("{}: {module} is in no layer", path.display()));
            continue;
        };
        let code = code(text);
        if path.components().count() == 1 && code.contains("super::") && !within_child_modules(&code) {
            bad.push(format!("{}: a top-level module must not use super::", path.display()));
        }
        for target in imports(&code) {
            if target != module && rank(&target).is_none_or(|other| other >= own) {
                bad.push(format!("{}: {module} must not import crate::{target}", path.display()));
            }
        }
    }
    bad
}

/// In a top-level file `super::` is harmless only inside a module written out in that file.
fn within_child_modules(code: &str) -> bool {
    code.find("super::").zip(code.find("mod ")).is_some_and(|(used, opened)| {
        let before = &code[..used];
        opened < used && before.matches('{').count() > before.matches('}').count()
    })
}

/// The top-level module that a file belongs to.
fn top(path: &Path) -> String {
    let first = path.iter().next().expect("a path has a first part").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The text without comments, without documentation, which may name what it likes, and without the paths that a macro
/// leaves in its users' code.
fn code(text: &str) -> String {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    lines.join("\n").replace("$crate::", "")
}

/// First segments of every `crate::x` path and of every `crate::{x, y::z}` group.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => {
                let name = identifier(rest);
                // An exported macro stands at the root, wherever it is written.
                if !rest[name.len()..].starts_with('!') {
                    found.insert(name);
                }
            }
            Some(group) => found.extend(group_items(group)),
        }
    }
    found.remove("");
    found
}

/// The first segments of the items of a `{..}` group, whose opening brace is gone.
fn group_items(group: &str) -> Vec<String> {
    let (mut depth, mut item, mut items) = (0, String::new(), Vec::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(std::mem::take(&mut item)),
            _ => item.push(c),
        }
    }
    items.push(item);
    items.iter().map(|item| identifier(item.trim())).collect()
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn has_unsafe(text: &str) -> bool {
    let code = code(text);
    ["unsafe {", "unsafe impl", "unsafe fn", "unsafe extern"].iter().any(|word| code.contains(word))
}

/// The race detector does not see what std's locks order: they come precompiled. (A path in full is on purpose.)
#[test]
fn tests_take_locks_that_the_race_detector_sees() {
    // The cases of `ui` are folders of their own.
    let tests = rust_files(&repository().join("tests"), &["pass", "fail", "target"]);
    assert!(!tests.is_empty());
    let blind: Vec<_> = tests.into_iter().filter(|(_, text)| imports_std_lock(text)).collect();
    assert!(blind.is_empty(), "std's locks are used in {:?}", paths(&blind));
}

#[test]
fn an_import_of_a_lock_of_std_is_found() {
    let of_std = |names| imports_std_lock(&format!("use std::sync::{names};"));
    assert!(of_std("Mutex") && of_std("{Arc, RwLock, mpsc}") && of_std("{\n    Condvar,\n}"));
    assert!(imports_std_lock(&format!("use std::{{sync::{}, thread}};", "Mutex")));
    assert!(!of_std("Arc") && !imports_std_lock("use parking_lot::Mutex;"));
}

fn imports_std_lock(text: &str) -> bool {
    let text = text.replace("use std::{sync::", "use std::sync::");
    let imports = text.split("use std::sync::").skip(1).map(|rest| rest.trim_start_matches('{'));
    let names = imports.filter_map(|rest| rest.split(';').next()).flat_map(group_items);
    names.into_iter().any(|name| matches!(name.as_str(), "Mutex" | "RwLock" | "Condvar"))
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn document(name: &str) -> String {
    fs::read_to_string(repository().join("docs").join(name)).expect("the document exists")
}

/// The layers of `docs/architecture.md`: the lines `layer N  module module ..` of its code block, highest first.
fn layers() -> Vec<Vec<String>> {
    let text = document("architecture.md");
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("layer "));
    let modules = |line: &str| {
        let (names, _) = line.split_once("  --").unwrap_or((line, ""));
        names.split_whitespace().skip(1).map(str::to_owned).collect()
    };
    let mut layers: Vec<Vec<String>> = lines.map(modules).collect();
    layers.reverse();
    assert!(layers.len() > 5, "docs/architecture.md lists the layers");
    layers
}

/// The files of the table in `docs/unsafe.md`.
fn unsafe_files() -> BTreeSet<PathBuf> {
    let text = document("unsafe.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(file, _)| PathBuf::from(file)).collect()
}

/// All files below `runtime/src`, except what is only built for tests.
fn sources() -> Vec<Source> {
    rust_files(&repository().join("runtime/src"), &["tests", "models"])
}

/// The files below the folder, but none of these names.
fn rust_files(root: &Path, except: &[&str]) -> Vec<Source> {
    let (mut found, mut todo) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(folder).expect("the sources are there") {
            let path = entry.expect("the folder can be read").path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if except.contains(&&*name) {
                continue;
            } else if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source is text");
                found.push((path.strip_prefix(root).expect("below the root").to_owned(), text));
            }
        }
    }
    found.sort();
    found
}
