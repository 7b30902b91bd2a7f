//! What stands on a function stays on it.
#![deny(warnings, missing_docs, unreachable_pub)]

//! A crate with documented entry points.

/// A doc comment.
#[runtime::main]
/// Another one.
pub async fn documented() {}

#[runtime::main]
#[allow(unused_variables, unreachable_code)]
async fn lints_inside() {
    let unused = 1;
    return;
    panic!();
}

#[expect(unused_variables)]
#[runtime::main]
async fn expectations_inside() {
    let unused = 1;
}

#[runtime::main]
#[must_use]
async fn must_use() -> u8 {
    1
}

#[runtime::main]
#[cfg(any())]
async fn configured_away() -> Missing {}

#[cfg(any())]
#[runtime::main(nonsense)]
async fn configured_away() -> Missing {}

#[runtime::main]
#[cfg_attr(all(), inline)]
async fn configured_away() -> u8 {
    2
}

#[runtime::test]
#[should_panic(expected = "as told")]
#[ignore = "never run"]
async fn test() {
    panic!("as told")
}

mod inner {
    //! Visibility is kept.

    /// To the parent.
    #[runtime::main]
    pub(in super::inner) async fn parent() {}

    /// To the crate.
    #[runtime::main]
    pub(crate) async fn whole_crate() {
        parent();
    }
}

fn main() {
    documented();
    lints_inside();
    expectations_inside();
    assert_eq!(must_use(), 1);
    assert_eq!(configured_away(), 2);
    inner::whole_crate();
}
