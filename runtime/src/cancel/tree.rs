//! The nodes of the tree: who is below whom, who was cancelled, who waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::loom::atomic::{AtomicBool, Ordering};
use crate::loom::lock::Mutex;
use crate::loom::mutant;
use crate::promise::{Future, Promise};

/// What all clones of one token share.
pub(super) struct Node {
    cancelled: AtomicBool,
    links: Mutex<Links>,
    /// Where this node is entered. Strong, so that a cancel from above finds its way through nodes without a token.
    parent: Option<(Arc<Node>, u64)>,
    /// The earliest deadline of this node and all above it.
    deadline: Option<Instant>,
    promise: Promise<()>,
    /// A reader of the promise, so that it never counts as closed.
    event: Future<()>,
}

/// Who is below a node. Nobody enters once it is cancelled, and whoever cancelled it empties the list in the end.
#[derive(Default)]
struct Links {
    children: BTreeMap<u64, Weak<Node>>,
    next: u64,
}

impl Node {
    /// A tree of its own.
    pub(super) fn root(deadline: Option<Instant>) -> Arc<Self> {
        Arc::new(Node::new(None, deadline))
    }

    fn new(parent: Option<(Arc<Node>, u64)>, deadline: Option<Instant>) -> Self {
        let (promise, event) = Promise::inner();
        Node {
            cancelled: AtomicBool::new(false),
            links: Mutex::new(Links::default()),
            parent,
            deadline,
            promise,
            event,
        }
    }

    /// One more node below this one. Cancelled from the start if this one is.
    pub(super) fn child(self: &Arc<Self>, deadline: Option<Instant>) -> Arc<Self> {
        let deadline = self.deadline.into_iter().chain(deadline).min();
        let key = {
            let mut links = self.links.lock();
            links.next += 1;
            links.next
        };
        let child = Arc::new(Node::new(Some((self.clone(), key)), deadline));
        if !self.enter(key, &child) {
            child.cancel();
        }
        child
    }

    /// Puts a child into the list; false if this node was cancelled, and then nobody would look there.
    fn enter(&self, key: u64, child: &Arc<Node>) -> bool {
        let mut links = self.links.lock();
        if self.is_cancelled() && !mutant!("token_no_recheck") {
            return false;
        }
        links.children.insert(key, Arc::downgrade(child));
        true
    }

    pub(super) fn is_cancelled(&self) -> bool {
        // ORDERING: Acquire, pairs with `mark`: what came before the cancel is visible to whoever sees it.
        self.cancelled.load(Ordering::Acquire)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// A reader of the event that the node was cancelled.
    pub(super) fn event(&self) -> Future<()> {
        self.event.clone()
    }

    /// Cancels this node and all below it; false if it was cancelled before.
    pub(super) fn cancel(self: &Arc<Self>) -> bool {
        let mut marked: Vec<Arc<Node>> = Vec::new();
        if !self.mark(&mut marked) {
            return false;
        }
        let mut next = 0;
        while let Some(node) = marked.get(next).cloned() {
            // Through nodes that were cancelled before as well: who did that may not have come further.
            node.mark(&mut marked);
            next += 1;
        }
        // Everything below is cancelled, and nobody need look there again.
        self.forget();
        self.tell();
        for node in marked {
            node.forget();
            node.tell();
        }
        true
    }

    /// Sets the flag and adds the children that live to `below`; false if the flag was set.
    fn mark(&self, below: &mut Vec<Arc<Node>>) -> bool {
        let links = self.links.lock();
        let first = !self.is_cancelled();
        if first {
            // ORDERING: Release, pairs with `is_cancelled`. A store will do: the lock is held.
            self.cancelled.store(true, Ordering::Release);
        } else if mutant!("token_trusts_other_cancels") {
            return false;
        }
        below.extend(links.children.values().filter_map(Weak::upgrade));
        first
    }

    /// Empties the list of children.
    fn forget(&self) {
        let children = std::mem::take(&mut self.links.lock().children);
        drop(children);
    }

    /// Wakes whoever waits for this node.
    fn tell(&self) {
        // It was set before if the node was cancelled by somebody else as well.
        let _ = self.promise.set_result(());
    }

    /// Takes this node out of its parent's list; the parent, if this node was not separated from it before.
    fn leave(&mut self) -> Option<Arc<Node>> {
        let (parent, key) = self.parent.take()?;
        let entry = parent.links.lock().children.remove(&key);
        drop(entry);
        Some(parent)
    }

    /// How many nodes are entered below this one.
    #[cfg(test)]
    pub(super) fn children(&self) -> usize {
        self.links.lock().children.len()
    }
}

impl Drop for Node {
    /// Goes up as long as it was the last user of the next node: a long chain would need a deep stack otherwise.
    fn drop(&mut self) {
        let mut parent = self.leave();
        while let Some(node) = parent {
            parent = Arc::into_inner(node).and_then(|mut node| node.leave());
        }
    }
}
