//! What the attributes and the macros accept and how they refuse the rest: `ui/pass` compiles and runs, `ui/fail` fails with the
//! message in the `.stderr` file beside it.
//!
//! `TRYBUILD=overwrite cargo test -p runtime-tests --test ui` writes the messages anew; read the diff. Only
//! `type_mismatch.stderr` holds messages of rustc's own, and changes with its version.

#[test]
fn attributes_accept_and_refuse_as_documented() {
    let cases = trybuild::TestCases::new();
    cases.pass("ui/pass/*.rs");
    cases.compile_fail("ui/fail/*.rs");
}
