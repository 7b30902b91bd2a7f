//! Where tasks that end leave their numbers, and where whoever waits for them looks.
//!
//! # Protocol
//! Each task gets a waker of its own, a `Bell`, which is rung once, after the task is complete. It writes the task's
//! number on the board and wakes who waits there. The numbers and the waker are under one lock, so whoever leaves a waker
//! has seen all numbers written before; clones, drops and wakes of the waker happen outside of it.
//!
//! Source: the ready queue of `FuturesUnordered` (futures-rs), for tasks that run by themselves.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::cell::Task;
use crate::coop::BudgetGuard;
use crate::error::drop_quietly;
use crate::loom::lock::Mutex;

/// The numbers of the tasks that have ended, and who wants to know.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<Chalk>);

#[derive(Debug, Default)]
struct Chalk {
    ended: VecDeque<usize>,
    waiting: Option<Waker>,
}

/// The waker of one task.
struct Bell {
    board: Arc<Board>,
    number: usize,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.board.write(self.number);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.board.write(self.number);
    }
}

impl Board {
    /// An empty board with room for `expected` numbers.
    pub(super) fn new(expected: usize) -> Arc<Self> {
        let ended = VecDeque::with_capacity(expected);
        Arc::new(Board(Mutex::new(Chalk { ended, waiting: None })))
    }

    /// Sees to it that the number is written once the task has ended, or writes it now if it has.
    pub(super) fn expect<T>(self: &Arc<Self>, number: usize, task: &mut Task<T>) {
        let bell = Waker::from(Arc::new(Bell { board: self.clone(), number }));
        // Without a budget: a task that wants to give way would ring the bell before it has ended.
        let _free = BudgetGuard::unconstrained();
        if task.poll_done(&mut Context::from_waker(&bell)).is_ready() {
            self.write(number);
        }
    }

    fn write(&self, number: usize) {
        let waiting = {
            let mut chalk = self.0.lock();
            chalk.ended.push_back(number);
            chalk.waiting.take()
        };
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    /// Takes the number that has been there for longest, or leaves `waker`.
    pub(super) fn poll_next(&self, waker: &Waker) -> Poll<usize> {
        {
            let mut chalk = self.0.lock();
            if let Some(number) = chalk.ended.pop_front() {
                return Poll::Ready(number);
            }
            if chalk.waiting.as_ref().is_some_and(|waiting| waiting.will_wake(waker)) {
                return Poll::Pending;
            }
        }
        let new = waker.clone();
        let mut chalk = self.0.lock();
        let number = chalk.ended.pop_front();
        let unused = if number.is_some() { Some(new) } else { chalk.waiting.replace(new) };
        drop(chalk);
        // It may be another awaiter's: a panic of its destructor is not ours.
        drop_quietly(unused);
        number.map_or(Poll::Pending, Poll::Ready)
    }

    /// Forgets who waits.
    pub(super) fn leave(&self) {
        let waiting = self.0.lock().waiting.take();
        // This runs in destructors.
        drop_quietly(waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_the_order_in_which_they_were_written() {
        let board = Board::new(2);
        board.write(1);
        board.write(0);
        assert_eq!(board.poll_next(Waker::noop()), Poll::Ready(1));
        assert_eq!(board.poll_next(Waker::noop()), Poll::Ready(0));
        assert_eq!(board.poll_next(Waker::noop()), Poll::Pending);
    }
}
