//! Every interleaving of cancel with the making, the waiting and the end of children.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use loom::thread;

use super::tree::Node;
use crate::parker::{self, Parker};

/// Waits as the futures of a token do.
fn wait(node: &Arc<Node>) {
    let parker = Parker::new();
    let waker = parker::waker(&parker);
    let mut event = node.event();
    while !node.is_cancelled() {
        match std::future::Future::poll(Pin::new(&mut event), &mut Context::from_waker(&waker)) {
            Poll::Ready(_) => break,
            Poll::Pending => parker.park(),
        }
    }
    assert!(node.is_cancelled());
}

#[test]
fn a_child_that_is_made_during_a_cancel_is_cancelled() {
    loom::model(|| {
        let root = Node::root(None);
        let other = root.clone();
        let maker = thread::spawn(move || other.child(None));
        root.cancel();
        let child = maker.join().unwrap();
        assert!(child.is_cancelled() && child.event().done());
    });
}

#[test]
fn whoever_waits_for_a_child_is_woken_by_a_cancel_of_its_parent() {
    loom::model(|| {
        let root = Node::root(None);
        let child = root.child(None);
        let waiter = thread::spawn(move || wait(&child));
        assert!(root.cancel());
        waiter.join().unwrap();
    });
}

#[test]
fn a_child_that_ends_during_a_cancel_leaves_nothing_behind() {
    loom::model(|| {
        let root = Node::root(None);
        let child = root.child(None);
        let grandchild = child.child(None);
        drop(child);
        let ender = thread::spawn(move || drop(grandchild));
        root.cancel();
        ender.join().unwrap();
        assert_eq!((root.children(), Arc::strong_count(&root), Arc::weak_count(&root)), (0, 1, 0));
    });
}

#[test]
fn two_cancels_have_one_winner_and_whoever_sees_either_sees_what_came_before() {
    loom::model(|| {
        let root = Node::root(None);
        let child = root.child(None);
        let other = child.clone();
        let below = thread::spawn(move || other.cancel());
        assert!(root.cancel());
        below.join().unwrap();
        assert!(child.is_cancelled() && child.event().done() && !child.cancel());
    });
}

#[test]
fn a_cancel_reaches_what_is_below_a_node_that_another_one_has_only_begun_with() {
    loom::model(|| {
        let root = Node::root(None);
        let child = root.child(None);
        let grandchild = child.child(None);
        let other = thread::spawn(move || child.cancel());
        assert!(root.cancel());
        assert!(grandchild.is_cancelled());
        other.join().unwrap();
        assert_eq!(root.children(), 0);
    });
}
