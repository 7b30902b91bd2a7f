//! What a `select!` has chosen: one type for all of them, because a `macro_rules` cannot name variants of its own.

/// Stands for the branches that a `select!` does not have.
#[derive(Debug)]
pub enum Never {}

/// The output of the branch that was first, or that no branch is left.
///
/// Its size is that of the largest output. In a type, the parameters that are left out are [`Never`].
#[derive(Debug)]
#[expect(missing_docs, reason = "one variant for each branch, numbered")]
#[rustfmt::skip]
pub enum Selected<
    V0 = Never, V1 = Never, V2 = Never, V3 = Never, V4 = Never, V5 = Never, V6 = Never, V7 = Never,
    V8 = Never, V9 = Never, V10 = Never, V11 = Never, V12 = Never, V13 = Never, V14 = Never, V15 = Never,
    V16 = Never, V17 = Never, V18 = Never, V19 = Never, V20 = Never, V21 = Never, V22 = Never, V23 = Never,
    V24 = Never, V25 = Never, V26 = Never, V27 = Never, V28 = Never, V29 = Never, V30 = Never, V31 = Never,
    V32 = Never, V33 = Never, V34 = Never, V35 = Never, V36 = Never, V37 = Never, V38 = Never, V39 = Never,
    V40 = Never, V41 = Never, V42 = Never, V43 = Never, V44 = Never, V45 = Never, V46 = Never, V47 = Never,
    V48 = Never, V49 = Never, V50 = Never, V51 = Never, V52 = Never, V53 = Never, V54 = Never, V55 = Never,
    V56 = Never, V57 = Never, V58 = Never, V59 = Never, V60 = Never, V61 = Never, V62 = Never, V63 = Never,
> {
    V0(V0), V1(V1), V2(V2), V3(V3), V4(V4), V5(V5), V6(V6), V7(V7), V8(V8), V9(V9), V10(V10), V11(V11),
    V12(V12), V13(V13), V14(V14), V15(V15), V16(V16), V17(V17), V18(V18), V19(V19), V20(V20), V21(V21),
    V22(V22), V23(V23), V24(V24), V25(V25), V26(V26), V27(V27), V28(V28), V29(V29), V30(V30), V31(V31),
    V32(V32), V33(V33), V34(V34), V35(V35), V36(V36), V37(V37), V38(V38), V39(V39), V40(V40), V41(V41),
    V42(V42), V43(V43), V44(V44), V45(V45), V46(V46), V47(V47), V48(V48), V49(V49), V50(V50), V51(V51),
    V52(V52), V53(V53), V54(V54), V55(V55), V56(V56), V57(V57), V58(V58), V59(V59), V60(V60), V61(V61),
    V62(V62), V63(V63),
    Disabled,
}
