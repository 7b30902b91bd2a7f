//! `pin!`: futures that are polled where they stand.

/// Pins futures where they stand, so that they can be polled by `&mut`, several times.
///
/// Three forms: names of variables, which become `Pin<&mut _>` under the same name; variables that are made here; and
/// any other expression, as with [`std::pin::pin!`].
///
/// - **Drop**: the futures live until the end of the surrounding block.
///
/// ```
/// # runtime::block_on(async {
/// let one = async { 1 };
/// runtime::pin!(one);
/// assert_eq!((&mut one).await, 1);
///
/// runtime::pin! {
///     let two = async { 2 };
/// }
/// assert_eq!(two.await, 2);
///
/// let three = runtime::pin!(async { 3 });
/// assert_eq!(three.await, 3);
/// # });
/// ```
#[macro_export]
macro_rules! pin {
    ($($name:ident),+ $(,)?) => {
        $(
            #[allow(unused_mut)]
            let mut $name = $crate::__private::std_pin!($name);
        )+
    };
    ($(let $name:ident = $future:expr;)+) => {
        $(
            #[allow(unused_mut)]
            let mut $name = $crate::__private::std_pin!($future);
        )+
    };
    ($future:expr $(,)?) => {
        $crate::__private::std_pin!($future)
    };
}
