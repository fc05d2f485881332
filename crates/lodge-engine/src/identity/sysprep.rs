//! What can be taken out of a guest, by virt-sysprep's names.

use lodge_api::SysprepOperation;
use lodge_identity::OPERATIONS;

use crate::{Caller, Engine};

impl Engine {
    /// All operations; one that cannot be done here says why.
    pub fn sysprep_operations(&self, _caller: &Caller) -> Vec<SysprepOperation> {
        let view = |operation: &lodge_identity::Operation| SysprepOperation {
            name: operation.name.to_owned(),
            is_default: operation.is_default,
            about: match operation.unsupported {
                None => operation.description.to_owned(),
                Some(why) => format!("{} (not supported: {why})", operation.description),
            },
        };
        let mut all: Vec<SysprepOperation> = OPERATIONS.iter().map(view).collect();
        // Those of the owner's rules.
        for rule in self.inside.catalogue().rules().filter(|rule| rule.origin.is_some()) {
            if all.iter().all(|known| known.name != rule.operation) {
                all.push(SysprepOperation { name: rule.operation, is_default: true, about: rule.what });
            }
        }
        all
    }
}
