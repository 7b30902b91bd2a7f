//! Names of tasks: kept in the cell for the handle, and in a table for reports by those who only know the id.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Meta;
use crate::id::TaskId;
use crate::loom::lock::Static;

/// The names of the tasks that have one and are alive.
static NAMES: Static<BTreeMap<TaskId, Arc<str>>> = Static::new(BTreeMap::new());

/// A task's name.
#[derive(Debug)]
pub(crate) struct Name {
    name: Arc<str>,
    id: Option<TaskId>,
}

impl Name {
    pub(crate) fn new(name: &str) -> Self {
        Name { name: name.into(), id: None }
    }
}

impl Meta for Name {
    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn attach(&mut self, id: TaskId) {
        self.id = Some(id);
        NAMES.lock().insert(id, self.name.clone());
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            NAMES.lock().remove(&id);
        }
    }
}

/// Forgets the names of a process that this one was forked off from.
pub(super) fn renew() {
    NAMES.renew(BTreeMap::new());
}

/// The name of a task that is alive.
pub(crate) fn name_of(id: TaskId) -> Option<String> {
    NAMES.lock().get(&id).map(|name| name.as_ref().to_owned())
}
